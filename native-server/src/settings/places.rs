//! Where each setting of `headwater serve` stands in its config file: told by the flags themselves, so that there is no
//! second list of settings. The key is the flag's name, the section the heading under which `--help` shows it.

use super::{Pair, ServeArgs};
use crate::size::Size;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args as _, Command};
use std::any::TypeId;
use std::error::Error as _;
use std::ffi::OsStr;

/// Heading of the settings that are for one start: they have no place in a file, which would repeat them at each.
pub(super) const ONCE: &str = "For one start";

/// The flag that names the file.
const CONFIG: &str = "config";

/// A setting that may stand in the file.
pub(crate) struct Place {
    /// The flag and its variable, with the parser of its values.
    pub(crate) arg: Arg,
    /// Whether it may be given on the command line: not so what is secret.
    pub(crate) has_flag: bool,
}

/// What a setting's value is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number,
    /// Bytes: a whole number, or a text with a unit.
    Size,
    /// A text.
    Text,
}

impl Kind {
    /// What is expected of a value, in words.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Switch => "true or false",
            Self::Number => "a whole number",
            Self::Size => "a whole number of bytes, or a text with a unit such as \"64MiB\"",
            Self::Text => "a text in quotation marks",
        }
    }
}

/// `headwater serve` as the command line knows it, without what stands around it.
pub(crate) fn serve_command() -> Command {
    let mut command = ServeArgs::augment_args(Command::new("serve")).no_binary_name(true);
    command.build();
    command
}

/// Every setting that may stand in the file, section by section.
pub(crate) fn places() -> Vec<Place> {
    let command = serve_command();
    let is_setting = |arg: &&Arg| {
        arg.get_long().is_some_and(|long| !matches!(long, CONFIG | "help")) && arg.get_help_heading() != Some(ONCE)
    };
    let flags = command.get_arguments().filter(is_setting).map(|arg| Place { arg: arg.clone(), has_flag: true });
    let secrets = Pair::arguments().map(|arg| Place { arg, has_flag: false });
    let mut places: Vec<Place> = flags.chain(secrets).collect();
    let mut sections: Vec<String> = Vec::new();
    for place in &places {
        let section = place.section();
        if !section.is_empty() && !sections.contains(&section) {
            sections.push(section);
        }
    }
    // What stands outside of sections comes first, as TOML wants it.
    places.sort_by_key(|place| sections.iter().position(|section| *section == place.section()).map_or(0, |at| at + 1));
    places
}

/// The flags that are for one start, by name.
pub(crate) fn for_one_start() -> Vec<String> {
    let command = serve_command();
    let once = command.get_arguments().filter(|arg| arg.get_help_heading() == Some(ONCE));
    once.filter_map(|arg| arg.get_long().map(String::from)).collect()
}

impl Place {
    /// The key in the file.
    pub(crate) fn key(&self) -> &str {
        self.arg.get_long().expect("only what has a name has a place")
    }

    /// The section it stands in; empty for none.
    pub(crate) fn section(&self) -> String {
        let heading = self.arg.get_help_heading().unwrap_or_default();
        heading.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
    }

    /// The variable.
    pub(crate) fn variable(&self) -> Option<&str> {
        self.arg.get_env().and_then(OsStr::to_str)
    }

    pub(crate) fn kind(&self) -> Kind {
        if matches!(self.arg.get_action(), ArgAction::SetTrue) {
            return Kind::Switch;
        }
        let found = self.arg.get_value_parser().type_id();
        let numbers =
            [TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>(), TypeId::of::<u8>(), TypeId::of::<usize>()];
        if found == TypeId::of::<Size>() {
            Kind::Size
        } else if numbers.iter().any(|&number| found == number) {
            Kind::Number
        } else {
            Kind::Text
        }
    }

