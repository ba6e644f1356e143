//! The text that picks a log: `memory:`, `file:DIR`. It names a place and does not look whether anything is there.

use super::memory::RingBounds;
use crate::size::Size;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a log lives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalUrl {
    /// `memory:`, with optional bounds of the ring as in `memory:?bytes=1048576&records=1000`.
    Memory(RingBounds),
    /// `file:DIR`: a directory, relative to the working directory unless it starts with `/`.
    File(PathBuf),
}

impl fmt::Display for WalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bounds) if *bounds == RingBounds::default() => f.write_str("memory:"),
            Self::Memory(bounds) => write!(f, "memory:?bytes={}&records={}", bounds.bytes_max, bounds.records_max),
            Self::File(directory) => write!(f, "file:{}", directory.display()),
        }
    }
}

/// The text names no log this program knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidWalUrl {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for InvalidWalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not the URL of a log: {}", self.text, self.reason)
    }
}

impl std::error::Error for InvalidWalUrl {}

impl FromStr for WalUrl {
    type Err = InvalidWalUrl;

    fn from_str(text: &str) -> Result<Self, InvalidWalUrl> {
        let invalid = |reason: &str| InvalidWalUrl { text: text.into(), reason: reason.into() };
        let (scheme, rest) = text.split_once(':').ok_or_else(|| invalid("expected memory: or file:DIR"))?;
        match scheme {
            "memory" => ring_bounds(rest).map(Self::Memory).map_err(|reason| invalid(&reason)),
            "file" => {
                let path = match rest.strip_prefix("//") {
                    Some(absolute) if absolute.starts_with('/') => absolute,
                    Some(_) => return Err(invalid("file:// is followed by an absolute path: file:///var/lib/...")),
                    None => rest,
                };
                if path.is_empty() {
                    return Err(invalid("file: is followed by a directory, as in file:./data"));
                }
                Ok(Self::File(path.into()))
            }
            _ => Err(invalid("this build knows memory: and file:DIR")),
        }
    }
}

fn ring_bounds(rest: &str) -> Result<RingBounds, String> {
    let mut bounds = RingBounds::default();
    let Some(query) = rest.strip_prefix('?') else {
        return if rest.is_empty() { Ok(bounds) } else { Err("memory: takes no path".into()) };
    };
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let size = || value.parse::<Size>().map(Size::in_memory).ok().filter(|&n| n > 0);
        let number = || value.parse::<usize>().ok().filter(|&n| n > 0);
        match name {
            "bytes" => bounds.bytes_max = size().ok_or("bytes takes a size above 0, as in 1048576 or 64MiB")?,
            "records" => bounds.records_max = number().ok_or("records takes a whole number above 0")?,
            _ => return Err(format!("memory: takes bytes and records, not {name:?}")),
        }
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_log_and_prints_it_back() {
        for text in ["memory:", "memory:?bytes=1024&records=7", "file:./data", "file:/var/lib/headwater"] {
            assert_eq!(text.parse::<WalUrl>().unwrap().to_string(), text);
        }
        assert_eq!("file:///a/b".parse(), Ok(WalUrl::File("/a/b".into())));
        assert_eq!("memory:?bytes=1MiB".parse::<WalUrl>(), "memory:?bytes=1048576".parse());
    }

    #[test]
    fn refuses_what_names_no_log() {
        for text in ["", "data", "file:", "file://host/x", "memory:x", "memory:?bytes=0", "memory:?age=1", "redis://x"]
        {
            assert_eq!(text.parse::<WalUrl>().unwrap_err().text, text, "{text}");
        }
    }
}
