//! The config file as it is written: TOML, each value looked at by the parser of its flag. What is wrong is refused with
//! file, line, key, value and what was expected.

use super::places::{Kind, Place, for_one_start, places};
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest value that is shown in a refusal, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// A config file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFile {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// What is wrong: key, value, and what was expected.
    pub reason: String,
}

impl fmt::Display for InvalidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.reason)
    }
}

impl std::error::Error for InvalidFile {}

/// A setting that the file gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The line it stands in, from 1.
    pub(crate) line: usize,
    /// Its values as a flag takes them; `true` or `false` for a switch.
    pub(crate) values: Vec<String>,
    /// Whether no flag and no variable came before it.
    pub(crate) used: bool,
}

/// A file that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) entries: Vec<Entry>,
    /// Whether others than its owner may read it.
    pub(crate) is_open: bool,
}

/// Nothing of what it holds is shown: there may be a secret in it.
impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ConfigFile {
    /// Reads a file and looks at each of its values.
    ///
    /// # Errors
    /// The first thing that is wrong in it, or that it cannot be read.
    pub fn read(path: &Path) -> Result<Self, InvalidFile> {
        let whole = |reason: String| InvalidFile { path: path.to_owned(), line: None, reason };
        let mut text = String::new();
        let mode = File::open(path).and_then(|file| {
            let mode = file.metadata()?.permissions().mode();
            file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
            Ok(mode)
        });
        let mode = mode.map_err(|error| whole(format!("it cannot be read: {error}")))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(whole(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let read =
            entries(&text).map_err(|wrong| InvalidFile { line: Some(line_of(&text, wrong.at)), ..whole(wrong.reason) });
        Ok(Self { path: path.to_owned(), entries: read?, is_open: mode & 0o044 != 0 })
    }

    /// The entry of this setting, if the file has it and it is used.
    pub(crate) fn used(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.used && entry.key == key)
    }

    /// What to tell whoever starts the node, though it can start.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let has_secret = places().iter().any(|place| !place.has_flag && self.used(place.key()).is_some());
        let path = self.path.display();
        let warning = format!("{path} holds a secret and can be read by others than its owner: chmod 600 {path}");
        if has_secret && self.is_open { vec![warning] } else { Vec::new() }
    }
}

/// Something wrong, and where in the text.
struct Wrong {
    at: usize,
    reason: String,
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

fn entries(text: &str) -> Result<Vec<Entry>, Wrong> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Wrong { at, reason: format!("it is no TOML: {}", error.message()) }
    })?;
    let places = places();
    let mut entries = Vec::new();
    let mut wrong: Vec<Wrong> = Vec::new();
    for (key, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Table(section) if is_section(&places, key.get_ref()) => {
                for (inner, value) in section {
                    match entry(text, &places, key.get_ref(), inner, value) {
                        Ok(entry) => entries.push(entry),
                        Err(found) => wrong.push(found),
                    }
                }
            }
            DeValue::Table(_) if !places.iter().any(|place| place.key() == key.get_ref()) => {
                let reason = format!("there is no section [{}]: {ALL}", key.get_ref());
                wrong.push(Wrong { at: key.span().start, reason });
            }
            _ => match entry(text, &places, "", key, value) {
                Ok(entry) => entries.push(entry),
                Err(found) => wrong.push(found),
            },
        }
    }
    // TOML's keys come in no order of the file's.
    if let Some(first) = wrong.into_iter().min_by_key(|wrong| wrong.at) {
        return Err(first);
    }
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

const ALL: &str = "`headwater config init` shows all there are";

fn is_section(places: &[Place], name: &str) -> bool {
    places.iter().any(|place| place.section() == name)
}

fn entry(
    text: &str,
    places: &[Place],
    section: &str,
    key: &Spanned<toml::de::DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Entry, Wrong> {
    let name: &str = key.get_ref();
    let Some(place) = places.iter().find(|place| place.key() == name && place.section() == section) else {
        return Err(Wrong { at: key.span().start, reason: unknown(places, section, name) });
    };
    let refuse = |span: Range<usize>, reason: &str| Wrong {
        at: span.start,
        reason: format!("{name} = {}: {reason}", shown(place, &text[span])),
    };
    let mut values = Vec::new();
    let one = |value: &Spanned<DeValue<'_>>| {
        let words = in_words(place.kind(), value.get_ref());
        let words = words.ok_or_else(|| refuse(value.span(), &format!("expected {}", place.kind().expected())))?;
        if place.kind() != Kind::Switch {
            place.look_at(&words).map_err(|reason| refuse(value.span(), &reason))?;
        }
        Ok(words)
    };
    match value.get_ref() {
        DeValue::Array(list) if place.is_list() => {
            for value in list.iter() {
                values.push(one(value)?);
            }
        }
        _ => values.push(one(value)?),
    }
    Ok(Entry { key: name.into(), line: line_of(text, key.span().start), values, used: true })
}

/// Why there is no such key, and what may be meant.
fn unknown(places: &[Place], section: &str, name: &str) -> String {
    let called = if section.is_empty() { format!("{name:?}") } else { format!("{name:?} in [{section}]") };
    let meant = name.to_ascii_lowercase().replace('_', "-");
    let meant = meant.strip_prefix("headwater-").unwrap_or(&meant);
    if for_one_start().iter().any(|once| once == meant) {
        return format!("{meant} is for one start: give it as a flag, a file would repeat it at each");
    }
    let hint = match places.iter().find(|place| place.key() == meant) {
        None => ALL.into(),
        Some(place) if place.section().is_empty() && section.is_empty() => format!("it is called {meant}"),
        Some(place) if place.section().is_empty() => format!("{meant} stands above all sections"),
        Some(place) => format!("{meant} stands in [{}]", place.section()),
    };
    format!("there is no setting {called}: {hint}")
}

