//! A greedy caller beside a modest one at an edge object: each has its share of what there is for all.

use crate::provider;
use headwater_core::position::Position;
use headwater_tests::{Client, Edge, Lines, Node, NodeBuilder, Reply, eventually};
use reqwest::Method;
use std::future::Future;
use std::path::Path;
use tokio::task::JoinSet;

/// A quarter of the thousand that there may be of streams, and of reads that wait.
const SHARE: usize = 250;

async fn pair(directory: &Path) -> (Node, Edge) {
    let writer = NodeBuilder::writer("writer", directory).start().await;
    let edge = Edge::start(directory, &writer.url).await;
    edge.ready().await;
    writer.client().create("flags").await;
    (writer, edge)
}

/// Makes a key that reads; its secret, empty for a key without.
async fn key(writer: &Node, id: &str) -> String {
    let reply = writer.client().call(Method::POST, "/v1/keys", format!(r#"{{"id":"{id}","roles":["read"]}}"#)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["secret"].as_str().unwrap_or_default().to_owned()
}

async fn token(writer: &Node, pair: (&str, &str)) -> String {
    let reply = Client::with_pair(&writer.url, Some(pair)).call(Method::POST, "/v1/tokens", "").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["token"].as_str().expect("a token").to_owned()
}

/// Waits until `client` reads here as of the writer's position: keys that were made are known then.
async fn hears_all(writer: &Node, client: &Client) {
    let position = writer.client().position().await;
    eventually("the edge knows the keys", || async {
        let reply = client.get("/v1/collections").await;
        if reply.header("headwater-position") == Some(&*position) { Ok(()) } else { Err(reply) }
    })
    .await;
}

/// The position of the write after this.
async fn next(writer: &Node) -> String {
    let position: Position = writer.client().position().await.parse().expect("a position");
    Position { seq: position.seq + 1, ..position }.to_string()
}

/// A read that waits for a position.
async fn read(client: Client, position: String) -> Reply {
    let request = client.request(Method::GET, &Client::entry_path("flags", "a"));
    let request = request.header("headwater-min-position", position).header("headwater-wait-ms", "30000");
    client.send(request).await.expect("the edge answers")
}

/// One read more than may wait at one time; the one that is refused is back, the others wait.
async fn greedy<F>(one: impl Fn() -> F, whose: &str) -> JoinSet<Reply>
where
    F: Future<Output = Reply> + Send + 'static,
{
    let mut waiting: JoinSet<Reply> = (0..=SHARE).map(|_| one()).collect();
    let refused = waiting.join_next().await.expect("there are some").expect("an answer");
    assert_eq!((refused.status, &*refused.code()), (503, "overloaded"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    let words = format!("251 reads that wait for a position {whose}, the limit is 250");
    assert!(refused.text().contains(&words), "{}", refused.text());
    waiting
}

async fn all_are_answered(waiting: JoinSet<Reply>) {
    let replies = waiting.join_all().await;
    assert_eq!(replies.len(), SHARE);
    assert!(replies.iter().all(|reply| reply.status == 200));
}

#[tokio::test]
async fn who_waits_for_positions_leaves_others_room_to_wait() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let (greedy_secret, modest_secret) = (key(&writer, "greedy").await, key(&writer, "modest").await);
    key(&writer, "anonymous").await;
    let token = token(&writer, ("greedy", &greedy_secret)).await;
    assert_eq!(writer.client().set("flags", "a", "1").await.status, 200);
    hears_all(&writer, &edge.client()).await;
    let later = next(&writer).await;
    let from = |client: Client, last: u8| client.coming_from([127, 0, 0, last].into());
    let pair = Client::with_pair(&edge.url, Some(("greedy", &greedy_secret)));
    let waits = |client: &Client| read(client.clone(), later.clone());
    let of_pair = greedy(|| waits(&pair), "with this credential").await;
    assert_eq!(waits(&from(pair, 4)).await.status, 503, "wherever it comes from");
    let stranger = from(Client::with_pair(&edge.url, None), 2);
    let of_stranger = greedy(|| waits(&stranger), "without a pair from this address").await;
    // Others wait: another credential, a token of the same from elsewhere, another stranger, and nodes without a bound.
    let others = [
        Client::with_pair(&edge.url, Some(("modest", &modest_secret))),
        Client::with_token(&edge.url, &token),
        from(Client::with_pair(&edge.url, None), 3),
    ];
    let others = others.into_iter().chain((0..=SHARE).map(|_| edge.client()));
    let others: Vec<_> = others.map(|client| tokio::spawn(waits(&client))).collect();
    assert_eq!(writer.client().set("flags", "a", "2").await.status, 200);
    for other in others {
        let reply = other.await.expect("it is answered");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    all_are_answered(of_pair).await;
    all_are_answered(of_stranger).await;
    // What was waited for is held no longer.
    let again = Client::with_pair(&edge.url, Some(("greedy", &greedy_secret)));
    assert_eq!(read(again, later).await.status, 200);
}

#[tokio::test]
async fn on_the_providers_network_strangers_are_told_apart_by_its_header() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    writer.client().create("flags").await;
    key(&writer, "anonymous").await;
    let (_program, url) = provider::behind_a_provider(directory.path(), &writer.url).await;
    let client = Client::with_pair(&url, None);
    eventually("the edge holds the state", || async {
        let reply = client.get("/v1/collections").await;
        if reply.status == 200 { Ok(()) } else { Err(reply) }
    })
    .await;
    assert_eq!(writer.client().set("flags", "a", "1").await.status, 200);
    let later = next(&writer).await;
    let waits = |address: &'static str| {
        let (client, later) = (client.clone(), later.clone());
        async move {
            let request = client.request(Method::GET, &Client::entry_path("flags", "a"));
            let request = request.header(provider::TOLD, "{}").header("cf-connecting-ip", address);
            let request = request.header("headwater-min-position", later).header("headwater-wait-ms", "30000");
            client.send(request).await.expect("the edge answers")
        }
    };
    let of_one = greedy(|| waits("2001:db8:1:2::7"), "without a pair from this address").await;
    assert_eq!(waits("2001:db8:1:2:9::1").await.status, 503, "it is the same customer's");
    let other = tokio::spawn(waits("2001:db8:1:3::7"));
    assert_eq!(writer.client().set("flags", "a", "2").await.status, 200);
    assert_eq!(other.await.expect("it is answered").status, 200);
    all_are_answered(of_one).await;
}

#[tokio::test]
async fn who_opens_streams_leaves_others_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, edge) = pair(directory.path()).await;
    let (greedy, modest) = (key(&writer, "greedy").await, key(&writer, "modest").await);
    key(&writer, "anonymous").await;
    hears_all(&writer, &edge.client()).await;
    let open = async |client: &Client| {
        let mut stream = Lines::open(client, "").await?;
        stream.until("READY").await;
        Ok::<_, Reply>(stream)
    };
    let greedy = Client::with_pair(&edge.url, Some(("greedy", &greedy)));
    let stranger = Client::with_pair(&edge.url, None).coming_from([127, 0, 0, 2].into());
    let mut all = Vec::new();
    for (client, whose) in [(&greedy, "with this credential"), (&stranger, "without a pair from this address")] {
        for _ in 0..SHARE {
            all.push(open(client).await.expect("a stream"));
        }
        let refused = open(client).await.expect_err("no more than a quarter");
        assert_eq!((refused.status, &*refused.code()), (503, "overloaded"), "{}", refused.text());
        let words = format!("too many streams {whose}: the limit is 250");
        assert!(refused.text().contains(&words), "{}", refused.text());
    }
    open(&Client::with_pair(&edge.url, Some(("modest", &modest)))).await.expect("another credential has its own");
    open(&stranger.coming_from([127, 0, 0, 3].into())).await.expect("another stranger has its own");
    for _ in 0..=SHARE {
        all.push(open(&edge.client()).await.expect("a node is held to no share"));
    }
    drop(all.remove(0));
    eventually("its place is free", || async { open(&greedy).await.map(drop) }).await;
}
