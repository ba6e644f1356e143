//! What every reader and writer of lines may rely on. `lines` makes lines of every kind, `round` sends them there and
//! back, `refused` names each offence, `canon` fixes the spelling.

mod canon;
mod lines;
mod refused;
mod round;
