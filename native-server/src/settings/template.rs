//! The config file that explains itself: every setting with its help and its default, none of them set.

use super::places::{Kind, Place, places};
use super::storage::AGES;
use std::fmt::Write as _;

/// Longest line of prose, in characters.
const WIDTH: usize = 110;

/// The file that `headwater config init` writes.
#[must_use]
pub fn template() -> String {
    let mut text = format!(
        "# Settings of `headwater serve --config FILE`: all there are, each with its default.\n\
         # Take the # off the line of a setting to change it; `headwater config check FILE` says what would be used.\n\
         # A flag beats its variable, a variable beats this file. Paths are relative to where the node is started.\n\
         # Sizes are bytes as a number, or a text with a unit: 268435456, \"256MiB\", \"1GiB\".\n\
         # Ages are texts: {AGES}.\n"
    );
    let mut section = String::new();
    for place in places() {
        if place.section() != section {
            section = place.section();
            write!(text, "\n[{section}]\n").expect("a text takes everything");
        }
        text.push('\n');
        for line in wrapped(&explanation(&place)) {
            writeln!(text, "# {line}").expect("a text takes everything");
        }
        writeln!(text, "#{} = {}", place.key(), value(&place)).expect("a text takes everything");
    }
    text
}

fn explanation(place: &Place) -> String {
    let help = place.arg.get_long_help().or(place.arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let words: Vec<String> = place.arg.get_possible_values().iter().map(|word| word.get_name().into()).collect();
    let one_of = match place.kind() {
        Kind::Text if !words.is_empty() => format!(": {}", words.join(" or ")),
        _ => String::new(),
    };
    let variable = place.variable().map(|name| format!(" ({name})")).unwrap_or_default();
    help.replace('\n', " ") + &one_of + &variable
}

/// The default, or a word for what is to stand there.
fn value(place: &Place) -> String {
    if place.kind() == Kind::Switch {
        return "false".into();
    }
    let default = place.arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let name = place.arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str());
    let text = default.unwrap_or_else(|| name.split('[').next().unwrap_or(name).into());
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match place.kind() {
        Kind::Number | Kind::Size if is_number => text,
        _ if place.is_list() => format!("[{}]", quoted(&text)),
        _ => quoted(&text),
    }
}

/// A text as TOML writes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => write!(out, "\\u{:04X}", u32::from(c)).expect("a text takes everything"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            line.extend([" ", word]);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::ConfigFile;
    use crate::settings::{Layered, ServeArgs, Settings};
    use clap::FromArgMatches as _;
    use std::ffi::OsString;
    use std::fs;

    fn settings_of(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("headwater.toml");
        fs::write(&path, text).unwrap();
        let words = ["headwater", "serve", "--config", path.to_str().unwrap()].map(OsString::from);
        let layered = Layered::of(words.into()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let matches = crate::settings::places::serve_command().get_matches_from(&layered.words[2..]);
        let args = ServeArgs::from_arg_matches(&matches).unwrap();
        format!("{:?}", Settings::check(args, None).unwrap())
    }

    #[test]
    fn a_default_that_is_made_a_setting_changes_nothing() {
        let has_default = |place: &Place| place.kind() == Kind::Switch || !place.arg.get_default_values().is_empty();
        let keys: Vec<_> = places().into_iter().filter(has_default).map(|place| place.key().to_owned()).collect();
        // What is about backups wants a place for them.
        let keys: Vec<_> = keys.into_iter().filter(|key| !key.starts_with("backup-")).collect();
        assert!(keys.len() > 25, "{keys:?}");
        let template = template();
        let set: Vec<_> = template
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if keys.iter().any(|key| rest.starts_with(&format!("{key} = "))) => rest,
                _ => line,
            })
            .collect();
        assert_eq!(set.iter().zip(template.lines()).filter(|(set, line)| *set != line).count(), keys.len());
        assert_eq!(settings_of(&set.join("\n")), settings_of(""));
        assert_eq!(settings_of(&template), settings_of(""));
    }

    #[test]
    fn every_setting_is_explained_in_its_section() {
        let template = template();
        for place in places() {
            let line = format!("\n#{} = ", place.key());
            let at = template.find(&line).unwrap_or_else(|| panic!("{line}\n{template}"));
            let before = template[..at].lines().last().unwrap();
            assert!(before.starts_with("# ") && before.len() > 10, "{before}");
        }
        assert!(template.lines().all(|line| line.chars().count() <= WIDTH + 2), "{template}");
        assert!(template.contains("(HEADWATER_PING_MS)\n#ping-ms = 5000\n"), "{template}");
        assert!(template.contains("#segment-bytes = \"64MiB\"\n") && template.contains("#parent = [\"URL\"]\n"));
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), template).unwrap();
        assert!(ConfigFile::read(&directory.path().join("a")).unwrap().entries.is_empty());
    }

    #[test]
    fn texts_are_quoted_as_toml_reads_them() {
        assert_eq!(quoted("a\"b\\c\u{7}"), r#""a\"b\\c\u0007""#);
        assert_eq!(wrapped("a b"), ["a b"]);
    }
}
