//! See `headwater::wal::file::fuzzing::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headwater::wal::file::fuzzing::manifest(data);
});
