//! What shows a node who asks: a pair or a token, from flags, variables and a file.
//!
//! A secret is never an argument: arguments are seen by everyone on the machine. It comes from a variable or a file.

use super::failure::Failure;
use crate::settings::Pair;
use axum::http::HeaderValue;
use headwater_core::api::{DEV, HEADER_APIKEY, HEADER_AUTHORIZATION, HEADER_SECRET};
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The variables a pair comes from.
pub(super) const APIKEY_VARIABLE: &str = "HEADWATER_APIKEY";
pub(super) const SECRET_VARIABLE: &str = "HEADWATER_SECRET";
/// The variable a token comes from, in place of a pair.
pub(super) const TOKEN_VARIABLE: &str = "HEADWATER_TOKEN";
/// Longest secret file read.
const SECRET_BYTES_MAX: u64 = 4096;

/// What shows a node who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// A key and its secret.
    Pair(Pair),
    /// What the holder of a pair made of it, for a while.
    Token(Token),
}

impl Credentials {
    /// The pair of a node that runs with `--dev`.
    pub(super) fn of_dev() -> Self {
        Self::Pair(Pair { apikey: DEV.into(), secret: DEV.into() })
    }

    /// What `apikey`, the first line of `secret_file` and the variables say; a flag beats its variable. `None` if nothing
    /// says anything. No variable is empty.
    ///
    /// # Errors
    /// Half a pair, a token beside (half) a pair, an unreadable secret file, or what no header can carry.
    pub(super) fn given(
        apikey: Option<&str>,
        secret_file: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let apikey = apikey.map(str::to_owned).or_else(|| variable(APIKEY_VARIABLE));
        let secret = match secret_file {
            Some(path) => Some(read_secret(path)?),
            None => variable(SECRET_VARIABLE),
        };
        match (apikey, secret, variable(TOKEN_VARIABLE)) {
            (Some(apikey), Some(secret), None) => {
                sendable("API key", &apikey)?;
                sendable("secret", &secret)?;
                Ok(Some(Self::Pair(Pair { apikey, secret })))
            }
            (None, None, Some(token)) => {
                sendable("token", &token)?;
                Ok(Some(Self::Token(Token(token))))
            }
            (None, None, None) => Ok(None),
            (_, _, Some(_)) => Err(Failure::usage("there is a token and (half) a pair, of which a node takes one")
                .next(format!("Unset {TOKEN_VARIABLE}, or both {APIKEY_VARIABLE} and {SECRET_VARIABLE}."))),
            (Some(_), None, None) => Err(Failure::usage("there is an API key but no secret")
                .next(format!("Set {SECRET_VARIABLE}, or name a file that holds it with --secret-file."))),
            (None, Some(_), None) => Err(Failure::usage("there is a secret but no API key")
                .next(format!("Set {APIKEY_VARIABLE} or give --apikey."))),
        }
    }

    /// The headers that carry them.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Pair(Pair { apikey, secret }) => {
                vec![(HEADER_APIKEY, apikey.clone()), (HEADER_SECRET, secret.clone())]
            }
            Self::Token(Token(token)) => vec![(HEADER_AUTHORIZATION, format!("Bearer {token}"))],
        }
    }
}

/// A token, which is as good as a secret while it lasts.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

fn sendable(what: &str, text: &str) -> Result<(), Failure> {
    let sendable = HeaderValue::from_str(text).map(|_| ());
    sendable.map_err(|_| Failure::usage(format!("the {what} has characters that none of ours has")))
}

fn read_secret(path: &Path) -> Result<String, Failure> {
    let unreadable = |error| Failure::usage(format!("cannot read the secret from {}: {error}", path.display()));
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text)).map_err(unreadable)?;
    let secret = text.lines().next().unwrap_or_default().trim();
    if secret.is_empty() {
        return Err(Failure::usage(format!("the first line of {} is empty: it should be the secret", path.display())));
    }
    Ok(secret.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Kind;

    #[test]
    fn a_secret_file_wins_over_the_variable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let given = |variable: fn(&str) -> Option<String>| Credentials::given(Some("k"), Some(&path), variable);
        std::fs::write(&path, "from-file\nsecond line\n").unwrap();
        let variable = |name: &str| (name != TOKEN_VARIABLE).then(|| "from-variable".into());
        let pair = Credentials::Pair(Pair { apikey: "k".into(), secret: "from-file".into() });
        assert_eq!(given(variable).unwrap(), Some(pair.clone()));
        assert_eq!(given(|_| None).unwrap(), Some(pair));
        for unfit in ["a\u{7f}b", "\n"] {
            std::fs::write(&path, unfit).unwrap();
            assert_eq!(given(|_| None).unwrap_err().kind, Kind::Usage, "{unfit:?}");
        }
    }
}
