//! Ways round a limited key that have worked elsewhere: paths that are read twice, parameters given twice, headers that
//! name another target, credentials in odd places. Each must end in a refusal, or in what the key may do anyway.

use super::{NARROW, Pair, assert_refused};
use headwater_core::api::Code;
use headwater_tests::{Client, Lines, Reply, raw};
use reqwest::Method;

/// In every value that is out of reach.
const OUTSIDE: &str = "out-of-reach";

struct Bounded {
    pair: Pair,
    id: String,
    secret: String,
}

impl Bounded {
    async fn start() -> Self {
        let pair = Pair::start().await;
        let writer = pair.writer.client();
        for (collection, key) in [("hidden", "a"), ("prices", "us:1"), ("prices", "eu"), ("prices", "..")] {
            assert_eq!(writer.set(collection, key, &format!("\"{OUTSIDE}\"")).await.status, 200);
        }
        let (id, secret) = pair.key(&format!(r#"{{"id":"narrow","grants":{NARROW}}}"#)).await;
        Self { pair, id, secret }
    }

    fn urls(&self) -> [&str; 2] {
        [&self.pair.writer.url, &self.pair.replica.url]
    }

    /// A request as bytes, exactly as given.
    async fn ask(&self, url: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", raw::authority(url));
        head += &format!("apikey: {}\r\nsecret: {}\r\n", self.id, self.secret);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n{body}", body.len());
        let reply = raw::send(url, head.as_bytes()).await;
        let text = String::from_utf8_lossy(&reply.body);
        assert!(!text.contains(OUTSIDE) && !text.contains("sha256"), "{method} {target}: {text}");
        reply
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_reaches_beyond() {
    let bounded = Bounded::start().await;
    let before = bounded.pair.writer.client().position().await;
    for url in bounded.urls() {
        for (target, status) in [
            // Dots, empty segments and backslashes, raw and encoded, once and twice.
            ("/v1/collections/flags/../hidden/keys/a", 400),
            ("/v1/collections/flags/keys/../../hidden/keys/a", 400),
            ("/v1/collections/flags/keys/%2e%2e/%2e%2e/hidden/keys/a", 400),
            ("/v1/collections/flags/keys/%2e%2e%2f%2e%2e%2fhidden%2fkeys%2fa", 400),
            ("/v1/collections/flags/keys/%252e%252e/%252e%252e/hidden/keys/a", 404),
            ("/v1/collections/flags%2F..%2Fhidden/keys/a", 400),
            ("/v1/collections/flags%2Fkeys%2Fa/../../../hidden/keys/a", 400),
            ("/v1/collections/prices/keys/eu:/../us:1", 400),
            ("/v1/collections/prices/keys/eu:/%2e%2e/us:1", 400),
            ("/v1/collections/prices/keys/eu:\\..\\us:1", 400),
            ("/v1/collections/prices/keys/eu:%5C..%5Cus:1", 400),
            ("/v1/collections/prices/keys/./us:1", 400),
            ("/v1//collections/hidden/keys/a", 400),
            ("//v1/collections/hidden/keys/a", 400),
            ("/v1/collections/hidden//keys/a", 400),
            ("/v1/collections/hidden/keys/a/", 400),
            ("/v1/collections/hidden/", 400),
            ("/./v1/collections/hidden/keys/a", 400),
            ("/v1/collections/%2e/keys/a", 400),
            // Another spelling of what is outside is outside.
            ("/v1/collections/%68idden/keys/a", 403),
            ("/v1/collections/hidden/keys/%61", 403),
            ("/v1/collections/prices/keys/%75s:1", 403),
            ("/v1/collections/prices/keys/us%3A1", 403),
            ("/v1/collections/prices/keys/EU:1", 403),
            ("/v1/collections/prices/keys/%65%75", 403),
            ("/v1/collections/prices/keys/%00eu:1", 403),
            ("/v1/collections/%5Fkeys/keys/narrow", 403),
            ("/v1/collections/_keys/entry?key=narrow", 403),
            ("/v1/collections/FLAGS/keys/a", 403),
            ("/v1/collections/flags;x=hidden/keys/a", 403),
            ("/v1/collections/flags%00/keys/a", 403),
            ("/v1/collections/hidden/keys/a?collection=flags", 403),
            ("/v1/collections/prices/entry?key=%2e%2e", 403),
            // A key within is that key and no path.
            ("/v1/collections/prices/entry?key=eu:/../us:1", 404),
            ("/v1/collections/prices/entry?key=eu:%00us:1", 404),
            ("/v1/collections/prices/entry?key=eu:%2525", 404),
            // Given twice, differently spelled, badly encoded.
            ("/v1/collections/prices/entry?key=eu:1&key=us:1", 400),
            ("/v1/collections/prices/entry?key=us:1&key=eu:1", 400),
            ("/v1/collections/prices/keys?prefix=eu:&prefix=", 400),
            ("/v1/collections/prices/keys?prefix=eu:&prefix=us:", 400),
            ("/v1/collections/prices/keys?Prefix=eu:", 403),
            ("/v1/collections/prices/keys?%70refix=eu:", 403),
            ("/v1/collections/prices/keys?prefix=eu%", 400),
            ("/v1/collections/prices/keys?prefix=eu%ff", 400),
            ("/v1/collections/prices/keys?prefix=eu:%2F..", 200),
            ("/v1/collections/prices/keys?limit=1&after=us", 403),
            ("/v1/collections/prices/keys/%zz", 400),
            ("/v1/collections/prices/keys/%ff", 400),
            ("/V1/collections/hidden/keys/a", 404),
        ] {
            for method in ["GET", "HEAD"] {
                let reply = bounded.ask(url, method, target, &[], "").await;
                assert_eq!(reply.status, status, "{method} {target}: {}", String::from_utf8_lossy(&reply.body));
            }
            if status == 200 || target.contains("%252e") || target.contains("key=eu:") {
                continue;
            }
            for method in ["PUT", "POST", "DELETE"] {
                let reply = bounded.ask(url, method, target, &[], r#"{"value":"taken"}"#).await;
                assert!(matches!(reply.status, 400 | 403 | 404 | 405), "{method} {target}: {}", reply.status);
            }
        }
        let absolute = format!("{url}/v1/collections/hidden/keys/a");
        assert_eq!(bounded.ask(url, "GET", &absolute, &[], "").await.status, 403);
    }
    assert_eq!(bounded.pair.writer.client().position().await, before, "nothing was written");
}

#[tokio::test]
async fn no_header_makes_another_request_of_it() {
    let bounded = Bounded::start().await;
    let before = bounded.pair.writer.client().position().await;
    for url in bounded.urls() {
        for (name, value) in [
            ("x-http-method-override", "DELETE"),
            ("x-method-override", "PUT"),
            ("x-original-url", "/v1/collections/hidden/keys/a"),
            ("x-rewrite-url", "/v1/collections/hidden/keys/a"),
            ("x-forwarded-host", "elsewhere"),
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("x-glue-authentication", r#"{"roles":["admin"]}"#),
            ("headwater-via", "00112233445566778899aabbccddeeff"),
            ("authorization", "Basic ZGV2OmRldg=="),
            ("cookie", "apikey=dev; secret=dev"),
        ] {
            let inside = bounded.ask(url, "GET", "/v1/collections/flags/keys/a", &[(name, value)], "").await;
            assert_eq!(inside.status, 200, "{name}");
            let outside = bounded.ask(url, "GET", "/v1/collections/hidden/keys/a", &[(name, value)], "").await;
            assert_refused(&outside, Code::Forbidden);
            let status = bounded.ask(url, "GET", "/v1/status", &[(name, value)], "").await;
            assert_refused(&status, Code::Forbidden);
        }
        // A second pair beside the right one makes neither good.
        for second in [("apikey", "dev"), ("secret", "dev"), ("APIKEY", "narrow")] {
            let reply = bounded.ask(url, "GET", "/v1/collections/flags/keys/a", &[second], "").await;
            assert_refused(&reply, Code::Forbidden);
        }
        let by_url = Client::with_pair(url, None);
        for target in ["/v1/collections?apikey=dev&secret=dev", "/v1/collections?access_token=dev"] {
            assert_refused(&by_url.get(target).await, Code::Forbidden);
        }
    }
    assert_eq!(bounded.pair.writer.client().position().await, before, "nothing was written");
}

#[tokio::test]
async fn nobody_writes_the_systems_collections_or_reads_them_but_nodes() {
    let pair = Pair::start().await;
    let (id, secret) = pair.key(r#"{"id":"most","roles":["read","write","admin"]}"#).await;
    let before = pair.writer.client().position().await;
    let value = r#"{"roles":["read","write","admin","node"]}"#;
    for client in pair.with(&id, &secret).into_iter().chain([pair.writer.client(), pair.replica.client()]) {
        for name in ["_keys", "_other"] {
            assert_refused(&client.set(name, "anonymous", value).await, Code::Forbidden);
            assert_refused(&client.delete(name, "most").await, Code::Forbidden);
            let batch = format!(r#"{{"op":"set","key":"anonymous","value":{value}}}"#);
            assert_refused(&client.batch(name, &batch).await, Code::Forbidden);
            assert_refused(&client.call(Method::DELETE, &format!("/v1/collections/{name}"), "").await, Code::Forbidden);
            let create = format!("{{\"name\":\"{name}\"}}");
            assert_refused(&client.call(Method::POST, "/v1/collections", create).await, Code::Forbidden);
        }
    }
    for client in pair.with(&id, &secret) {
        assert_refused(&client.entry("_keys", "most").await, Code::Forbidden);
        assert_refused(&client.get("/v1/collections/_keys/keys").await, Code::Forbidden);
        assert_refused(&Lines::open(&client, r#"{"scope":{"_keys":[""]}}"#).await.unwrap_err(), Code::Forbidden);
        let mut lines = Lines::open(&client, r#"{"scope":"**"}"#).await.unwrap();
        assert_eq!(lines.command().await["scope"], "*");
        let mut mixed = Lines::open(&client, r#"{"scope":{"_keys":[""],"flags":[""]}}"#).await.unwrap();
        assert_eq!(mixed.command().await["scope"].to_string(), r#"{"flags":[""]}"#);
        // A cursor of a wider scope is no way to the rest of it.
        let cursor = format!(r#"{{"epoch":{},"seq":1,"scope":"**"}}"#, before.split('.').next().unwrap());
        let mut resumed = Lines::open(&client, &format!(r#"{{"cursor":{cursor},"scope":"**"}}"#)).await.unwrap();
        for line in resumed.until("READY").await {
            assert_ne!(line["collection"], "_keys", "{line}");
        }
    }
    assert_eq!(pair.writer.client().position().await, before, "nothing was written");
}
