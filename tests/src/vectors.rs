//! The wire vectors, for the runtimes that cannot read files by themselves and for parents that play them.

use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The ways a vector's bytes are handed over: whole, byte by byte, and in random pieces, as core numbers them.
pub const PIECES: [u32; 4] = [0, 1, 2, 3];

/// A stream and what a replica must make of it.
pub struct Vector {
    /// Where it stands.
    pub path: PathBuf,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// The outcome written beside it.
    pub expected: String,
}

/// Every vector there is.
pub fn vectors() -> Vec<Vector> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"));
    let files = fs::read_dir(directory).expect("the vectors are here").map(|file| file.expect("it is readable").path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "ndjson"));
    let vectors: Vec<_> = files
        .map(|path| Vector {
            bytes: fs::read(&path).expect("a vector is readable"),
            expected: fs::read_to_string(path.with_extension("expected.json")).expect("each vector has its outcome"),
            path,
        })
        .collect();
    assert!(vectors.len() > 100, "only {} vectors in {}", vectors.len(), directory.display());
    vectors
}

/// What a vector's parents say, connection by connection.
pub struct Play {
    /// The vector's name.
    pub name: String,
    /// Whether the parent does something wrong.
    pub is_bad: bool,
    /// What the replica asks for.
    pub scope: Value,
    /// How many parents it may choose from.
    pub parents: usize,
    /// The bytes of each connection.
    pub connections: Vec<Vec<u8>>,
    /// What the replica is told to ask for, or how long it is to wait, in between: what only a replica in memory can do.
    pub has_orders: bool,
}

impl Vector {
    /// Takes the stream apart, as `README.md` beside the vectors describes it.
    pub fn play(&self) -> Play {
        let mut lines = self.bytes.split_inclusive(|byte| *byte == b'\n');
        let header: Value =
            serde_json::from_slice(lines.next().expect("a vector has a header")).expect("the header is JSON");
        let mut play = Play {
            name: header["vector"].as_str().expect("it has a name").to_owned(),
            is_bad: header["verdict"] == "bad",
            scope: header["scope"].clone(),
            parents: header["parents"].as_u64().unwrap_or(1) as usize,
            connections: vec![Vec::new()],
            has_orders: false,
        };
        for line in lines {
            let said = play.connections.last_mut().expect("there is the first");
            if !line.starts_with(b"{\"%\":") {
                said.extend_from_slice(line);
                continue;
            }
            let directive: Value = serde_json::from_slice(line).expect("a directive is JSON");
            let number = |name: &str| directive[name].as_u64().expect("a number") as usize;
            match directive["%"].as_str().expect("a directive has a name") {
                "connect" => {
                    play.connections.push(Vec::new());
                    play.has_orders |= directive.get("scope").is_some();
                }
                "pass" => play.has_orders = true,
                "text" => said.extend_from_slice(directive["text"].as_str().expect("a text").as_bytes()),
                "hex" => said.extend(from_hex(directive["bytes"].as_str().expect("hex digits"))),
                "long" => {
                    let (head, tail) = ("{\"type\":\"NOTE\",\"text\":\"", "\"}");
                    let filling = "x".repeat(number("bytes") - head.len() - tail.len());
                    said.extend(format!("{head}{filling}{tail}\n").into_bytes());
                }
                "deep" => {
                    let levels = number("levels");
                    let line = format!("{{\"type\":\"NOTE\",\"of\":{}{}}}\n", "[".repeat(levels), "]".repeat(levels));
                    said.extend(line.into_bytes());
                }
                other => panic!("{}: an unknown directive {other}", self.path.display()),
            }
        }
        play
    }

    /// The outcome, to be read field by field.
    pub fn outcome(&self) -> Outcome {
        let fields: Fields = serde_json::from_str(&self.expected).expect("an outcome is an object");
        let collections: Fields = serde_json::from_str(fields["collections"].get()).expect("of collections");
        let collections = collections.into_iter().map(|(name, text)| {
            let facts: Fields = serde_json::from_str(text.get()).expect("with facts");
            let entries: Vec<Box<RawValue>> = serde_json::from_str(facts["entries"].get()).expect("and entries");
            let entries = entries.iter().map(|entry| shown(entry.get())).collect();
            (name, (facts["covered"].get() == "true", entries))
        });
        Outcome { collections: collections.collect(), fields }
    }
}

type Fields = BTreeMap<String, Box<RawValue>>;

/// What a replica makes of a vector.
pub struct Outcome {
    fields: Fields,
    /// Of each collection, whether the scope covers it and its entries as the API shows them.
    pub collections: BTreeMap<String, (bool, Vec<String>)>,
}

impl Outcome {
    /// A field, but not one that holds values: a number there need not fit into one of ours.
    pub fn field(&self, name: &str) -> Value {
        serde_json::from_str(self.fields[name].get()).expect("a field is JSON")
    }
}

/// An entry without the fields of later releases, which are kept and relayed and no part of an answer.
fn shown(entry: &str) -> String {
    match entry.rfind("Z\",\"extra\":{") {
        Some(end) => format!("{}Z\"}}", &entry[..end]),
        None => entry.to_owned(),
    }
}

fn from_hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hex digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect()
}
