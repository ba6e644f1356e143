//! What a node refuses though the credentials would do: writes of one that is read-only, the loss of what is protected,
//! and more than it takes on, of all or of one.

mod overload;
mod protected;
mod rates;
mod read_only;
mod shares;
