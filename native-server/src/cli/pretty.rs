//! Lays a value's JSON text out for reading. Only white space and colours are added: numbers keep their spelling, keys
//! their order.

use super::paint::{Paint, visible};
use std::fmt::Write;

const INDENT: &str = "  ";

/// A JSON text over several lines, without a newline at its end. `json` is valid and has no white space between tokens,
/// as every value the API answers.
pub(super) fn pretty(json: &str, paint: Paint) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let (token, after) = rest.split_at(token_length(rest));
        rest = after;
        match first {
            '{' | '[' if rest.starts_with(['}', ']']) => {
                out.push_str(token);
                out.push_str(&rest[..1]);
                rest = &rest[1..];
            }
            '{' | '[' => {
                depth += 1;
                out.push_str(token);
                new_line(&mut out, depth);
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push_str(token);
            }
            ',' => {
                out.push_str(token);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' if rest.starts_with(':') => append(&mut out, paint.blue(&visible(token))),
            '"' => append(&mut out, paint.good(&visible(token))),
            't' | 'f' | 'n' => append(&mut out, paint.yellow(token)),
            _ => append(&mut out, paint.cyan(token)),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(INDENT, depth));
}

fn append(out: &mut String, text: impl std::fmt::Display) {
    write!(out, "{text}").expect("a String takes any text");
}

/// Bytes of the token that `rest` begins with.
fn token_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    match bytes[0] {
        b'"' => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(bytes.len())
        }
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        _ => bytes.iter().position(|byte| matches!(byte, b',' | b'}' | b']')).unwrap_or(bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_out_nested_values() {
        let text = r#"{"on":true,"to":["a","b:c,{}\"\\"],"none":{},"empty":[],"n":-1.50e+3,"x":null}"#;
        let laid_out = "{\n  \"on\": true,\n  \"to\": [\n    \"a\",\n    \"b:c,{}\\\"\\\\\"\n  ],\n  \"none\": {},\n  \"empty\": [],\n  \"n\": -1.50e+3,\n  \"x\": null\n}";
        assert_eq!(pretty(text, Paint::of(false)), laid_out);
    }

    #[test]
    fn leaves_single_values_alone() {
        for text in ["1", "-0.0", "\"\"", "\"a b\"", "true", "{}", "[]"] {
            assert_eq!(pretty(text, Paint::of(false)), text);
        }
    }

    #[test]
    fn adds_nothing_but_white_space() {
        let text = r#"[[[{"a":[1,2,{"b":"\"]}"}]}],{"é":"☃"}],1E40,"]",":"]"#;
        let laid_out = pretty(text, Paint::of(false));
        assert_eq!(headwater_core::json::compact(laid_out.as_bytes()).unwrap(), text);
    }

    #[test]
    fn a_value_cannot_control_the_terminal() {
        assert_eq!(pretty("\"\u{202e}\u{9b}\"", Paint::of(false)), "\"\\u202e\\u009b\"");
    }
}
