//! The browser's replica when its node is killed, stalled, restored or busy, and when it is killed itself.

mod kills {
    headwater_tests::kill_tests!(headwater_tests::Page);
}

headwater_tests::fault_tests!(headwater_tests::Page);

headwater_tests::bulk_tests!(headwater_tests::Page);
