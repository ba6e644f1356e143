//! What the deployment says: variables and secrets of the Worker.

use headwater_core::api::{DEV, host};
use js_sys::Reflect;
use std::cell::OnceCell;
use std::rc::Rc;
use worker::Env;

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
    /// `DEV`: whether the pair `dev` / `dev` is accepted from loopback, and shown to the parent unless another is set.
    pub(crate) dev: bool,
    /// `HOSTS`: names this deployment is called by, separated by commas. Empty: those that the provider routes to it.
    pub(crate) hosts: Vec<String>,
    /// `AUTH_STALENESS_MAX_MS`: the lag in ms from which on the object trusts no key; `None` for never.
    pub(crate) auth_staleness_ms_max: Option<u64>,
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
        let or_dev = |text: String| if dev && text.is_empty() { DEV.into() } else { text };
        Self {
            node: Some(text("NODE")).filter(|node| !node.is_empty()).unwrap_or_else(|| "edge".into()),
            parents: list("PARENT_URL"),
            apikey: or_dev(text("PARENT_APIKEY")),
            secret: or_dev(text("PARENT_SECRET")),
            dev,
            hosts: list("HOSTS"),
            auth_staleness_ms_max: staleness(&text("AUTH_STALENESS_MAX_MS")),
            region: Some(text("REGION")).filter(|region| !region.is_empty()),
        }
    }

    /// Whether a request may call this deployment by `host` (a `Host` header): a web page on another name that points
    /// here must not reach it.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        self.hosts.is_empty() || host::answers_to(host, &self.hosts)
    }

    /// Whether a request that calls this deployment by `host` may use the development pair. `client` is who the runtime
    /// says is at the other end of the connection: workerd by itself says it of every request, the provider's network of
    /// none, and what a client sends has no say in it. The name is looked at besides, so that no web page gets in.
    pub(crate) fn takes_dev_pair(&self, host: &str, client: Option<&str>) -> bool {
        self.dev && host::is_loopback(host) && client.is_some_and(host::is_loopback)
    }
}

/// A bound that was given and is none becomes the narrowest: whoever set it wants keys to be young.
fn staleness(text: &str) -> Option<u64> {
    (!text.trim().is_empty()).then(|| text.trim().parse().unwrap_or(0))
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
            auth_staleness_ms_max: None,
            region: None,
        }
    }

    #[test]
    fn a_bound_that_is_none_does_not_pass_for_no_bound() {
        for (text, bound) in
            [("", None), (" ", None), ("30000", Some(30_000)), (" 5 ", Some(5)), ("30s", Some(0)), ("-1", Some(0))]
        {
            assert_eq!(staleness(text), bound, "{text:?}");
        }
    }

    #[test]
    fn answers_to_its_names_and_to_loopback() {
        let named = settings(&["edge.example.com"], false);
        assert!(named.answers_to("Edge.Example.Com:443") && named.answers_to("127.0.0.1:8787"));
        assert!(!named.answers_to("example.com"));
        assert!(settings(&[], false).answers_to("anything.workers.dev"));
    }

    #[test]
    fn takes_the_development_pair_from_this_very_machine_only() {
        let (near, far) = (Some("127.0.0.1:49904"), Some("192.168.1.7:49904"));
        assert!(settings(&[], true).takes_dev_pair("127.0.0.1:80", near));
        assert!(settings(&[], true).takes_dev_pair("localhost", Some("[::1]:49904")));
        assert!(!settings(&[], false).takes_dev_pair("127.0.0.1:80", near));
        assert!(!settings(&[], true).takes_dev_pair("edge.example.com", near));
        assert!(!settings(&[], true).takes_dev_pair("127.0.0.1:80", far));
        assert!(!settings(&[], true).takes_dev_pair("127.0.0.1:80", None));
    }
}
