//! headwater

pub mod wal;
