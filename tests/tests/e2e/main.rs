//! End-to-end tests of the native nodes. What needs workerd is in `../edge`, what needs a browser in `../page`.

mod api;
mod audit;
mod cli;
mod faults;
mod first_light;
mod fixtures;
mod front;
mod guarding;
mod keys;
mod operators;
mod storage;
