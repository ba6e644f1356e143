//! A large baseline for the edge's database.

headwater_tests::bulk_tests!(headwater_tests::Edge);
