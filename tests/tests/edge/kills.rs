//! kill -9 of the writer and of workerd under concurrent writes, seen from the edge.

headwater_tests::kill_tests!(headwater_tests::Edge);
