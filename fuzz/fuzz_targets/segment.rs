//! See `headwater::wal::file::fuzzing::segment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headwater::wal::file::fuzzing::segment(data);
});
