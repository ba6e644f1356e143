//! What every kind of replica must live through, for a native one.

headwater_tests::fault_tests!(headwater_tests::Node);
