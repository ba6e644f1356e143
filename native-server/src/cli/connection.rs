//! Which node to talk to, and as whom: by flags and variables, or by a profile that says all of it.

use super::base_url::BaseUrl;
use super::client::{CONNECT_WITHIN, Client};
use super::credentials::{APIKEY_VARIABLE, Credentials, SECRET_VARIABLE, TOKEN_VARIABLE};
use super::failure::Failure;
use super::forbidden::Source;
use super::profile::{self, Profile};
use crate::tls::client::{Trust, Unusable};
use clap::Args;
use std::path::PathBuf;

/// Where a server listens unless told otherwise.
const URL_DEFAULT: &str = "http://127.0.0.1:4077";
const PROFILE_VARIABLE: &str = "HEADWATER_PROFILE";

/// What all client commands take.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Address of the node: writer, replica or edge [default: http://127.0.0.1:4077]
    #[arg(long, env = "HEADWATER_URL", value_name = "URL", help_heading = "Connection")]
    url: Option<BaseUrl>,
    /// Node and pair that were saved under this name by `headwater profile save` [env: HEADWATER_PROFILE]
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
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

impl Connection {
    /// A client for the node, with the credentials if there are any.
    ///
    /// # Errors
    /// Half a pair, a token beside one, an unreadable secret file or certificate, or `--dev` towards another machine.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let Target { url, credentials, source, trust } = self.target(|name| std::env::var(name).ok())?;
        let connector = trust.connector(url.speaks_tls(), CONNECT_WITHIN);
        let connector = connector.map_err(|unusable| match unusable {
            Unusable::Ca(error) => Failure::usage(format!("--ca: {error}")),
            Unusable::Certificate(error) => Failure::usage(format!("--cert: {error}")),
        })?;
        Ok(Client::new(url, connector, (credentials, source)))
    }

    /// What is to be saved as a profile.
    ///
    /// # Errors
    /// As [`Connection::client`]; a token, which is soon of no use.
    pub(super) fn to_profile(&self) -> Result<Profile, Failure> {
        let Target { url, credentials, trust, source: _ } = self.target(|name| std::env::var(name).ok())?;
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
        let trust = Trust { ca: self.ca.clone(), certificate: self.cert.clone().zip(self.key_file.clone()) };
        match Named::of(self.profile.as_deref(), variable) {
            Some(profile) => self.as_saved(&profile, &trust, variable),
            None => {
                let default = || URL_DEFAULT.parse().map_err(Failure::usage);
                let url = self.url.clone().map_or_else(default, Ok)?;
                let source = if self.dev { Source::Dev } else { Source::Given };
                Ok(Target { credentials: self.credentials(&url, variable)?, source, url, trust })
            }
        }
    }

    /// What the profile says, where nothing else is said beside it: a mixture would send somebody's secret elsewhere, or do
    /// as one what was meant as another.
    fn as_saved(
        &self,
        named: &Named,
        given: &Trust,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Target, Failure> {
        if let Some(other) = self.who_asks(&variable) {
            return Err(named.beside(other, "says who asks, too"));
        }
        let name = &named.name;
        let Profile { url, pair, ca, cert, key_file } = profile::load(name, variable)?;
        let url: BaseUrl = url.parse().map_err(|reason| Failure::usage(format!("the profile {name}: {reason}")))?;
        if self.url.as_ref().is_some_and(|other| *other != url) {
            return Err(named.beside("--url or HEADWATER_URL", &format!("names another address than its {url}")));
        }
        let trust = Trust { ca, certificate: cert.zip(key_file) };
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        if given.ca.as_ref().is_some_and(|ca| trust.ca.as_ref() != Some(&whole(ca))) {
            return Err(named.beside("--ca or HEADWATER_CA", "names another file than it has"));
        }
        let given = given.certificate.as_ref().map(|(certificate, key)| (whole(certificate), whole(key)));
        if given.is_some() && trust.certificate != given {
            return Err(named.beside("--cert or HEADWATER_CERT", "names another file than it has"));
        }
        let source = Source::Profile(name.clone());
        Ok(Target { url, credentials: pair.map(Credentials::Pair), source, trust })
    }

    /// The first setting beside a profile that says who asks.
    fn who_asks(&self, variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
        let flags =
            [("--apikey", self.apikey.is_some()), ("--secret-file", self.secret_file.is_some()), ("--dev", self.dev)];
        let variables = [APIKEY_VARIABLE, SECRET_VARIABLE, TOKEN_VARIABLE].map(|name| (name, variable(name).is_some()));
        flags.into_iter().chain(variables).find_map(|(name, is_given)| is_given.then_some(name))
    }

    fn credentials(
        &self,
        url: &BaseUrl,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Credentials>, Failure> {
        if !self.dev {
            return Credentials::given(self.apikey.as_deref(), self.secret_file.as_deref(), variable);
        }
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
        Ok(Some(Credentials::of_dev()))
    }
}

/// A profile that is to be taken.
struct Named {
    name: String,
    /// What names it.
    by: &'static str,
}

impl Named {
    fn of(flag: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let by_flag = flag.map(|name| Self { name: name.to_owned(), by: "--profile" });
        by_flag.or_else(|| variable(PROFILE_VARIABLE).map(|name| Self { name, by: PROFILE_VARIABLE }))
    }

    /// That `other`, a flag or a variable, `says` what cannot be beside it.
    fn beside(&self, other: &str, says: &str) -> Failure {
        let (name, by) = (&self.name, self.by);
        Failure::usage(format!("{by} names the profile {name}, and {other} {says}"))
            .next("A profile is whole: beside it no other address, pair, token or certificate is taken.")
            .next(format!("To go by the profile {}; to go by the other {}.", without(other), without(by)))
    }
}

/// How one does without a setting.
fn without(setting: &str) -> String {
    if setting.starts_with("--") { format!("leave {setting} away") } else { format!("unset {setting}") }
}

/// Where a command goes, and as whom.
#[derive(Debug)]
struct Target {
    url: BaseUrl,
    credentials: Option<Credentials>,
    source: Source,
    trust: Trust,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::credentials::Token;
    use crate::cli::failure::Kind;
    use crate::settings::Pair;

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
    }

    #[test]
    fn nothing_is_said_beside_a_profile_by_flag_or_variable() {
        let home = tempfile::tempdir().unwrap();
        let here = Profile { url: "http://h:1".into(), ..Profile::default() };
        profile::save("prod", here, |_| Some(home.path().display().to_string())).unwrap();
        let named = Connection { url: None, ..connection("h") };
        let flag = || Connection { profile: Some("prod".into()), url: None, ..connection("h") };
        let with = |more: &'static str| {
            let place = home.path().display().to_string();
            move |name: &str| match name {
                "XDG_CONFIG_HOME" => Some(place.clone()),
                "HEADWATER_CA" => None,
                name => (name == more || (more.starts_with('-') && name == PROFILE_VARIABLE)).then(|| "prod".into()),
            }
        };
        let url = |connection: &Connection, more| connection.target(with(more)).map(|target| target.url.to_string());
        assert_eq!(url(&named, "-").unwrap(), "http://h:1");
        assert_eq!(url(&flag(), "").unwrap(), "http://h:1");
        assert_eq!(url(&Connection { url: "h:1".parse().ok(), ..connection("h") }, "-").unwrap(), "http://h:1");
        let refused = |connection: &Connection, more: &'static str, by: &str, other: &str| {
            let failure = connection.target(with(more)).unwrap_err();
            assert!(failure.kind == Kind::Usage && failure.message.contains(other), "{failure:?}");
            let (next, without) = (failure.next.join(" "), [without(by), without(other)]);
            assert!(failure.message.starts_with(by) && without.iter().all(|it| next.contains(it)), "{failure:?}");
        };
        for variable in [APIKEY_VARIABLE, SECRET_VARIABLE, TOKEN_VARIABLE] {
            refused(&flag(), variable, "--profile", variable);
        }
        let given = || connection("other:2");
        for (connection, other) in [
            (Connection { apikey: Some("k".into()), url: None, ..given() }, "--apikey"),
            (Connection { secret_file: Some("f".into()), url: None, ..given() }, "--secret-file"),
            (Connection { dev: true, url: None, ..given() }, "--dev"),
            (given(), "--url or HEADWATER_URL"),
            (Connection { ca: Some("f".into()), url: None, ..given() }, "--ca or HEADWATER_CA"),
            (
                Connection { cert: Some("f".into()), key_file: Some("f".into()), url: None, ..given() },
                "--cert or HEADWATER_CERT",
            ),
        ] {
            refused(&connection, "-", PROFILE_VARIABLE, other);
            refused(&Connection { profile: Some("prod".into()), ..connection }, "", "--profile", other);
        }
    }
}
