//! A large baseline for a native replica.

headwater_tests::bulk_tests!(headwater_tests::Node);
