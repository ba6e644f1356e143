//! The settings of proxies that vouch for who asks.

use super::{InvalidSetting, half_of_a_pair};
use clap::Args;
use headwater_core::credentials::equal_in_constant_time;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

const HEADING: &str = "Proxies";

/// Fewest characters of the shared secret.
const SECRET_LEAST: usize = 32;

/// Flags and variables of proxies that vouch for who asks.
#[derive(Args, Clone, Debug, Default)]
pub struct ProxyArgs {
    /// Address of a proxy that has found out who asks and says so in X-Glue-Authentication; repeatable
    #[arg(long, help_heading = HEADING, env = "HEADWATER_TRUSTED_PROXY", value_name = "IP", value_delimiter = ',', requires = "proxy_secret_file")]
    pub trusted_proxy: Vec<IpAddr>,

    /// File whose first line is the secret that these proxies send as X-Glue-Proxy-Secret, of 32 characters or more
    #[arg(long, help_heading = HEADING, env = "HEADWATER_PROXY_SECRET_FILE", value_name = "FILE", requires = "trusted_proxy")]
    pub proxy_secret_file: Option<PathBuf>,
}

impl ProxyArgs {
    /// The proxies, with their secret read; `None` for none, whoever says otherwise.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no secret.
    pub(super) fn check(&self) -> Result<Option<Proxies>, InvalidSetting> {
        let Some(path) = &self.proxy_secret_file else { return Ok(None) };
        let invalid = |reason| InvalidSetting { setting: "--proxy-secret-file", reason };
        let text = fs::read_to_string(path).map_err(|error| invalid(format!("reading {}: {error}", path.display())))?;
        let secret = text.lines().next().unwrap_or_default();
        half_of_a_pair(secret).map_err(|reason| invalid(format!("{}: {reason}", path.display())))?;
        if secret.len() < SECRET_LEAST {
            let found = secret.len();
            return Err(invalid(format!(
                "the first line of {} has {found} characters, and {SECRET_LEAST} are the least: take those of `openssl rand -hex 32`",
                path.display()
            )));
        }
        let peers = self.trusted_proxy.iter().map(IpAddr::to_canonical).collect();
        Ok(Some(Proxies { peers, secret: secret.into() }))
    }
}

/// Proxies that may say who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxies {
    peers: Vec<IpAddr>,
    secret: String,
}

impl Proxies {
    /// Whether a request from this address with this secret comes from one of them.
    pub(crate) fn vouch(&self, peer: IpAddr, secret: &str) -> bool {
        self.peers.contains(&peer.to_canonical()) && equal_in_constant_time(&self.secret, secret)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("peers", &self.peers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Option<Proxies>, InvalidSetting> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, text).unwrap();
        let trusted_proxy = vec!["10.0.0.7".parse().unwrap(), "::1".parse().unwrap()];
        ProxyArgs { trusted_proxy, proxy_secret_file: Some(path) }.check()
    }

    #[test]
    fn only_who_is_listed_and_knows_the_secret_vouches() {
        let secret = "s".repeat(SECRET_LEAST);
        let proxies = checked(&format!("{secret}\nmore\n")).unwrap().unwrap();
        let vouch = |peer: &str, secret: &str| proxies.vouch(peer.parse().unwrap(), secret);
        assert!(vouch("10.0.0.7", &secret) && vouch("::1", &secret) && vouch("::ffff:10.0.0.7", &secret));
        assert!(!vouch("10.0.0.8", &secret) && !vouch("127.0.0.1", &secret));
        assert!(
            !vouch("10.0.0.7", "")
                && !vouch("10.0.0.7", &secret[1..])
                && !vouch("10.0.0.7", &format!("{secret}\nmore"))
        );
        assert!(!format!("{proxies:?}").contains(&secret));
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        for text in
            ["", "\n", "short", &"s".repeat(SECRET_LEAST - 1), &format!("{} {}", "s".repeat(20), "t".repeat(20))]
        {
            assert_eq!(checked(text).unwrap_err().setting, "--proxy-secret-file", "{text:?}");
        }
        assert_eq!(ProxyArgs::default().check(), Ok(None));
    }
}
