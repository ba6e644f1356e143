//! What a person sees: signing in, collections and keys, values changing live, position and lag; and nothing when hidden.

use super::signed_in;
use headwater_tests::{Client, Follower as _, NodeBuilder, Page, eventually};
use reqwest::Method;
use serde_json::Value;

async fn children(client: &Client) -> usize {
    client.status().await["children"].as_array().map_or(0, Vec::len)
}

async fn has_children(client: &Client, count: usize) {
    eventually(&format!("the writer has {count} children"), || async {
        let found = children(client).await;
        if found == count { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_what_the_writer_holds_while_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, mut page) = signed_in(directory.path()).await;
    let client = writer.client();
    page.converges(&client).await;
    page.until("both collections are listed", "document.querySelectorAll('#collections li').length === 2").await;
    page.click("#collections li:has-text('flags') :is(a, button)").await;
    page.until("the keys are shown", "document.querySelectorAll('#keys tr').length === 3").await;
    client.set("flags", "key-1", "\"changed while you look\"").await;
    page.until("a value changes live", "document.querySelector('#keys').innerText.includes('changed while you look')")
        .await;
    client.delete("flags", "key-2").await;
    client.set("flags", "new-key", "true").await;
    page.until(
        "keys come and go",
        "(text => text.includes('new-key') && !text.includes('key-2'))(document.querySelector('#keys').innerText)",
    )
    .await;
    let position = client.position().await;
    let seq = headwater_tests::wire::place(&position).1;
    page.until(
        "the position is shown",
        &format!("document.querySelector('#position').innerText.replace(/\\D/g, '').endsWith('{seq}')"),
    )
    .await;
    assert!(page.text("#lag").await.contains(|sign: char| sign.is_ascii_digit()), "{}", page.text("#lag").await);
    page.converges(&client).await;
    assert_eq!(page.complaints().await, [""; 0]);
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_pair_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let mut page = Page::open(&writer.url).await;
    page.fill("#apikey", "dev").await;
    page.fill("#secret", "wrong").await;
    page.click("#sign-in-button:enabled").await;
    page.until("it says so", "!document.querySelector('#sign-in-error').hidden").await;
    let words = page.text("#sign-in-error").await;
    assert!(words.contains("does not accept these credentials") && !words.contains("headers"), "{words}");
    assert_eq!(children(&writer.client()).await, 0);
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_signs_in_until_it_ends_and_nothing_does_where_everybody_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let client = writer.client();
    client.create("flags").await;
    client.set("flags", "a", "1").await;
    let made = client.call(Method::POST, "/v1/keys", r#"{"roles":["read"]}"#).await.json();
    let text = |made: &Value, member: &str| made[member].as_str().expect("a text").to_owned();
    let pair = Client::with_pair(&writer.url, Some((&text(&made, "id"), &text(&made, "secret"))));
    let token = text(&pair.call(Method::POST, "/v1/tokens", "").await.json(), "token");

    let mut page = Page::open(&writer.url).await;
    page.click("#sign-in summary:has-text('Without a pair')").await;
    page.fill("#token", &token).await;
    page.fill("#apikey", "dev").await;
    for (secret, said) in [("", "one of them is missing"), ("dev", "not both")] {
        page.fill("#secret", secret).await;
        page.click("#sign-in-button:enabled").await;
        assert!(page.text("#sign-in-error").await.contains(said), "{}", page.text("#sign-in-error").await);
    }
    page.fill("#apikey", "").await;
    page.fill("#secret", "").await;
    page.click("#sign-in-button:enabled").await;
    page.until("it follows", "window.headwater?.status().ready === true").await;
    page.converges(&client).await;
    let gone = client.call(Method::DELETE, &format!("/v1/keys/{}", text(&made, "id")), "").await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    page.until("the node refuses it", "window.headwater.status().connection === 'refused'").await;

    page.click("#sign-out").await;
    page.click("#sign-in-button:enabled").await;
    page.until("nobody may read yet", "!document.querySelector('#sign-in-error').hidden").await;
    let anonymous = r#"{"id":"anonymous","roles":["read"]}"#;
    let made = client.call(Method::POST, "/v1/keys", anonymous).await;
    assert!(made.status < 300, "{}", made.text());
    page.click("#sign-in-button:enabled").await;
    page.until("it follows", "window.headwater?.status().ready === true").await;
    page.converges(&client).await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closes_its_stream_while_hidden_and_goes_on_from_its_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, mut page) = signed_in(directory.path()).await;
    let client = writer.client();
    has_children(&client, 1).await;
    page.show(false).await;
    has_children(&client, 0).await;
    client.fill("flags", 3..6).await;
    assert_eq!(page.status().await["connection"], "paused");
    page.show(true).await;
    has_children(&client, 1).await;
    page.converges(&client).await;
    let status = page.status().await;
    assert_eq!((&status["baselines"], &status["gaps"]), (&1.into(), &0.into()), "{status}");
    assert_eq!((page.loads().await, page.complaints().await), (1, Vec::new()));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_one_key_names_it_once() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, mut page) = signed_in(directory.path()).await;
    let client = writer.client();
    client.create("many").await;
    for n in 0..101 {
        client.set("many", &format!("k{n:03}"), "0").await;
    }
    page.click("#collections li:has-text('many') :is(a, button)").await;
    let range = |words: &str| format!("document.querySelector('#page-range').innerText === '{words}'");
    page.until("the first page is full", &range("Keys 1 to 100")).await;
    page.click("#page-next:enabled").await;
    page.until("the last key stands alone", &range("Key 101")).await;
    page.close().await;
}
