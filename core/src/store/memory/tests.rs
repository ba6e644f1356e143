//! The memory store under threads, and what it promises beyond the trait.