/// A value as a flag takes it; `None` if it is of another type.
fn in_words(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::Switch, DeValue::Boolean(value)) => Some(value.to_string()),
        (Kind::Number | Kind::Size, DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        (Kind::Size | Kind::Text, DeValue::String(text)) => Some(text.clone().into_owned()),
        _ => None,
    }
}

/// A value as it stands in the file, in one line; nothing of a secret.
fn shown(place: &Place, raw: &str) -> String {
    if !place.has_flag {
        return "(not shown)".into();
    }
    let line = raw.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < raw.len() { format!("{cut}…") } else { cut }
}

/// Writes a text to a new file.
///
/// # Errors
/// The system's; `AlreadyExists` where there is one.
pub(crate) fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    // A pair may come to stand in it.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Entry>, String> {
        entries(text).map_err(|wrong| format!("{}: {}", line_of(text, wrong.at), wrong.reason))
    }

    #[test]
    fn each_kind_of_value_is_read_as_its_flag_takes_it() {
        let text = "listen = \"127.0.0.1:0\"\ndev = true\nhost = [\"a.example\", \"b.example\"]\nping-ms = 1_000\n\
                    [storage]\nsegment-bytes = \"16MiB\"\nretain-bytes = 0x1000\n[following]\nparent = \"http://a\"\n";
        let found: Vec<_> = read(text).unwrap().into_iter().map(|e| (e.line, e.key, e.values.join(" "))).collect();
        let expected = [
            (1, "listen", "127.0.0.1:0"),
            (2, "dev", "true"),
            (3, "host", "a.example b.example"),
            (4, "ping-ms", "1000"),
            (6, "segment-bytes", "16MiB"),
            (7, "retain-bytes", "4096"),
            (9, "parent", "http://a"),
        ];
        assert_eq!(found, expected.map(|(line, key, value)| (line, key.into(), value.into())));
    }

    #[test]
    fn what_is_wrong_is_told_with_line_key_value_and_limit() {
        for (text, told) in [
            ("\nping_ms = 5", "2: there is no setting \"ping_ms\": it is called ping-ms"),
            ("HEADWATER_LISTEN = \"a\"", "1: there is no setting \"HEADWATER_LISTEN\": it is called listen"),
            ("queue-max = 5", "1: there is no setting \"queue-max\": queue-max stands in [limits]"),
            (
                "[limits]\nlisten = \"\"",
                "2: there is no setting \"listen\" in [limits]: listen stands above all sections",
            ),
            ("nonsense = 1", "1: there is no setting \"nonsense\": `headwater config init` shows all there are"),
            ("config = \"x\"", "1: there is no setting \"config\": `headwater config init` shows all there are"),
            ("\n[limit]\nx = 1", "2: there is no section [limit]: `headwater config init` shows all there are"),
            (
                "new-cluster = true",
                "1: new-cluster is for one start: give it as a flag, a file would repeat it at each",
            ),
            ("ping-ms = 0", "1: ping-ms = 0: expected a whole number of milliseconds, from 10 to 600000"),
            ("ping-ms = -5", "1: ping-ms = -5: expected a whole number of milliseconds, from 10 to 600000"),
            ("ping-ms = \"500\"", "1: ping-ms = \"500\": expected a whole number"),
            ("ping-ms = 5.0", "1: ping-ms = 5.0: expected a whole number"),
            ("listen = 4077", "1: listen = 4077: expected a text in quotation marks"),
            ("listen = [\"a\"]", "1: listen = [\"a\"]: expected a text in quotation marks"),
            ("dev = \"yes\"", "1: dev = \"yes\": expected true or false"),
            ("host = [\"a\",\n  7]", "2: host = 7: expected a text in quotation marks"),
            ("[following]\nparent = [\"http://a\", \"x y\"]", "2: parent = \"x y\": "),
            ("[logging]\nlog-format = \"xml\"", "2: log-format = \"xml\": expected one of text, json"),
            ("[following]\nparent-secret = \"a b\"", "2: parent-secret = (not shown): the character at byte 1"),
            ("dev = true\ndev = false", "2: it is no TOML: duplicate key"),
            ("dev = yes", "1: it is no TOML: "),
            ("b = 1\na = 1", "1: there is no setting \"b\""),
        ] {
            let said = read(text).map(|_| ()).unwrap_err();
            assert!(said.starts_with(told), "{text:?}\nsaid     {said}\nexpected {told}");
        }
        let long = format!("listen = [\"{}\"]", "x".repeat(500));
        assert!(read(&long).unwrap_err().len() < 200);
    }

    #[test]
    fn a_secret_that_others_may_read_is_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("headwater.toml");
        fs::write(&path, "dev = true\n").unwrap();
        assert_eq!(ConfigFile::read(&path).unwrap().warnings(), Vec::<String>::new());
        fs::write(&path, "[following]\nparent-apikey = \"k\"\nparent-secret = \"hidden\"\n").unwrap();
        for (mode, warns) in [(0o644, true), (0o640, true), (0o600, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let file = ConfigFile::read(&path).unwrap();
            assert_eq!(!file.warnings().is_empty(), warns, "{mode:o}");
            assert!(!format!("{file:?} {:?}", file.warnings()).contains("hidden"));
        }
    }

    #[test]
    fn a_file_that_is_none_is_refused_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().to_owned(), directory.path().join("missing.toml")] {
            let error = ConfigFile::read(&path).unwrap_err();
            assert!(error.line.is_none() && error.to_string().contains("it cannot be read"), "{error}");
        }
        let path = directory.path().join("new.toml");
        write_new(&path, "dev = true\n").unwrap();
        assert_eq!(write_new(&path, "").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
