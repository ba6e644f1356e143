//! See `headwater::wal::file::fuzzing::baseline`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headwater::wal::file::fuzzing::baseline(data);
});
