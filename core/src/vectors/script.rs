//! The file of a vector, taken apart.

use crate::command::lines;
use crate::json;
use crate::scope::Scope;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// The bytes are no vector; says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidVector(pub &'static str);

impl fmt::Display for InvalidVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a vector: {}", self.0)
    }
}

impl core::error::Error for InvalidVector {}

pub(super) struct Script<'a> {
    /// What the replica asks for at first.
    pub(super) scope: Scope,
    pub(super) parents: usize,
    pub(super) now_ms: u64,
    pub(super) acts: Vec<Act<'a>>,
}

pub(super) enum Act<'a> {
    /// The parent sends these.
    Bytes(Cow<'a, [u8]>),
    /// The parent sends a line of so many bytes, the newline not counted.
    Long(usize),
    /// The parent sends a line in which so many arrays are nested.
    Deep(usize),
    /// The connection is over and the next one begins, asking for this scope if it names one.
    Connect(Option<Scope>),
    /// Time passes, in ms.
    Pass(u64),
}

/// What a line begins with that is no part of the stream.
const DIRECTIVE: &[u8] = b"{\"%\":";

impl<'a> Script<'a> {
    pub(super) fn parse(vector: &'a [u8]) -> Result<Self, InvalidVector> {
        let mut all = lines(vector);
        let (_, first) = all.next().ok_or(InvalidVector("no header"))?;
        let header = Fields::read(first)?;
        let mut script = Self {
            scope: header.scope()?.ok_or(InvalidVector("the header has no scope"))?,
            parents: header.number("parents")?.unwrap_or(1) as usize,
            now_ms: header.number("now")?.ok_or(InvalidVector("the header has no now"))?,
            acts: Vec::new(),
        };
        let mut end = first.len() + 1;
        // Where stream lines began that no act has yet.
        let mut from = end;
        for (start, line) in all {
            end = start + line.len() + 1;
            if !line.starts_with(DIRECTIVE) {
                continue;
            }
            script.bytes(&vector[from..start]);
            script.directive(line)?;
            from = end;
        }
        script.bytes(&vector[from..end]);
        if end < vector.len() {
            return Err(InvalidVector("the last line has no newline: a torn one is a directive"));
        }
        Ok(script)
    }

    fn bytes(&mut self, bytes: &'a [u8]) {
        if !bytes.is_empty() {
            self.acts.push(Act::Bytes(Cow::Borrowed(bytes)));
        }
    }

    fn directive(&mut self, line: &'a [u8]) -> Result<(), InvalidVector> {
        let fields = Fields::read(line)?;
        let act = match &*fields.string("%")?.unwrap_or_default() {
            "connect" => Act::Connect(fields.scope()?),
            "pass" => Act::Pass(fields.number("ms")?.ok_or(InvalidVector("pass without ms"))?),
            "long" => Act::Long(fields.number("bytes")?.ok_or(InvalidVector("long without bytes"))? as usize),
            "deep" => Act::Deep(fields.number("levels")?.ok_or(InvalidVector("deep without levels"))? as usize),
            "text" => {
                let text = fields.string("text")?.ok_or(InvalidVector("text without text"))?;
                Act::Bytes(Cow::Owned(text.into_owned().into_bytes()))
            }
            "hex" => {
                let hex = fields.string("bytes")?.ok_or(InvalidVector("hex without bytes"))?;
                Act::Bytes(Cow::Owned(from_hex(&hex).ok_or(InvalidVector("hex of something else"))?))
            }
            _ => return Err(InvalidVector("an unknown directive")),
        };
        self.acts.push(act);
        Ok(())
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Fields<'a> {
    fn read(line: &'a [u8]) -> Result<Self, InvalidVector> {
        let text = json::utf8(line).and_then(json::members);
        text.map(Self).map_err(|_| InvalidVector("the header or a directive is no JSON object"))
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, raw)| *raw)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, InvalidVector> {
        let wrong = InvalidVector("a number is none");
        self.raw(name).map(|raw| json::unsigned(raw).ok_or(wrong)).transpose()
    }

    fn string(&self, name: &str) -> Result<Option<Cow<'a, str>>, InvalidVector> {
        let wrong = InvalidVector("a text is none");
        self.raw(name).map(|raw| json::string(raw).ok_or(wrong)).transpose()
    }

    fn scope(&self) -> Result<Option<Scope>, InvalidVector> {
        let wrong = InvalidVector("the scope is none");
        self.raw("scope").map(|raw| Scope::from_json(raw).map_err(|_| wrong)).transpose()
    }
}
