//! Equal keys are found at any depth and in any number, at a cost that is counted, not timed.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{kept, nested, refused};
use crate::json::ErrorKind::*;
use crate::json::scan::Scanner;
use crate::json::{DEPTH_MAX, elements, members, validate, value_end};

#[test]
fn refuses_equal_keys_after_unescaping_at_any_depth() {
    for (text, offset) in [
        (r#"{"a":1,"a":2}"#, 7),
        (r#"{"":1,"":2}"#, 6),
        (r#"{"a":1,"b":2,"\u0061":3}"#, 13),
        (r#"{"\u0061":1,"\u0061":2}"#, 12),
        (r#"{"/":1,"\/":2}"#, 7),
        (r#"{"\ud83d\ude00":1,"😀":2}"#, 18),
        (r#"{"\u0000":1,"\u0000":2}"#, 12),
        (r#"[{"x":[{"a":{"b":1,"c":{},"b":2}}]}]"#, 26),
        (r#"{"a":{"b":{"a":1}},"b":{},"a":0}"#, 26),
        (r#"{"a":1,"b":1,"b":1,"a":1}"#, 13),
    ] {
        refused(text, DuplicateKey, offset);
        assert_eq!(value_end(text, 0), Err(DuplicateKey.at(offset)));
    }
    assert_eq!(members(r#"{"a":1,"\u0061":{}}"#).map(drop), Err(DuplicateKey.at(7)));
    assert_eq!(elements(r#"[{"a":1,"a":2}]"#).map(drop), Err(DuplicateKey.at(8)));
}

#[test]
fn equal_keys_of_different_objects_are_no_duplicates() {
    kept(r#"[{"a":{"a":[{"a":1},{"a":2}]}},{"a":1}]"#);
    kept(r#"{"a":{"b":1},"b":{"a":1}}"#);
    // Not normalised, not case folded, not cut at a NUL.
    kept("{\"\u{e9}\":1,\"e\u{301}\":2,\"E\":3,\"e\":4,\"e\\u0000\":5,\"e\\u0000f\":6,\" e\":7}");
}

#[test]
fn finds_a_duplicate_wherever_the_key_store_keeps_it() {
    // Around the sizes where the keys leave their fixed array and where sorting takes over, under some open objects.
    for open in [0, 3, 20] {
        for count in 2..40 {
            let unique: Vec<String> =
                (0..count).map(|n| if n % 3 == 1 { format!("\\u006b{n}") } else { format!("k{n}") }).collect();
            let object = |keys: &[String]| {
                let body: Vec<String> =
                    keys.iter().map(|key| format!("\"{key}\":{{\"k0\":0,\"\\u006b1\":1}}")).collect();
                nested("{\"k0\":0,\"o\":", &format!("{{{}}}", body.join(",")), "}", open)
            };
            kept(&object(&unique));
            for (first, second) in [(0, count - 1), ((count - 1) / 2, count / 2 + 1), (0, 1)] {
                if second == count {
                    continue;
                }
                let mut keys = unique.clone();
                keys[second] = keys[first].replace('k', "\\u006B");
                let text = object(&keys);
                let error = validate(text.as_bytes()).unwrap_err();
                assert_eq!(error.kind, DuplicateKey, "{text}");
                assert!(text[error.offset..].starts_with(&format!("\"{}\"", keys[second])), "{text}: {error}");
            }
        }
    }
}

#[track_caller]
fn comparisons(text: &str) -> usize {
    let mut scanner = Scanner::new(text, 0).unwrap();
    let result = scanner.value();
    assert!(result.is_ok() || result.is_err_and(|error| error.kind == DuplicateKey), "{result:?}");
    scanner.comparisons()
}

/// Keys that only their middles tell apart, which the hint does not see.
fn same_ends(n: usize) -> String {
    format!("{}{n:06}{}", "p".repeat(8), "s".repeat(8))
}

#[test]
fn keys_with_the_same_first_and_last_bytes_are_told_apart() {
    for count in [2, 3, 5, 10, 20, 100, 1_000] {
        let mut body: Vec<String> = (0..count).map(|n| format!("\"{}\":{n}", same_ends(n * 7 % count))).collect();
        kept(&format!("{{{}}}", body.join(",")));
        body.push(format!("\"{}\":0", same_ends(count / 2)));
        let text = format!("{{{}}}", body.join(","));
        refused(&text, DuplicateKey, text.rfind(&same_ends(count / 2)).unwrap() - 1);
    }
}

#[test]
fn comparing_keys_costs_n_log_n_at_most() {
    const COUNT: usize = 100_000;
    // Twice n log2 n for the sort, n for the neighbours.
    let bound = COUNT * (2 * 17 + 1);
    let shuffled = |n: usize| n * 7_919 % COUNT;
    let same_prefix = |n: usize| format!("{}{n:06}", "p".repeat(40));
    let spellings: [&dyn Fn(usize) -> String; 8] = [
        &|n| same_ends(n),
        &|n| same_ends(shuffled(n)),
        &|n| n.to_string(),
        &|n| same_prefix(n),
        &|n| same_prefix(COUNT - n),
        &|n| same_prefix(shuffled(n)),
        &|n| format!("\\u0070{}", same_prefix(shuffled(n))),
        &|n| (shuffled(n) / 2).to_string(),
    ];
    for spelling in spellings {
        let body: Vec<String> = (0..COUNT).map(|n| format!("\"{}\":0", spelling(n))).collect();
        let made = comparisons(&format!("{{{}}}", body.join(",")));
        assert!(made <= bound, "{made} comparisons, {}", body[0]);
    }
}

#[test]
fn comparing_keys_of_many_small_objects_costs_a_constant_each() {
    let object = r#"{"a":0,"b":0,"c":{"a":0,"b":0}},"#;
    let deep = nested("{\"a\":0,\"b\":", "0", "}", DEPTH_MAX - 1);
    let wide = format!("[{}{}{{}}]", object.repeat(50_000), format!("{deep},").repeat(500));
    assert_eq!(comparisons(&wide), 50_000 * (3 + 1) + 500 * (DEPTH_MAX - 1));
    assert_eq!(comparisons(&format!("[{}0]", "{\"only\":{}},".repeat(50_000))), 0);
}
