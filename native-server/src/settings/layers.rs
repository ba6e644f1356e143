//! Flag beats variable beats file: a setting of the file is put onto the command line where neither its flag nor its
//! variable is given. So it goes through the same parsers, and the same rules of what wants what beside it, as a flag.

use super::file::{ConfigFile, InvalidFile};
use super::places::{Kind, bare, places, serve_command};
use super::{InvalidSetting, Pair, Part, ServeArgs, Settings};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use std::ffi::OsString;
use std::path::PathBuf;

/// A command line with what its config file adds.
#[derive(Debug)]
pub struct Layered {
    /// The words, the program's name first.
    pub words: Vec<OsString>,
    /// The file, if one is named.
    pub file: Option<ConfigFile>,
}

impl Layered {
    /// Adds what the config file says, if these are the words of `headwater serve` and they or a variable name one.
    ///
    /// A command line that cannot be is left as it is: its parser says what is wrong.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn of(mut words: Vec<OsString>) -> Result<Self, InvalidFile> {
        let is_serve = words.get(1).is_some_and(|word| word == "serve");
        let given = if is_serve { given(&words[2..]) } else { None };
        let path = given.as_ref().and_then(|given| given.get_one::<PathBuf>("config"));
        let (Some(given), Some(path)) = (&given, path) else { return Ok(Self { words, file: None }) };
        let mut file = ConfigFile::read(path)?;
        let mut added = Vec::new();
        for place in places() {
            let Some(entry) = file.entries.iter_mut().find(|entry| entry.key == place.key()) else { continue };
            if !place.has_flag {
                entry.used = place.variable().is_none_or(|name| std::env::var_os(name).is_none_or(|v| v.is_empty()));
                continue;
            }
            entry.used = !is_given(given, place.arg.get_id().as_str());
            let values = entry.values.iter().filter(|_| entry.used);
            if place.kind() == Kind::Switch {
                added.extend(
                    values.filter(|value| *value == "true").map(|_| OsString::from(format!("--{}", entry.key))),
                );
            } else {
                added.extend(values.map(|value| OsString::from(format!("--{}={value}", entry.key))));
            }
        }
        words.splice(2..2, added);
        Ok(Self { words, file: Some(file) })
    }

    /// The pair towards the parent: variables beat the file.
    ///
    /// # Errors
    /// When only half of it is there, or it cannot be one.
    fn pair(&self) -> Result<Option<Pair>, InvalidSetting> {
        Pair::find(|key, variable| match std::env::var(variable) {
            Ok(text) if !text.is_empty() => Ok(Some(text)),
            Ok(_) | Err(std::env::VarError::NotPresent) => {
                let entry = self.file.as_ref().and_then(|file| file.used(key));
                Ok(entry.and_then(|entry| entry.values.first().cloned()))
            }
            Err(error) => Err(error.to_string()),
        })
    }

    /// Checks what the words ask for. `args` are those words, parsed.
    ///
    /// # Errors
    /// What cannot be, by setting, and by file and line if it came from there.
    pub fn check(&self, args: ServeArgs) -> Result<Settings, String> {
        let settings = self.pair().and_then(|pair| Settings::check(args, pair));
        settings.map_err(|invalid| self.located(&invalid))
    }

    /// Reads the certificates that checked settings name, as a start does.
    ///
    /// # Errors
    /// As [`Layered::check`].
    pub(crate) fn look_at_files(&self, settings: &Settings) -> Result<(), String> {
        let read = settings.server_tls().and_then(|_| settings.connector());
        read.map(|_| ()).map_err(|invalid| self.located(&invalid))
    }

    /// What to tell whoever starts the node with these settings, though it can start.
    #[must_use]
    pub fn warnings(&self, settings: &Settings) -> Vec<String> {
        let mut warnings = self.file.as_ref().map(ConfigFile::warnings).unwrap_or_default();
        if matches!(settings.part, Part::Writer { .. }) && matches!(self.pair(), Ok(Some(_))) {
            let words = "there is a pair towards a parent, and no `parent`: the node is a writer, which follows nobody";
            warnings.push(words.into());
        }
        warnings.extend(settings.unfit_certificate().iter().map(|unfit| self.located(unfit)));
        warnings
    }

    /// The refusal of a setting, with its place in the file if it came from there.
    #[must_use]
    pub fn located(&self, invalid: &InvalidSetting) -> String {
        let found = self.file.as_ref().and_then(|file| {
            let key = invalid.setting.strip_prefix("--")?;
            file.used(key).map(|entry| format!("{}:{}: ", file.path.display(), entry.line))
        });
        format!("{}{invalid}", found.unwrap_or_default())
    }
}

