//! Conditions of requests: entity tags, and the form an answer is wanted in.

use super::answer::CONTENT_NDJSON;
use super::error::{ApiError, Code};
use crate::writer::Tags;
use alloc::string::String;
use alloc::vec::Vec;

/// Reads `If-Match` or `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1). Weak tags count as strong ones: entries have
/// one representation. `None` when the text is no list of tags.
pub fn parse_tags(header: &str) -> Option<Tags> {
    let header = header.trim();
    if header == "*" {
        return Some(Tags::Any);
    }
    let tag = |item: &str| {
        let item = item.trim();
        let quoted = item.strip_prefix("W/").unwrap_or(item);
        Some(String::from(quoted.strip_prefix('"')?.strip_suffix('"')?))
    };
    header.split(',').map(tag).collect::<Option<Vec<_>>>().map(Tags::List)
}

/// What a read's headers ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-None-Match`: 304 when the tag is among these.
    pub none_match: Option<Tags>,
    /// `Accept: application/x-ndjson`: a list as lines.
    pub lines: bool,
}

impl Conditions {
    /// Reads `If-None-Match` and the lines of `Accept`.
    ///
    /// # Errors
    /// 400 `invalid_request` for an `If-None-Match` that is no list of tags.
    pub fn read<'a>(if_none_match: Option<&str>, accept: impl IntoIterator<Item = &'a str>) -> Result<Self, ApiError> {
        let invalid = || ApiError::new(Code::InvalidRequest, "If-None-Match is no list of ETags in quotes");
        let none_match = if_none_match.map(|text| parse_tags(text).ok_or_else(invalid)).transpose()?;
        let mut ranges = accept.into_iter().flat_map(|line| line.split(','));
        let lines = ranges.any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == CONTENT_NDJSON));
        Ok(Self { none_match, lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn reads_tags_of_every_spelling() {
        assert_eq!(parse_tags(" * "), Some(Tags::Any));
        assert_eq!(parse_tags("\"3-9\", W/\"4-9\""), Some(Tags::List(vec!["3-9".into(), "4-9".into()])));
        for text in ["", "3-9", "\"3-9", "\"a\",", "*,\"a\""] {
            assert_eq!(parse_tags(text), None, "{text}");
        }
    }

    #[test]
    fn reads_what_a_read_asks_for() {
        let conditions = Conditions::read(Some("\"1-2\""), ["text/html, application/x-ndjson;q=0.5"]).unwrap();
        assert_eq!(conditions, Conditions { none_match: parse_tags("\"1-2\""), lines: true });
        assert_eq!(Conditions::read(None, ["application/json"]).unwrap(), Conditions::default());
        assert_eq!(Conditions::read(Some("1-2"), []).unwrap_err().code, Code::InvalidRequest);
    }
}
