//! headwater-edge