/// What is given by flags and variables; `None` if it cannot be.
fn given(words: &[OsString]) -> Option<ArgMatches> {
    let serve = serve_command();
    let args = serve.get_arguments().filter(|arg| arg.get_long() != Some("help"));
    let args = args.map(|arg| match arg.get_env() {
        Some(name) => bare(arg).env(name.to_owned()),
        None => bare(arg),
    });
    let command = Command::new("serve").no_binary_name(true).disable_help_flag(true).args(args);
    command.try_get_matches_from(words).ok()
}

fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layered(file: &str, flags: &str) -> Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("headwater.toml");
        fs::write(&path, file).unwrap();
        let words = format!("headwater serve --config {} {flags}", path.display());
        let layered = Layered::of(words.split_whitespace().map(OsString::from).collect());
        let words = layered.map_err(|error| error.to_string())?.words;
        Ok(words.into_iter().skip(2).map(|word| word.into_string().unwrap()).filter(|w| !w.contains("toml")).collect())
    }

    #[test]
    fn a_flag_beats_the_file() {
        let file = "dev = true\nping-ms = 700\nhost = [\"a\", \"b\"]\n[limits]\nqueue-max = 5\n";
        let all = ["--host=a", "--host=b", "--dev", "--ping-ms=700", "--queue-max=5", "--config"];
        let mut found = layered(file, "").unwrap();
        found.sort();
        let mut expected = all.map(String::from).to_vec();
        expected.sort();
        assert_eq!(found, expected);
        let found = layered(file, "--ping-ms 800 --host c --queue-max=6").unwrap();
        assert_eq!(found, ["--dev", "--config", "--ping-ms", "800", "--host", "c", "--queue-max=6"]);
        assert_eq!(layered("dev = false", "").unwrap(), ["--config"]);
    }

    #[test]
    fn what_is_no_serve_or_cannot_be_is_left_alone() {
        for words in
            ["headwater", "headwater get --config x", "headwater serve", "headwater serve --config x --nonsense"]
        {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            let layered = Layered::of(words.clone()).unwrap();
            assert!(layered.file.is_none() && layered.words == words);
        }
        assert!(layered("nonsense = 1", "").unwrap_err().contains("headwater.toml:1: there is no setting"));
    }

    #[test]
    fn a_pair_of_the_file_is_used_and_half_of_one_is_refused() {
        let pair = |lines: &str| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("headwater.toml");
            fs::write(&path, format!("[following]\n{lines}")).unwrap();
            let words = ["headwater", "serve", "--config", path.to_str().unwrap()].map(OsString::from);
            Layered::of(words.into()).unwrap().pair()
        };
        let found = pair("parent-apikey = \"k\"\nparent-secret = \"s\"\n").unwrap().unwrap();
        assert_eq!((&*found.apikey, &*found.secret), ("k", "s"));
        assert_eq!(pair("parent-apikey = \"k\"\n").unwrap_err().setting, "HEADWATER_PARENT_SECRET");
        assert_eq!(pair("").unwrap(), None);
    }

    #[test]
    fn what_is_refused_later_is_found_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("headwater.toml");
        fs::write(&path, "\n[limits]\nqueue-bytes-max = 1\n").unwrap();
        let words = ["headwater", "serve", "--config", path.to_str().unwrap()].map(OsString::from);
        let layered = Layered::of(words.into()).unwrap();
        let told = |setting| layered.located(&InvalidSetting { setting, reason: "r".into() });
        assert_eq!(told("--queue-bytes-max"), format!("{}:3: --queue-bytes-max: r", path.display()));
        assert_eq!(told("--listen"), "--listen: r");
    }
}
