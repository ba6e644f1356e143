//! What the deployment says: variables and secrets of the Worker.

use js_sys::Reflect;
use std::cell::OnceCell;
use std::rc::Rc;
use worker::Env;

/// The pair that `DEV` accepts, and shows to the parent unless another is set.
const DEV_PAIR: &str = "dev";

/// See the fields; README.md lists the variables.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `NODE`: the label.
    pub(crate) node: String,
    /// `PARENT_URL`: base addresses to follow and to forward to, separated by commas, the preferred one first.
    pub(crate) parents: Vec<String>,
    /// `PARENT_APIKEY` and `PARENT_SECRET`: the pair of role `node` shown to the parent. Secrets, never variables.
    pub(crate) apikey: String,
    pub(crate) secret: String,
    /// `DEV`: whether the pair `dev` / `dev` is accepted from loopback.
    pub(crate) dev: bool,
    /// `HOSTS`: names this deployment is called by, separated by commas. Empty: those that the provider routes to it.
    pub(crate) hosts: Vec<String>,
    /// `REGION`: the object's region instead of the one the request came in at.
    pub(crate) region: Option<String>,
}

thread_local! {
    /// Read once: bindings are the same for all requests of an isolate, and each look at one costs microseconds.
    static SETTINGS: OnceCell<Rc<Settings>> = const { OnceCell::new() };
}

impl Settings {
    /// The deployment's settings.
    pub(crate) fn of(env: &Env) -> Rc<Self> {
        SETTINGS.with(|settings| Rc::clone(settings.get_or_init(|| Rc::new(Self::read(env)))))
    }

    /// Reads the bindings; one that is missing counts as empty.
    fn read(env: &Env) -> Self {
        // Not `Env::var`: a binding to an unset variable is null, on which its check of types throws out of wasm.
        let text =
            |name: &str| Reflect::get(env, &name.into()).ok().and_then(|value| value.as_string()).unwrap_or_default();
        let list = |name: &str| -> Vec<String> {
            let items = text(name);
            items
                .split(',')
                .map(|item| item.trim().trim_end_matches('/').into())
                .filter(|item: &String| !item.is_empty())
                .collect()
        };
        let dev = matches!(&*text("DEV"), "1" | "true");
        let or_dev = |text: String| if dev && text.is_empty() { DEV_PAIR.into() } else { text };
        Self {
            node: Some(text("NODE")).filter(|node| !node.is_empty()).unwrap_or_else(|| "edge".into()),
            parents: list("PARENT_URL"),
            apikey: or_dev(text("PARENT_APIKEY")),
            secret: or_dev(text("PARENT_SECRET")),
            dev,
            hosts: list("HOSTS"),
            region: Some(text("REGION")).filter(|region| !region.is_empty()),
        }
    }

    /// Whether a request may call this deployment by `host` (a `Host` header): a web page on another name that points
    /// here must not reach it.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        let name = host_name(host);
        is_loopback(host) || self.hosts.is_empty() || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether the pair is the development pair and may be used: only by who calls a loopback literal.
    pub(crate) fn is_dev_pair(&self, host: &str, apikey: &str, secret: &str) -> bool {
        self.dev && is_loopback(host) && apikey == DEV_PAIR && secret == DEV_PAIR
    }
}

/// A `Host` without its port.
fn host_name(host: &str) -> &str {
    let end = if host.starts_with('[') { host.find(']').map(|end| end + 1) } else { host.find(':') };
    &host[..end.unwrap_or(host.len())]
}

/// Whether a `Host` is a literal loopback address or `localhost`.
fn is_loopback(host: &str) -> bool {
    let name = host_name(host);
    let v4 = name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    v4 || name == "[::1]" || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(hosts: &[&str], dev: bool) -> Settings {
        Settings {
            node: "edge".into(),
            parents: Vec::new(),
            apikey: String::new(),
            secret: String::new(),
            dev,
            hosts: hosts.iter().map(|host| String::from(*host)).collect(),
            region: None,
        }
    }

    #[test]
    fn answers_to_its_names_and_to_loopback() {
        let named = settings(&["edge.example.com"], false);
        for host in
            ["edge.example.com", "Edge.Example.Com:443", "127.0.0.1:8787", "127.9.9.9", "[::1]:80", "localhost:1"]
        {
            assert!(named.answers_to(host), "{host}");
        }
        for host in ["", "example.com", "127.0.0.1.example.com", "[::2]", "localhost.example.com", "0.0.0.0"] {
            assert!(!named.answers_to(host), "{host}");
        }
        assert!(settings(&[], false).answers_to("anything.workers.dev"));
    }

    #[test]
    fn takes_the_development_pair_from_loopback_only() {
        assert!(settings(&[], true).is_dev_pair("127.0.0.1:80", "dev", "dev"));
        assert!(!settings(&[], false).is_dev_pair("127.0.0.1:80", "dev", "dev"));
        assert!(!settings(&[], true).is_dev_pair("edge.example.com", "dev", "dev"));
        assert!(!settings(&[], true).is_dev_pair("127.0.0.1:80", "dev", ""));
    }
}
