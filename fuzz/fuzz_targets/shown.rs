//! What anybody shows to say who they are: pairs, tokens, basic authorization, and whom a proxy vouches for. See
//! `headwater_core::credentials::fuzzing::shown` and `headwater::fuzzing::basic_authorization`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| {
    headwater_core::credentials::fuzzing::shown(data);
    data.split('\n').filter_map(|line| line.strip_prefix('=')).for_each(headwater::fuzzing::basic_authorization);
});
