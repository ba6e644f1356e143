//! What a child says when it asks for a stream: the body of `POST /v1/replicate`.

use crate::id::Id;
use crate::json;
use crate::limits::{NODE_BYTES_MAX, SCOPE_BYTES_MAX, SCOPE_PREFIXES_MAX};
use crate::position::Position;
use crate::scope::Scope;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// From where a child wants to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Up to where it has everything.
    pub position: Position,
    /// The takeover in which that was written last; `None` where the child does not say.
    pub takeover: Option<u64>,
    /// Of what.
    pub scope: Scope,
}

/// The body of `POST /v1/replicate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The child's label.
    pub node: String,
    /// The child's instance.
    pub instance: Option<Id>,
    /// What it has, `None` for nothing.
    pub cursor: Option<Cursor>,
    /// The highest takeover it ever accepted: it takes nothing from before. `None` where it does not say, as a release
    /// that knows of none.
    pub takeover: Option<u64>,
    /// What it asks for.
    pub scope: Scope,
}

/// Why a body is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidRequest {
    /// Not JSON.
    Json(json::Error),
    /// A field has a value it cannot have; names it.
    Field(&'static str, String),
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Field(field, why) => write!(f, "\"{field}\": {why}"),
        }
    }
}

impl core::error::Error for InvalidRequest {}

impl Request {
    /// Reads the body; an empty one asks for everything public, from the start.
    ///
    /// The label and both scopes keep to [`crate::limits`]: a parent holds on to them for as long as the stream is open.
    ///
    /// # Errors
    /// Names the field that is wrong: answer 400.
    pub fn from_body(body: &[u8]) -> Result<Self, InvalidRequest> {
        let mut request =
            Self { node: String::new(), instance: None, cursor: None, takeover: None, scope: Scope::Public };
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(request);
        }
        let text = json::utf8(body).map_err(InvalidRequest::Json)?;
        for (name, raw) in json::members(text).map_err(InvalidRequest::Json)? {
            let wrong = |field, expected: &str| {
                let text: String = raw.chars().take(64).collect();
                InvalidRequest::Field(field, alloc::format!("{text} is not {expected}"))
            };
            match &*name {
                "node" => {
                    let label = json::string(raw).ok_or_else(|| wrong("node", "a text"))?;
                    if label.len() > NODE_BYTES_MAX {
                        let why = alloc::format!("a label of {} bytes is longer than {NODE_BYTES_MAX}", label.len());
                        return Err(InvalidRequest::Field("node", why));
                    }
                    request.node = label.into_owned();
                }
                "instance" => {
                    let id = json::string(raw).and_then(|text| text.parse().ok());
                    request.instance = Some(id.ok_or_else(|| wrong("instance", "an id of 32 hex digits"))?);
                }
                "scope" => request.scope = scope(raw)?,
                "takeover" => {
                    request.takeover = Some(json::unsigned(raw).ok_or_else(|| wrong("takeover", "a number"))?);
                }
                "cursor" if raw == "null" => {}
                "cursor" => {
                    let fields = json::members(raw).map_err(|_| wrong("cursor", "an object"))?;
                    let field = |name| fields.iter().find(|(field, _)| field == name).map(|(_, raw)| *raw);
                    let number = |name| field(name).and_then(json::unsigned);
                    let takeover = field("takeover").map(|raw| {
                        json::unsigned(raw).ok_or_else(|| wrong("cursor", "an object whose takeover is a number"))
                    });
                    let position = number("epoch").zip(number("seq")).map(|(epoch, seq)| Position { epoch, seq });
                    request.cursor = Some(Cursor {
                        position: position.ok_or_else(|| wrong("cursor", "an object with epoch, seq and scope"))?,
                        takeover: takeover.transpose()?,
                        scope: scope(
                            field("scope").ok_or_else(|| wrong("cursor", "an object with epoch, seq and scope"))?,
                        )?,
                    });
                }
                _ => {}
            }
        }
        // As a rule the two are the same, and it is said once.
        if let Some(cursor) = &mut request.cursor {
            cursor.takeover = cursor.takeover.or(request.takeover);
        }
        Ok(request)
    }

    /// Writes the body, a label over the limit cut to it.
    pub fn to_body(&self) -> String {
        let mut out = Vec::from(&b"{\"node\":"[..]);
        json::write_string(&mut out, &self.node[..self.node.floor_char_boundary(NODE_BYTES_MAX)]);
        if let Some(instance) = &self.instance {
            out.extend_from_slice(alloc::format!(",\"instance\":\"{instance}\"").as_bytes());
        }
        let write_takeover = |out: &mut Vec<u8>, takeover: Option<u64>| {
            if let Some(takeover) = takeover {
                out.extend_from_slice(alloc::format!(",\"takeover\":{takeover}").as_bytes());
            }
        };
        if let Some(Cursor { position: Position { epoch, seq }, takeover, scope }) = &self.cursor {
            out.extend_from_slice(alloc::format!(",\"cursor\":{{\"epoch\":{epoch},\"seq\":{seq}").as_bytes());
            write_takeover(&mut out, takeover.filter(|_| *takeover != self.takeover));
            out.extend_from_slice(alloc::format!(",\"scope\":{scope}}}").as_bytes());
        }
        write_takeover(&mut out, self.takeover);
        out.extend_from_slice(b",\"scope\":");
        self.scope.write_json(&mut out);
        out.push(b'}');
        String::from_utf8(out).expect("the JSON writer emits UTF-8")
    }
}

/// Reads a scope from a child, who may send any.
fn scope(raw: &str) -> Result<Scope, InvalidRequest> {
    let wrong = |why| InvalidRequest::Field("scope", why);
    if raw.len() > SCOPE_BYTES_MAX {
        return Err(wrong(alloc::format!("{} bytes are more than {SCOPE_BYTES_MAX}", raw.len())));
    }
    let scope = Scope::from_json(raw).map_err(|error| wrong(alloc::format!("{error}")))?;
    match scope.prefixes() {
        count if count > SCOPE_PREFIXES_MAX => {
            Err(wrong(alloc::format!("{count} key prefixes are more than {SCOPE_PREFIXES_MAX}")))
        }
        _ => Ok(scope),
    }
}
