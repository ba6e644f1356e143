//! Which node to talk to, and as whom.
//!
//! A secret is never an argument: arguments are seen by everyone on the machine. It comes from a variable or a file.

use super::client::{CONNECT_WITHIN, Client};
use super::failure::Failure;
use super::profile::{self, Profile};
use crate::settings::Pair;
use crate::tls::client::{Trust, Unusable};
use axum::http::uri::{PathAndQuery, Scheme};
use axum::http::{HeaderValue, Uri};
use clap::Args;
use headwater_core::api::{DEV, HEADER_APIKEY, HEADER_AUTHORIZATION, HEADER_SECRET, host};
use std::fmt;
use std::fs::File;
use std::io::{Read, Take};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a server listens unless told otherwise.
const URL_DEFAULT: &str = "http://127.0.0.1:4077";
/// The variables a pair comes from.
const APIKEY_VARIABLE: &str = "HEADWATER_APIKEY";
const SECRET_VARIABLE: &str = "HEADWATER_SECRET";
/// The variable a token comes from, in place of a pair.
const TOKEN_VARIABLE: &str = "HEADWATER_TOKEN";
const PROFILE_VARIABLE: &str = "HEADWATER_PROFILE";
/// Longest secret file read.
const SECRET_BYTES_MAX: u64 = 4096;

/// What all client commands take.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Address of the node: writer, replica or edge [default: http://127.0.0.1:4077]
    #[arg(long, env = "HEADWATER_URL", value_name = "URL", help_heading = "Connection")]
    url: Option<BaseUrl>,
    /// Node and pair that were saved under this name by `headwater profile save` [env: HEADWATER_PROFILE]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["apikey", "secret_file", "dev"], help_heading = "Connection")]
    profile: Option<String>,
    /// Public half of the pair [env: HEADWATER_APIKEY; the secret half is HEADWATER_SECRET, never an argument; in place of
    /// both a token in HEADWATER_TOKEN]
    #[arg(long, value_name = "KEY", help_heading = "Connection")]
    apikey: Option<String>,
    /// File whose first line is the secret, instead of HEADWATER_SECRET
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    secret_file: Option<PathBuf>,
    /// Certificates in PEM that say which nodes are the right ones, in place of those that this system trusts
    #[arg(long, env = "HEADWATER_CA", value_name = "FILE", help_heading = "Connection")]
    ca: Option<PathBuf>,
    /// Certificate in PEM to show to a node that asks for one
    #[arg(long, env = "HEADWATER_CERT", value_name = "FILE", requires = "key_file", help_heading = "Connection")]
    cert: Option<PathBuf>,
    /// Private key of --cert, in PEM
    #[arg(long, env = "HEADWATER_KEY_FILE", value_name = "FILE", requires = "cert", help_heading = "Connection")]
    key_file: Option<PathBuf>,
    /// Use the pair dev / dev of a node on this machine that was started with --dev
    #[arg(long, conflicts_with_all = ["apikey", "secret_file"], help_heading = "Connection")]
    dev: bool,
    /// Write JSON on a terminal too
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

/// What shows a node who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// A key and its secret.
    Pair(Pair),
    /// What the holder of a pair made of it, for a while.
    Token(Token),
}

impl Credentials {
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

impl Connection {
    /// A client for the node, with the credentials if there are any.
    ///
    /// # Errors
    /// Half a pair, a token beside one, an unreadable secret file or certificate, or `--dev` towards another machine.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let Target { url, credentials, trust } = self.target(|name| std::env::var(name).ok())?;
        let connector = trust.connector(url.scheme == Scheme::HTTPS, CONNECT_WITHIN);
        let connector = connector.map_err(|unusable| match unusable {
            Unusable::Ca(error) => Failure::usage(format!("--ca: {error}")),
            Unusable::Certificate(error) => Failure::usage(format!("--cert: {error}")),
        })?;
        Ok(Client::new(url, connector, credentials))
    }