    /// Whether it may have several values.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// Has the flag's own parser look at a value.
    ///
    /// # Errors
    /// What it says of it, without the value.
    pub(crate) fn look_at(&self, text: &str) -> Result<(), String> {
        let alone = Command::new("setting").no_binary_name(true).disable_help_flag(true).arg(bare(&self.arg));
        let Err(error) = alone.try_get_matches_from([format!("--{}={text}", self.key())]) else { return Ok(()) };
        if let (ErrorKind::InvalidValue, Some(ContextValue::Strings(words))) =
            (error.kind(), error.get(ContextKind::ValidValue))
        {
            let words = words.join(", ");
            return Err(if words.is_empty() { "it is empty".into() } else { format!("expected one of {words}") });
        }
        Err(error.source().map_or_else(|| String::from("it is empty"), ToString::to_string))
    }
}

/// A flag with its variable and the parser of its values, without what ties it to others.
pub(super) fn bare(arg: &Arg) -> Arg {
    let long = arg.get_long().unwrap_or_default().to_owned();
    let mut bare = Arg::new(arg.get_id().clone()).long(long).action(arg.get_action().clone());
    if arg.get_action().takes_values() {
        bare = bare.value_delimiter(arg.get_value_delimiter()).num_args(1);
    }
    bare.value_parser(arg.get_value_parser().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_flag_of_serve_has_one_place_in_the_file_or_is_for_one_start() {
        let places = places();
        let keys: BTreeSet<_> = places.iter().map(Place::key).collect();
        assert_eq!(keys.len(), places.len(), "{keys:?}");
        let once = for_one_start();
        assert_eq!(once, ["epoch-above", "new-cluster"]);
        for arg in serve_command().get_arguments() {
            let long = arg.get_long().expect("serve has only flags");
            let has_place = keys.contains(long) || once.iter().any(|once| once == long);
            assert!(has_place || matches!(long, CONFIG | "help"), "{long}");
            assert!(arg.get_env().is_some() || long == "help", "--{long} has a variable");
            assert!(arg.get_help().is_some(), "--{long} is explained");
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            let named = format!("HEADWATER_{}", long.replace('-', "_").to_uppercase());
            assert!(variable.is_none_or(|variable| variable == named), "{long}");
        }
        // No key is a section too: TOML has one name for both.
        assert!(places.iter().all(|place| !keys.contains(&*place.section())));
    }

    #[test]
    fn what_a_value_is_follows_from_its_parser() {
        let places = places();
        let found = |key: &str| places.iter().find(|place| place.key() == key).expect("a setting");
        for (key, section, kind, is_list) in [
            ("listen", "", Kind::Text, false),
            ("data", "", Kind::Text, false),
            ("wal", "", Kind::Text, false),
            ("node", "", Kind::Text, false),
            ("dev", "", Kind::Switch, false),
            ("host", "", Kind::Text, true),
            ("ping-ms", "", Kind::Number, false),
            ("shutdown-ms", "", Kind::Number, false),
            ("parent", "following", Kind::Text, true),
            ("parent-secret", "following", Kind::Text, false),
            ("segment-bytes", "storage", Kind::Size, false),
            ("queue-max", "limits", Kind::Number, false),
            ("log", "logging", Kind::Text, false),
        ] {
            let place = found(key);
            assert_eq!((&*place.section(), place.kind(), place.is_list()), (section, kind, is_list), "{key}");
        }
    }

    #[test]
    fn the_flags_own_parser_says_what_is_wrong() {
        let places = places();
        let look = |key: &str, text: &str| places.iter().find(|place| place.key() == key).unwrap().look_at(text);
        assert_eq!(look("ping-ms", "500"), Ok(()));
        assert_eq!(look("ping-ms", "0"), Err("expected a whole number of milliseconds, from 10 to 600000".into()));
        assert_eq!(look("log-format", "xml"), Err("expected one of text, json".into()));
        assert_eq!(look("data", ""), Err("it is empty".into()));
        assert_eq!(look("backup-keep", "3"), Ok(()), "what it wants beside it is looked at later");
    }
}
