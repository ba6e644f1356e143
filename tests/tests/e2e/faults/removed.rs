//! A log that is removed under the writer that uses it.

use super::{readiness, write, writer};
use headwater_tests::eventually;
use std::fs;

#[tokio::test]
async fn a_writer_whose_log_is_removed_acknowledges_nothing_more_and_makes_no_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(directory.path()).await;
    let client = writer.client();
    write(&client, 0..3).await;
    let state = writer.data().join("state");
    let log = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    fs::remove_dir_all(&log).unwrap();
    let reply = client.set("c", "key-3", "true").await;
    assert_eq!((reply.status, reply.json()["error"].as_str()), (503, Some("outcome_unknown")), "{}", reply.text());
    eventually("it is not ready", || async {
        let status = readiness(&writer).await;
        if status == 503 { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(client.set("c", "key-4", "true").await.status, 503);
    assert_eq!(client.get("/v1/collections/c/keys/key-2").await.status, 200, "reads go on");
    assert!(!log.exists(), "an empty log in its place would be taken for the whole one");
}
