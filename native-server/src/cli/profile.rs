//! Saved profiles: which node and as whom, under a name, in a file for its owner alone.
//!
//! A profile is whole: its pair never goes to another address than the one it was saved with.

use super::connection::Connection;
use super::failure::Failure;
use super::output::Output;
use super::table::Table;
use crate::settings::{Pair, quoted};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

pub(super) const HELP: &str = "\
Examples:
  headwater profile save prod --url https://flags.example.com:4077 --apikey ops --secret-file ops.secret
  headwater status --profile prod                 or HEADWATER_PROFILE=prod headwater status
  headwater profile list
  headwater profile remove prod

Profiles are in $XDG_CONFIG_HOME/headwater/profiles.toml, or ~/.config/headwater/profiles.toml, with their secrets: the file is \
made for its owner alone, and not read while others may read it. A profile is whole: where one is named, \
by --profile or HEADWATER_PROFILE, another address, another pair, a token or other certificates beside it are refused, by flag or \
variable, so that a secret goes to its own node alone and nobody asks as another than was meant. HEADWATER_PROFILE= in front of a \
command does without the profile for once.

JSON of list: {\"profiles\":[{\"name\",\"url\",\"apikey\"},...]}";

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// `headwater profile`.
#[derive(Debug, Args)]
pub struct Profiles {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Save which node and as whom, under a name; one of this name is replaced
    Save {
        /// Letters, digits, '.', '_' and '-'
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        #[command(flatten)]
        connection: Box<Connection>,
    },
    /// List the profiles; nothing of their secrets
    List {
        /// JSON on a terminal too
        #[arg(long)]
        json: bool,
    },
    /// Remove a profile
    Remove {
        /// Its name
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
    },
}

/// What is saved under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) url: String,
    pub(super) pair: Option<Pair>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
}

impl Profiles {
    pub(super) fn json(&self) -> bool {
        match &self.what {
            What::Save { connection, .. } => connection.json,
            What::List { json } => *json,
            What::Remove { .. } => false,
        }
    }

    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let path = place(|name| std::env::var(name).ok())?;
        let name = match &self.what {
            What::List { .. } => return list(&read(&path)?, output),
            What::Save { name, .. } | What::Remove { name } => name,
        };
        let done = if let What::Save { connection, .. } = &self.what {
            let profile = connection.to_profile()?;
            change(&path, |profiles| {
                profiles.insert(name.clone(), profile);
                Ok(())
            })?;
            "saved"
        } else {
            change(&path, |profiles| profiles.remove(name).map(drop).ok_or_else(|| missing(name, &path)))?;
            "removed"
        };
        if output.human {
            return output.line(format!("{done} {name} in {}", path.display()));
        }
        output.line(json!({"ok": true, "profile": name}).to_string())
    }
}

/// The profile of this name.
///
/// # Errors
/// There is none, or the file is not for its owner alone, or not of its form.
pub(super) fn load(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Profile, Failure> {
    let path = place(variable)?;
    read(&path)?.remove(name).ok_or_else(|| missing(name, &path))
}

/// Saves a profile under this name, in place of one that there is.
#[cfg(test)]
pub(super) fn save(name: &str, profile: Profile, variable: impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
    change(&place(variable)?, |profiles| {
        profiles.insert(name.into(), profile);
        Ok(())
    })
}

/// Changes what is in the file, as one step.
fn change(
    path: &Path,
    change: impl FnOnce(&mut BTreeMap<String, Profile>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let cannot = |error| Failure::unable(format!("cannot write {}: {error}", path.display()));
    // Until the file is in its place: what another one saves meanwhile would be lost.
    let _turn = turn(path).map_err(cannot)?;
    let mut profiles = read(path)?;
    change(&mut profiles)?;
    write(path, &profiles).map_err(cannot)
}

fn missing(name: &str, path: &Path) -> Failure {
    let words = format!("there is no profile {name:?} in {}", path.display());
    Failure::usage(words).next("headwater profile list shows which there are; headwater profile save makes one")
}

fn name(text: &str) -> Result<String, String> {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_one);
    if fits { Ok(text.into()) } else { Err("a name has 1 to 64 letters, digits, '.', '_' and '-'".into()) }
}

/// Where profiles are kept.
fn place(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Failure> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".config"));
    let config = absolute("XDG_CONFIG_HOME").or_else(home);
    let config =
        config.ok_or_else(|| Failure::usage("there is no place for profiles: neither XDG_CONFIG_HOME nor HOME is set"));
    Ok(config?.join("headwater/profiles.toml"))
}

fn list(profiles: &BTreeMap<String, Profile>, output: &mut Output) -> Result<(), Failure> {
    let apikey = |profile: &Profile| profile.pair.as_ref().map(|pair| pair.apikey.clone());
    if !output.human {
        let told = profiles.iter().map(|(name, it)| json!({"name": name, "url": it.url, "apikey": apikey(it)}));
        return output.line(json!({"profiles": told.collect::<Vec<_>>()}).to_string());
    }
    let mut table = Table::new(&["PROFILE", "APIKEY", "URL"], &[], output.paint, Output::width());
    for (name, profile) in profiles {
        table.row([name, &apikey(profile).unwrap_or_default(), &profile.url], output.writer())?;
    }
    Ok(table.finish(output.writer())?)
}

