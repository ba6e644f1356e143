//! The value on the command line: JSON as it stands, or from a file or stdin; and how to quote it when it is none.

use super::failure::Failure;
use super::output::json_string;
use headwater_core::json;
use headwater_core::limits::LINE_BYTES_MAX;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};

/// Reads VALUE of `headwater set`: `-` is stdin, `@FILE` a file, anything else the JSON itself. `rest` are the words
/// before it on the command line, for the example. Insignificant white space is taken out, nothing else is changed.
///
/// # Errors
/// Not JSON, or not readable; nothing was sent.
pub(super) fn read(argument: &str, rest: &[&str]) -> Result<String, Failure> {
    let (bytes, source) = if argument == "-" {
        (read_all(io::stdin().lock(), "stdin")?, Some("what came from stdin"))
    } else if let Some(path) = argument.strip_prefix('@') {
        let file = File::open(path).map_err(|error| Failure::usage(format!("cannot read {path}: {error}")))?;
        (read_all(file, path)?, Some(path))
    } else {
        (argument.as_bytes().to_vec(), None)
    };
    match (json::compact(&bytes), source) {
        (Ok(text), _) => Ok(text.into_owned()),
        (Err(error), Some(source)) => Err(Failure::usage(format!("{source} is not JSON: {error}"))),
        (Err(error), None) => Err(quoting(argument, rest, &error)),
    }
}

fn read_all(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = LINE_BYTES_MAX as u64;
    let read = source.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    if bytes.len() > LINE_BYTES_MAX {
        return Err(Failure::usage(format!("{name} is longer than {LINE_BYTES_MAX} bytes, the most any node takes")));
    }
    Ok(bytes)
}

/// Says what is wrong, and the same command as it probably was meant.
fn quoting(argument: &str, rest: &[&str], error: &json::Error) -> Failure {
    let failure = Failure::usage(format!("the value is not JSON: {error}"));
    let command = |value: &str| {
        let words: Vec<_> = rest.iter().copied().chain([value]).map(shell_quoted).collect();
        format!("  headwater set {}", words.join(" "))
    };
    if argument.trim_start().starts_with(['{', '[']) {
        return failure
            .next("The shell takes double quotes away, unless single quotes stand around the whole value:")
            .next(command("{\"on\":true}"))
            .next("A file or a pipe needs no quotes: @FILE, or - for stdin.");
    }
    failure.next("A text is JSON in double quotes, and the shell needs single quotes around them:").next(command(
        // Long texts would hide the example.
        &json_string(&argument.chars().take(60).collect::<String>()),
    ))
}

/// A word as a shell takes it for itself.
pub(super) fn shell_quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", super::paint::visible(word).replace('\'', "'\\''")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Kind;

    const REST: &[&str] = &["flags", "greeting one"];

    #[test]
    fn a_value_keeps_its_spelling() {
        assert_eq!(read(" { \"a\" : 1.0E+2 } ", REST).unwrap(), "{\"a\":1.0E+2}");
        assert_eq!(read("-1.50", REST).unwrap(), "-1.50");
    }

    #[test]
    fn a_bare_text_is_shown_quoted() {
        let failure = read("it's on", REST).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert_eq!(failure.next[1], "  headwater set flags 'greeting one' '\"it'\\''s on\"'");
    }

    #[test]
    fn an_object_the_shell_unquoted_is_explained() {
        let failure = read("{on:true}", REST).unwrap_err();
        assert!(failure.message.starts_with("the value is not JSON: "), "{}", failure.message);
        assert!(failure.next[1].ends_with("'{\"on\":true}'"), "{:?}", failure.next);
    }

    #[test]
    fn a_file_is_read_and_named_when_it_is_no_json() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("value.json");
        let argument = format!("@{}", path.display());
        std::fs::write(&path, "{\n  \"on\": true\n}\n").unwrap();
        assert_eq!(read(&argument, REST).unwrap(), "{\"on\":true}");
        std::fs::write(&path, "{").unwrap();
        assert!(read(&argument, REST).unwrap_err().message.contains("value.json is not JSON"));
        assert_eq!(read("@/nonexistent/file", REST).unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn what_no_node_takes_is_not_read_to_its_end() {
        let failure = read_all(io::repeat(b' '), "stdin").unwrap_err();
        assert!(failure.message.contains("16777216"), "{}", failure.message);
    }
}
