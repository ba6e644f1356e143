//! Who asked for a write, and how it is known if it is sent again: what the log stores beside the line and no stream
//! shows.

use crate::wal::ReplayRefused;
use headwater_core::repeats::Mark;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::IpAddr;

/// Where a write comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Id of the credential; empty for the node's own writes.
    pub(crate) by: String,
    /// Of its `Idempotency-Key`, where it has one: few do, and all wait in the queue.
    pub(crate) mark: Option<Box<Mark>>,
    /// From which address, where that is known: for the audit log, which alone keeps it.
    pub(crate) peer: Option<IpAddr>,
}

/// An origin as it is stored. What else is found there is passed over.
#[derive(Serialize, Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    by: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    req: Option<String>,
}

impl Origin {
    /// The meta of its record; nothing for the node's own.
    pub(super) fn meta(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let meta = Meta { by: Cow::Borrowed(&self.by), req: self.mark.as_ref().map(|mark| mark.to_string()) };
        serde_json::to_vec(&meta).expect("texts serialise")
    }

    /// Reads a record's meta.
    ///
    /// # Errors
    /// When it is no meta that a writer stores: what it says of the write would be forgotten.
    pub(crate) fn read(meta: &[u8]) -> Result<Self, ReplayRefused> {
        if meta.is_empty() {
            return Ok(Self::default());
        }
        let Meta { by, req } = serde_json::from_slice(meta)?;
        let mark = req.map(|text| text.parse()).transpose()?.map(Box::new);
        Ok(Self { by: by.into_owned(), mark, peer: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_stored_and_read_back() {
        let mark = Mark::new("a", "k", &[]);
        for (origin, meta) in [
            (Origin::default(), String::new()),
            (Origin { by: "a\"b".into(), mark: None, peer: None }, r#"{"by":"a\"b"}"#.into()),
            (
                Origin { by: "a".into(), mark: Some(Box::new(mark)), peer: None },
                format!(r#"{{"by":"a","req":"{mark}"}}"#),
            ),
        ] {
            assert_eq!(String::from_utf8(origin.meta()).unwrap(), meta);
            assert_eq!(Origin::read(meta.as_bytes()).unwrap(), origin);
        }
        assert_eq!(Origin::read(br#"{"later":[1],"by":"a"}"#).unwrap().by, "a");
        for meta in ["{}", "1", r#"{"by":"a","req":"x"}"#, r#"{"by":"a","req":""}"#] {
            assert!(Origin::read(meta.as_bytes()).is_err(), "{meta}");
        }
    }
}