fn read(path: &Path) -> Result<BTreeMap<String, Profile>, Failure> {
    let shown = path.display();
    let unreadable = |error| Failure::usage(format!("cannot read {shown}: {error}"));
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        file => file.map_err(unreadable)?,
    };
    if file.metadata().map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
        let words = format!("{shown} holds secrets, and others than its owner may read it");
        return Err(Failure::usage(words).next(format!("chmod 600 {shown}")));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    parse(&text).map_err(|reason| Failure::usage(format!("{shown}: {reason}")))
}

fn parse(text: &str) -> Result<BTreeMap<String, Profile>, String> {
    let table = DeTable::parse(text).map_err(|error| format!("it is no TOML: {}", error.message()))?;
    let mut profiles = BTreeMap::new();
    for (name, members) in table.get_ref() {
        let name: &str = name.get_ref();
        let DeValue::Table(members) = members.get_ref() else { return Err(format!("{name:?} is no section")) };
        let mut texts = BTreeMap::new();
        for (key, value) in members {
            let (key, DeValue::String(text)) = (key.get_ref(), value.get_ref()) else {
                return Err(format!("[{name}]: {} is no text", key.get_ref()));
            };
            if !KEYS.contains(&&**key) {
                return Err(format!("[{name}]: {key:?} is not known; there are {}", KEYS.join(", ")));
            }
            texts.insert(&**key, text.clone().into_owned());
        }
        let pair = texts.remove("apikey").zip(texts.remove("secret")).map(|(apikey, secret)| Pair { apikey, secret });
        let url = texts.remove("url").ok_or_else(|| format!("[{name}] has no url"))?;
        let mut path = |key: &str| texts.remove(key).map(PathBuf::from);
        let (ca, cert, key_file) = (path("ca"), path("cert"), path("key-file"));
        profiles.insert(name.to_owned(), Profile { url, pair, ca, cert, key_file });
    }
    Ok(profiles)
}

const KEYS: [&str; 6] = ["url", "apikey", "secret", "ca", "cert", "key-file"];

fn text_of(profiles: &BTreeMap<String, Profile>) -> String {
    let mut text = String::from("# Made by headwater profile. It holds secrets: for its owner alone.\n");
    for (name, Profile { url, pair, ca, cert, key_file }) in profiles {
        text.push_str(&format!("\n[{}]\nurl = {}\n", quoted(name), quoted(url)));
        if let Some(Pair { apikey, secret }) = pair {
            text.push_str(&format!("apikey = {}\nsecret = {}\n", quoted(apikey), quoted(secret)));
        }
        for (key, path) in [("ca", ca), ("cert", cert), ("key-file", key_file)] {
            if let Some(path) = path {
                text.push_str(&format!("{key} = {}\n", quoted(&path.to_string_lossy())));
            }
        }
    }
    text
}

/// Waits until nobody else changes the file, and keeps others waiting until what is returned is dropped, or this process ends.
fn turn(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(path))?;
    // Not the file itself: that is replaced.
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Replaces the file as one step, for its owner alone from its first byte on.
fn write(path: &Path, profiles: &BTreeMap<String, Profile>) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let beside = directory.join(format!(".profiles.{}.toml", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut file| {
        file.write_all(text_of(profiles).as_bytes())?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&beside, path));
    if done.is_err() {
        // What could not be put in place must not stay with its secrets.
        fs::remove_file(&beside).ok();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Kind;

    fn profiles() -> BTreeMap<String, Profile> {
        let pair = Some(Pair { apikey: "ops".into(), secret: "hid\"den\\".into() });
        let prod = Profile { url: "https://h:1/x".into(), pair, ca: Some("/etc/c a.pem".into()), ..Profile::default() };
        [
            ("prod.eu".to_owned(), prod),
            ("here".to_owned(), Profile { url: "http://127.0.0.1:1".into(), ..Profile::default() }),
        ]
        .into()
    }

    #[test]
    fn what_is_written_is_read_back_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config/headwater/profiles.toml");
        assert_eq!(read(&path).unwrap(), BTreeMap::new());
        for _ in 0..2 {
            write(&path, &profiles()).unwrap();
            assert_eq!(read(&path).unwrap(), profiles());
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing stays beside it");
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let failure = read(&path).unwrap_err();
            assert!(failure.kind == Kind::Usage && failure.next[0].starts_with("chmod 600"), "{failure:?}");
        }
    }

    #[test]
    fn what_is_no_file_of_profiles_is_refused_without_its_secrets() {
        for text in ["a = 1", "[a]\nurl = 1", "[a]\nurl = \"x\"\nscret = \"hidden\"", "[a]\nsecret = \"hidden\"", "[a"]
        {
            let said = parse(text).unwrap_err();
            assert!(!said.contains("hidden"), "{text}: {said}");
        }
    }

    #[test]
    fn profiles_have_a_place_where_there_is_a_home() {
        let of = |xdg: &'static str, home: &'static str| {
            place(move |name| Some(if name == "HOME" { home } else { xdg }.into())).map_err(|failure| failure.kind)
        };
        assert_eq!(of("", "/home/a"), Ok("/home/a/.config/headwater/profiles.toml".into()));
        assert_eq!(of("/x", "/home/a"), Ok("/x/headwater/profiles.toml".into()));
        assert_eq!(of("relative", "/home/a"), Ok("/home/a/.config/headwater/profiles.toml".into()));
        assert_eq!(of("", ""), Err(Kind::Usage));
        assert!(name("prod.eu-1").is_ok() && name("a/b").is_err() && name("").is_err());
    }
}
