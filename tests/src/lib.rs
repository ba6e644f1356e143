//! headwater-tests
