//! What `./dev run` shows: sample flags written, and the same key read from every node.

use reqwest::{Client, RequestBuilder, Response, header::CONTENT_TYPE};

use crate::{
    Failure,
    cluster::{APIKEY, Cluster, SECRET},
};

const COLLECTION: &str = "flags";
/// The key that is compared; written last, so a node that has it has them all.
const KEY: &str = "checkout:new";
const SAMPLES: [(&str, &str); 4] = [
    ("banner", r#"{"on":true,"text":"Summer sale"}"#),
    ("search:ranking", r#"{"model":"b","share":0.25}"#),
    ("limits", r#"{"upload_mb":50,"seats":[5,20,100]}"#),
    (KEY, r#"{"on":true,"countries":["DE","FR"]}"#),
];
/// Long enough for a cold start of the edge's object and its first baseline.
const WAIT_MS: &str = "15000";

/// Writes the sample flags at the writer and returns the last write's position.
pub(crate) async fn write_samples(cluster: &Cluster) -> Result<String, Failure> {
    let client = Client::new();
    let base = format!("{}/v1/collections", cluster.writer.url);
    send(client.post(&base).body(format!(r#"{{"name":"{COLLECTION}"}}"#))).await?;
    let mut position = None;
    for (key, value) in SAMPLES {
        let write = client.post(format!("{base}/{COLLECTION}/entry?key={key}"));
        position = header(&send(write.body(format!(r#"{{"value":{value}}}"#))).await?, "headwater-position");
    }
    position.ok_or_else(|| "the writer's answer has no Headwater-Position".into())
}

/// Reads one key from every node, each once it has reached `position`, and prints the answers.
///
/// # Errors
/// A node does not answer, or its answer is not byte for byte the writer's.
pub(crate) async fn compare_reads(cluster: &Cluster, position: &str) -> Result<(), Failure> {
    println!("\n{COLLECTION}/{KEY}, as each node answers it:\n");
    println!("{:<8}  {:<22}  {:<22}  {:>9}  answer", "node", "address", "position", "lag");
    let client = Client::new();
    let mut answers = Vec::new();
    for node in cluster.nodes() {
        let url = format!("{}/v1/collections/{COLLECTION}/entry?key={KEY}", node.url);
        let read = client.get(url).header("headwater-min-position", position).header("headwater-wait-ms", WAIT_MS);
        let response = send(read).await.map_err(|error| format!("the {}: {error}", node.role))?;
        let at = header(&response, "headwater-position").unwrap_or_else(|| "-".to_owned());
        let lag = header(&response, "headwater-lag-ms").map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        let answer = response.text().await?;
        println!("{:<8}  {:<22}  {at:<22}  {lag:>9}  {answer}", node.role, node.url);
        answers.push(answer);
    }
    if answers.iter().any(|answer| *answer != answers[0]) {
        return Err("the answers differ".into());
    }
    Ok(())
}

/// Prints how to go on from here.
pub(crate) fn addresses(cluster: &Cluster, run_file: &std::path::Path) {
    let writer = &cluster.writer.url;
    println!("\nThe page: {writer}/  (apikey {APIKEY}, secret {SECRET})");
    println!("A write:  curl -H 'apikey: {APIKEY}' -H 'secret: {SECRET}' \\");
    println!("            -d '{{\"value\":{{\"on\":false}}}}' '{writer}/v1/collections/{COLLECTION}/entry?key={KEY}'");
    let ids = cluster.nodes().map(|node| node.id().map_or_else(String::new, |id| format!("{} {id}", node.role)));
    println!("Stop one with kill and the others read on: {}. Ctrl-C stops all three.", ids.join(", "));
    println!("Addresses are in {}.", run_file.display());
}

/// Sends with the credentials and turns any refusal into an error that quotes it.
async fn send(request: RequestBuilder) -> Result<Response, Failure> {
    let request = request.header("apikey", APIKEY).header("secret", SECRET).header(CONTENT_TYPE, "application/json");
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    Err(format!("{} answers {status}: {}", response.url().clone(), response.text().await?).into())
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}
