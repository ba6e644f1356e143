//! See `headwater::listener::fuzzing::framing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    headwater::listener::fuzzing::framing(data);
});