    /// What is to be saved as a profile.
    ///
    /// # Errors
    /// As [`Connection::client`]; a token, which is soon of no use.
    pub(super) fn to_profile(&self) -> Result<Profile, Failure> {
        let Target { url, credentials, trust } = self.target(|name| std::env::var(name).ok())?;
        let pair = match credentials {
            None => None,
            Some(Credentials::Pair(pair)) => Some(pair),
            Some(Credentials::Token(_)) => {
                return Err(Failure::usage(format!(
                    "a token is for a while, and no profile keeps that of {TOKEN_VARIABLE}"
                ))
                .next(format!("Unset it, and give the pair by {APIKEY_VARIABLE} and {SECRET_VARIABLE}, or none.")));
            }
        };
        // It is used from other directories too.
        let whole = |path: PathBuf| {
            let failed = |error| Failure::usage(format!("{}: {error}", path.display()));
            std::path::absolute(&path).map_err(failed)
        };
        let (cert, key_file) = trust.certificate.unzip();
        let [ca, cert, key_file] = [trust.ca, cert, key_file].map(|path| path.map(whole).transpose());
        Ok(Profile { url: url.to_string(), pair, ca: ca?, cert: cert?, key_file: key_file? })
    }

    fn target(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Target, Failure> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let trust = || Trust { ca: self.ca.clone(), certificate: self.cert.clone().zip(self.key_file.clone()) };
        let Some(name) = self.profile_name(variable) else {
            let default = || URL_DEFAULT.parse().map_err(Failure::usage);
            let url = self.url.clone().map_or_else(default, Ok)?;
            return Ok(Target { credentials: self.credentials(&url, variable)?, url, trust: trust() });
        };
        if variable(TOKEN_VARIABLE).is_some() {
            return Err(Failure::usage(format!("the profile {name} says who asks, and so does {TOKEN_VARIABLE}"))
                .next("Unset the one that is not meant, or give --url for the token."));
        }
        let Profile { url, pair, ca, cert, key_file } = profile::load(&name, variable)?;
        let url: BaseUrl = url.parse().map_err(|reason| Failure::usage(format!("the profile {name}: {reason}")))?;
        if self.url.as_ref().is_some_and(|other| *other != url) {
            let words = format!("the profile {name} is for {url}, and --url or HEADWATER_URL names another address");
            return Err(Failure::usage(words).next("A profile's pair goes to its own node alone: give one of the two."));
        }
        let (given, trust) = (trust(), Trust { ca, certificate: cert.zip(key_file) });
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let is_other_ca = given.ca.is_some_and(|ca| trust.ca.as_ref() != Some(&whole(&ca)));
        let shown = |pair: &(PathBuf, PathBuf)| (whole(&pair.0), whole(&pair.1));
        let is_other_certificate = given.certificate.is_some_and(|pair| trust.certificate != Some(shown(&pair)));
        for (is_other, setting) in
            [(is_other_ca, "--ca or HEADWATER_CA"), (is_other_certificate, "--cert or HEADWATER_CERT")]
        {
            if is_other {
                let words = format!("the profile {name} says whom to trust, and {setting} names another file");
                return Err(Failure::usage(words).next("A profile is whole: save it anew, or leave that away."));
            }
        }
        Ok(Target { url, credentials: pair.map(Credentials::Pair), trust })
    }

    /// The profile to take, if one is named: by the flag, or by the variable where nothing else names a node or a pair.
    fn profile_name(&self, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        let is_named = self.url.is_some() || self.apikey.is_some() || self.secret_file.is_some() || self.dev;
        self.profile.clone().or_else(|| variable(PROFILE_VARIABLE).filter(|_| !is_named))
    }

