//! headwater-web
