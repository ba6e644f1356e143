//! Basic authorization (RFC 7617), for `GET /metrics` alone: Prometheus sends no headers of others' making before its version
//! 3. Elsewhere it is no credential: browsers send it by themselves, from any page.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// The pair of an `Authorization: Basic` header, where it does not come in headers of its own.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    if headers.contains_key("apikey") || headers.contains_key("secret") {
        return None;
    }
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    let pair = if scheme.eq_ignore_ascii_case("basic") { base64(credentials.trim())? } else { return None };
    let (apikey, secret) = pair.split_once(':')?;
    Some((apikey.into(), secret.into()))
}

/// Text from base64 (RFC 4648, section 4), padded or not; `None` if it is none.
fn base64(encoded: &str) -> Option<String> {
    let digits = encoded.trim_end_matches('=').bytes().map(|byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let (mut bits, mut held, mut out) = (0_u32, 0, Vec::new());
    for digit in digits {
        (bits, held) = ((bits << 6) | u32::from(digit?), held + 6);
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_comes_as_basic_authorization() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, text.parse().unwrap());
            basic(&headers)
        };
        let pair = |apikey: &str, secret: &str| Some((apikey.to_owned(), secret.to_owned()));
        assert_eq!(read("Basic ZGV2OmRldg=="), pair("dev", "dev"));
        assert_eq!(read("basic ZGV2OmRldg"), pair("dev", "dev"));
        assert_eq!(read("Basic a2V5OmE6Yj8/"), pair("key", "a:b??"));
        for text in ["Basic", "Basic !!!!", "Basic ZGV2", "Bearer ZGV2OmRldg==", "Basic /w==", ""] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
