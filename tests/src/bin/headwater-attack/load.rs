//! `h2load`: as many well-formed requests as the machine can make, by each version of HTTP.

use crate::node::Target;
use crate::probe::Probe;
use crate::table::{Done, Table};
use crate::tool;
use headwater_local::certificates::Authority;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(120);
const ENTRIES: u64 = 20_000;
const LISTS: u64 = 60;
const HELD: &str = "every request answered 2xx, no error, no memory kept";

pub(crate) async fn attack(table: &mut Table) {
    let target = Target::start(&[]).await.filled().await;
    // The first requests touch what every node holds from then on.
    h2load(&target, &["-c", "20"], "/v1/collections/c/keys/k", 2_000).await;
    for (attack, options) in [
        ("h2load, HTTP/2", &["-c", "20", "-m", "50"][..]),
        ("h2load, HTTP/1.1", &["--h1", "-c", "20"]),
        ("h2load, HTTP/1.1, pipelined", &["--h1", "-c", "20", "-m", "8"]),
    ] {
        one(table, attack, &target, options, "/v1/collections/c/keys/k", ENTRIES).await;
    }
    one(table, "h2load, lists of 24 MB, HTTP/2", &target, &["-c", "4", "-m", "2"], "/v1/collections/c/keys", LISTS)
        .await;
    one(table, "h2load, lists of 24 MB, HTTP/1.1", &target, &["--h1", "-c", "8"], "/v1/collections/c/keys", LISTS)
        .await;
    drop(target);

    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let authority = Authority::new(directory.path(), "authority").expect("certificates can be made");
    let (certificate, key) = authority.issue("node").expect("certificates can be made");
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().expect("it has a plain name"));
    // Its clients trust no such certificate, so it has no collection. Health is answered all the same.
    let target = Target::start(&[("--tls-cert", certificate), ("--tls-key", key)]).await;
    h2load(&target, &["-c", "20"], "/livez", 2_000).await;
    one(table, "h2load, TLS, HTTP/2 by ALPN", &target, &["-c", "20", "-m", "50"], "/livez", ENTRIES).await;
    one(table, "h2load, TLS, HTTP/1.1", &target, &["--h1", "-c", "20"], "/livez", ENTRIES).await;
}

async fn one(table: &mut Table, attack: &'static str, target: &Target, options: &[&str], path: &str, requests: u64) {
    let beside = if target.node.url.starts_with("https:") { None } else { Some(Probe::begin(target, false).await) };
    table
        .add(attack, HELD, target, async {
            let load = h2load(target, options, path, requests);
            let (rate, seen) = match beside {
                Some(probe) => {
                    let (rate, seen) = probe.beside(load).await;
                    (rate, Some(seen.words()))
                }
                None => (load.await, None),
            };
            Done { requests, notes: [Some(rate), seen].into_iter().flatten().collect() }
        })
        .await;
}

/// Sends so many requests, of which every one must succeed. Returns what the tool says of their rate.
async fn h2load(target: &Target, options: &[&str], path: &str, requests: u64) -> String {
    let (count, url) = (requests.to_string(), format!("{}{path}", target.node.url));
    let pair = ["-H", "apikey: dev", "-H", "secret: dev"];
    let arguments = [options, &pair, &["-n", &count, &url]].concat();
    let (is_done, said) = tool::run(target, "h2load", &arguments, WITHIN).await;
    let all = format!(
        "{requests} total, {requests} started, {requests} done, {requests} succeeded, 0 failed, 0 errored, 0 timeout"
    );
    let codes = format!("status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx");
    assert!(is_done && said.contains(&all) && said.contains(&codes), "{options:?} {path}: {said}");
    let protocol =
        said.lines().find(|line| line.starts_with("Application protocol:")).unwrap_or("Application protocol: none");
    let wants = if options.contains(&"--h1") { "http/1.1" } else { "h2" };
    assert!(protocol.contains(wants), "{wants}, and not {protocol}");
    said.lines().find(|line| line.starts_with("finished in")).unwrap_or_default().to_owned()
}