    fn credentials(
        &self,
        url: &BaseUrl,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Credentials>, Failure> {
        if self.dev {
            if !url.is_loopback() {
                let message = format!("--dev is for a node on this machine, and {url} is not a loopback address");
                return Err(
                    Failure::usage(message).next(format!("Set {APIKEY_VARIABLE} and {SECRET_VARIABLE} for this node."))
                );
            }
            if variable(TOKEN_VARIABLE).is_some() {
                return Err(Failure::usage(format!("--dev says who asks, and so does {TOKEN_VARIABLE}"))
                    .next(format!("Unset {TOKEN_VARIABLE}, or leave --dev away.")));
            }
            return Ok(Some(Credentials::Pair(Pair { apikey: DEV.into(), secret: DEV.into() })));
        }
        let apikey = self.apikey.clone().or_else(|| variable(APIKEY_VARIABLE));
        let secret = match &self.secret_file {
            Some(path) => Some(read_secret(path)?),
            None => variable(SECRET_VARIABLE),
        };
        match (apikey, secret, variable(TOKEN_VARIABLE)) {
            (Some(apikey), Some(secret), None) => whole(apikey, secret).map(|pair| Some(Credentials::Pair(pair))),
            (None, None, Some(token)) => {
                sendable("token", &token)?;
                Ok(Some(Credentials::Token(Token(token))))
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
}

/// Where a command goes, and as whom.
#[derive(Debug)]
struct Target {
    url: BaseUrl,
    credentials: Option<Credentials>,
    trust: Trust,
}

fn whole(apikey: String, secret: String) -> Result<Pair, Failure> {
    sendable("API key", &apikey)?;
    sendable("secret", &secret)?;
    Ok(Pair { apikey, secret })
}

fn sendable(what: &str, text: &str) -> Result<(), Failure> {
    let sendable = HeaderValue::from_str(text).map(|_| ());
    sendable.map_err(|_| Failure::usage(format!("the {what} has characters that none of ours has")))
}

fn read_secret(path: &Path) -> Result<String, Failure> {
    let unreadable = |error| Failure::usage(format!("cannot read the secret from {}: {error}", path.display()));
    let mut text = String::new();
    File::open(path).map(limited).and_then(|mut file| file.read_to_string(&mut text)).map_err(unreadable)?;
    let secret = text.lines().next().unwrap_or_default().trim();
    if secret.is_empty() {
        return Err(Failure::usage(format!("the first line of {} is empty: it should be the secret", path.display())));
    }
    Ok(secret.into())
}

fn limited(file: File) -> Take<File> {
    file.take(SECRET_BYTES_MAX)
}

/// The address that paths are put behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseUrl {
    scheme: Scheme,
    /// `host` or `host:port`.
    authority: String,
    host: String,
    /// Empty, or beginning with a slash and ending without one.
    path: String,
}

impl BaseUrl {
    /// The address of `target`, a path with its query.
    pub(super) fn join(&self, target: &str) -> Result<Uri, Failure> {
        let target = format!("{}{target}", self.path);
        let invalid = |_| Failure::usage("the request is longer than an address may be");
        let target = PathAndQuery::try_from(target).map_err(invalid)?;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.as_str()).path_and_query(target);
        uri.build().map_err(|_| Failure::usage("the request is longer than an address may be"))
    }

    fn is_loopback(&self) -> bool {
        host::is_loopback(&self.host)
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let with_scheme = if text.contains("://") { text.into() } else { format!("http://{text}") };
        let expected = "not an address: expected https://HOST:PORT or http://HOST:PORT";
        let uri: Uri = with_scheme.parse().map_err(|_| expected)?;
        let scheme = uri.scheme().filter(|&scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)).ok_or(expected)?;
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or(expected)?;
        if authority.as_str().contains('@') {
            return Err("a pair does not belong into an address: set HEADWATER_APIKEY and HEADWATER_SECRET".into());
        }
        if uri.query().is_some() {
            return Err("an address ends before the question mark".into());
        }
        let path = uri.path().trim_end_matches('/').into();
        let (authority, host) = (authority.as_str().into(), authority.host().into());
        Ok(Self { scheme: scheme.clone(), authority, host, path })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Kind;

    fn connection(url: &str) -> Connection {
        let url = Some(url.parse().unwrap());
        Connection {
            url,
            profile: None,
            apikey: None,
            secret_file: None,
            ca: None,
            cert: None,
            key_file: None,
            dev: false,
            json: false,
        }
    }

    fn shown(
        connection: &Connection,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Credentials>, Failure> {
        connection.target(variable).map(|target| target.credentials)
    }

    fn pair(apikey: &str, secret: &str) -> Credentials {
        Credentials::Pair(Pair { apikey: apikey.into(), secret: secret.into() })
    }

    #[test]
    fn an_address_may_leave_out_what_is_always_the_same() {
        for (text, joined) in [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070/v1/status"),
            ("node:1", "http://node:1/v1/status"),
            ("http://[::1]:80/", "http://[::1]:80/v1/status"),
            ("https://host", "https://host/v1/status"),
            ("http://host/behind/proxy/", "http://host/behind/proxy/v1/status"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().join("/v1/status").unwrap().to_string(), joined);
        }
        for text in ["", "http://", "https://", "ftp://host", "http://dev:dev@host", "http://host/?a=b", "a b"] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_reach_the_node_as_they_are() {
        let base: BaseUrl = "http://h".parse().unwrap();
        let target = "/v1/collections/c/entry?key=%2E%2E%2Fa";
        assert_eq!(base.join(target).unwrap().to_string(), format!("http://h{target}"));
    }

    #[test]
    fn the_dev_pair_never_leaves_the_machine() {
        for (url, used) in [
            ("http://127.0.0.1:1", true),
            ("http://127.8.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://10.0.0.1:1", false),
            ("http://localhost.example.com:1", false),
        ] {
            match shown(&Connection { dev: true, ..connection(url) }, |_| None) {
                Ok(shown) => assert!(used && shown == Some(pair("dev", "dev")), "{url}"),
                Err(failure) => assert!(!used && failure.kind == Kind::Usage, "{url}"),
            }
        }
    }

    #[test]
    fn credentials_are_whole_and_of_one_kind_or_not_there() {
        let set = |names: &'static [&str]| move |name: &str| Some(if names.contains(&name) { "x" } else { "" }.into());
        assert_eq!(shown(&connection("h"), set(&[])).unwrap(), None);
        assert_eq!(shown(&connection("h"), set(&[APIKEY_VARIABLE, SECRET_VARIABLE])).unwrap(), Some(pair("x", "x")));
        let token = Credentials::Token(Token("x".into()));
        assert_eq!(shown(&connection("h"), set(&[TOKEN_VARIABLE])).unwrap(), Some(token));
        for unclear in [
            &[APIKEY_VARIABLE][..],
            &[SECRET_VARIABLE],
            &[APIKEY_VARIABLE, TOKEN_VARIABLE],
            &[APIKEY_VARIABLE, SECRET_VARIABLE, TOKEN_VARIABLE],
        ] {
            assert_eq!(shown(&connection("h"), set(unclear)).unwrap_err().kind, Kind::Usage, "{unclear:?}");
        }
        let dev = Connection { dev: true, ..connection("http://127.0.0.1:1") };
        assert_eq!(shown(&dev, set(&[TOKEN_VARIABLE])).unwrap_err().kind, Kind::Usage);
        let named = Connection { url: None, profile: Some("prod".into()), ..connection("h") };
        let words = shown(&named, set(&[TOKEN_VARIABLE])).unwrap_err().message;
        assert!(words.contains("the profile prod says who asks"), "{words}");
    }

    #[test]
    fn a_secret_file_wins_over_the_variable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "from-file\nsecond line\n").unwrap();
        let named = Connection { apikey: Some("k".into()), secret_file: Some(path.clone()), ..connection("h") };
        let variable = |name: &str| (name != TOKEN_VARIABLE).then(|| "from-variable".into());
        assert_eq!(shown(&named, variable).unwrap(), Some(pair("k", "from-file")));
        assert!(shown(&named, |_| None).is_ok());
        std::fs::write(&path, "a\u{7f}b").unwrap();
        assert_eq!(shown(&named, |_| None).unwrap_err().kind, Kind::Usage);
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(shown(&named, |_| None).unwrap_err().kind, Kind::Usage);
    }
}
