//! Requests that a node hands to its parent, and the answers it hands back: which headers cross, and how a circle of
//! parents is noticed.
//!
//! Both lists name what crosses. All else stays where it came in: cookies, identities that only a proxy beside this node
//! may assert, and what is said of one connection alone (RFC 9110, section 7.6.1).

use super::error::{ApiError, Code};
use super::{
    HEADER_APIKEY, HEADER_AUTHORIZATION, HEADER_IDEMPOTENCY_KEY, HEADER_LAG, HEADER_MIN_POSITION, HEADER_POSITION,
    HEADER_SECRET, HEADER_VIA, HEADER_WAIT, HOPS_MAX,
};
use crate::id::Id;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Request headers that go on to the parent, by lower-case name. [`HEADER_VIA`] goes too, as [`via`] makes it.
pub const REQUEST_HEADERS: [&str; 10] = [
    "accept",
    HEADER_APIKEY,
    HEADER_AUTHORIZATION,
    "content-type",
    HEADER_IDEMPOTENCY_KEY,
    "if-match",
    "if-none-match",
    HEADER_SECRET,
    HEADER_MIN_POSITION,
    HEADER_WAIT,
];

/// Headers of the parent's answer that go back to the caller, by lower-case name.
pub const ANSWER_HEADERS: [&str; 8] =
    ["allow", "cache-control", "content-type", "etag", "link", "retry-after", HEADER_LAG, HEADER_POSITION];

/// What the request says of its way once this node has added itself. `received` are the lines of its [`HEADER_VIA`];
/// `None` as `instance` is for a part of a node that holds no state and adds nothing.
///
/// # Errors
/// 508 `loop` when it came through this node before, or through [`HOPS_MAX`] nodes; 400 for what is no list of instances.
///
/// # Examples
/// ```
/// use headwater_core::api::via;
/// let (a, b) = ("0a".repeat(16), "0b".repeat(16));
/// assert_eq!(via([&*a], Some(b.parse().unwrap())).unwrap(), format!("{a}, {b}"));
/// assert!(via([&*a], Some(a.parse().unwrap())).is_err());
/// ```
pub fn via<'a>(received: impl IntoIterator<Item = &'a str>, instance: Option<Id>) -> Result<String, ApiError> {
    let hops = received.into_iter().flat_map(|line| line.split(',')).map(str::trim).filter(|hop| !hop.is_empty());
    let mut way = Vec::new();
    for hop in hops {
        let invalid = |_| ApiError::new(Code::InvalidRequest, format!("{HEADER_VIA} is no list of instances"));
        let hop: Id = hop.parse().map_err(invalid)?;
        if instance == Some(hop) {
            return Err(ApiError::new(Code::Loop, "the request came through this node before: parents form a circle"));
        }
        if way.len() + 1 >= HOPS_MAX {
            return Err(ApiError::new(Code::Loop, format!("the request came through {HOPS_MAX} nodes, the limit")));
        }
        way.push(hop);
    }
    way.extend(instance);
    Ok(way.iter().map(|hop| format!("{hop}")).collect::<Vec<_>>().join(", "))
}

/// What a refusal's `Retry-After` asks for, in ms; 0 when it says nothing in seconds.
pub fn retry_after_ms(header: Option<&str>) -> u64 {
    let seconds = header.and_then(|text| text.trim().parse::<u64>().ok());
    seconds.map_or(0, |seconds| seconds.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> String {
        format!("{n:032x}")
    }

    fn after(hops: usize, instance: usize) -> Result<String, Code> {
        let received = (1..=hops).map(id).collect::<Vec<_>>().join(", ");
        via([&*received], Some(id(instance).parse().unwrap())).map_err(|error| error.code)
    }

    #[test]
    fn a_circle_or_too_long_a_way_is_noticed() {
        assert_eq!(after(0, 9), Ok(id(9)));
        let (one, two, three) = (id(1), id(2), id(3));
        let lines = [&*format!("{one},{two}"), "", &three];
        assert_eq!(via(lines, Some(id(9).parse().unwrap())).unwrap(), [one, two, three, id(9)].join(", "));
        assert_eq!(after(3, 2), Err(Code::Loop));
        assert!(after(HOPS_MAX - 1, 9).is_ok());
        assert_eq!(after(HOPS_MAX, 9), Err(Code::Loop));
        assert_eq!(after(HOPS_MAX + 3, 9), Err(Code::Loop));
    }

    #[test]
    fn who_holds_no_state_hands_the_way_on_unchanged() {
        let received = [id(1), id(2)].join(", ");
        assert_eq!(via([&*received], None).unwrap(), received);
        assert_eq!(via([], None).unwrap(), "");
    }

    #[test]
    fn what_is_no_instance_is_refused() {
        for received in ["me", "00", &id(1)[1..], "../.."] {
            assert_eq!(via([received], None).unwrap_err().code, Code::InvalidRequest, "{received}");
        }
    }

    #[test]
    fn a_refusal_asks_for_seconds() {
        for (header, ms) in [(Some("2"), 2_000), (Some(" 1 "), 1_000), (None, 0), (Some("soon"), 0), (Some("-1"), 0)] {
            assert_eq!(retry_after_ms(header), ms, "{header:?}");
        }
        assert_eq!(retry_after_ms(Some("18446744073709551615")), u64::MAX);
    }
}
