//! `export` and `import`: what goes out comes back as it was, and nothing else changes.

use super::{Cli, Done};
use headwater_tests::relay::{Fate, Relay};
use headwater_tests::{NodeBuilder, eventually};
use serde_json::{Value, json};

/// The lines of an output, but for those that are too deep for the reader here.
fn lines(text: &str) -> Vec<Value> {
    text.lines().filter(|line| !line.contains("[[[[")).map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The sum at the end of an import's output, which must have gone well.
fn sum(done: &Done) -> Value {
    assert_eq!((done.status, &*done.stderr), (0, ""), "{done:?}");
    lines(&done.stdout).pop().expect("a sum")
}

#[tokio::test]
async fn what_is_exported_is_imported_as_it_was_in_either_form() {
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let source = NodeBuilder::writer("source", directories[0].path()).start().await;
    let client = source.client();
    client.create("empty").await;
    client.create("flags").await;
    let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    let odd = [("a/../b", "{\"b\":1.0E+2,\"a\":\"\\u00e9\"}"), ("é\u{0}☃", "-0.0"), ("deep", &*deep), ("nul", "null")];
    for (key, value) in odd {
        assert_eq!(client.set("flags", key, value).await.status, 200, "{key}");
    }
    let cli = Cli::of(&source);
    let exported = cli.run(&["export"]).await;
    assert_eq!((exported.status, &*exported.stderr), (0, ""), "{exported:?}");
    let head = &lines(&exported.stdout)[0];
    assert_eq!(head["position"], json!(client.position().await));
    let digests: Vec<_> = head["collections"].as_array().unwrap().iter().map(|facts| facts["digest"].clone()).collect();
    let json_file = directories[0].path().join("flags.json");
    let done = cli.run(&["export", "--format", "json", "--out", json_file.to_str().unwrap()]).await;
    assert!(done.status == 0 && done.stderr.contains("4 entries of 2 collections"), "{done:?}");

    for (index, directory) in directories[1..].iter().enumerate() {
        let target = NodeBuilder::writer("target", directory.path()).start().await;
        let cli = Cli::of(&target);
        let done = match index {
            0 => cli.run_with(&["import", "-"], exported.stdout.as_bytes()).await,
            _ => cli.run(&["import", json_file.to_str().unwrap()]).await,
        };
        assert_eq!(sum(&done)["written"], json!(4));
        let again = lines(&cli.run(&["export"]).await.stdout);
        for (before, after) in lines(&exported.stdout)[1..].iter().zip(&again[1..]) {
            assert_eq!((&before["collection"], &before["key"]), (&after["collection"], &after["key"]));
        }
        assert_eq!(again[0]["collections"][0]["keys"], json!(0), "an empty collection is one too");
        for (key, value) in odd {
            let held = target.client().entry("flags", key).await;
            assert!(held.text().contains(&format!("\"value\":{value},")), "{}", held.text());
        }
        let nothing = cli.run(&["import", json_file.to_str().unwrap(), "--prune"]).await;
        assert_eq!(sum(&nothing)["collections"]["flags"]["unchanged"], json!(4));
        assert_eq!(sum(&nothing)["written"], json!(0));
    }
    assert_eq!(digests.len(), 2);
    let missing = cli.run(&["export", "flags", "flag"]).await;
    assert!(missing.status == 1 && missing.stderr.contains("[missing_collection]"), "{missing:?}");
    assert_eq!(missing.stdout, "");
}

#[tokio::test]
async fn an_import_shows_what_it_would_change_and_removes_only_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let writer = NodeBuilder::writer("writer", directory.path()).start().await;
    let (cli, client) = (Cli::of(&writer), writer.client());
    client.create("c").await;
    for (key, value) in [("changed", "1"), ("kept", "1"), ("same", "1")] {
        client.set("c", key, value).await;
    }
    let file = "{\"collection\":\"c\",\"key\":\"added\",\"value\":1}\n{\"collection\":\"c\",\"key\":\"changed\",\"value\":2}\n\
                {\"collection\":\"c\",\"key\":\"same\",\"value\":1}\n{\"collection\":\"new\",\"key\":\"a\",\"value\":1}";
    let before = client.position().await;
    let dry = cli.run_with(&["import", "-", "--dry-run", "--prune"], file.as_bytes()).await;
    let rows = lines(&dry.stdout);
    let changes: Vec<_> = rows.iter().filter_map(|row| Some((row["key"].as_str()?, row["change"].as_str()?))).collect();
    assert_eq!(
        changes,
        [("added", "added"), ("changed", "changed"), ("kept", "removed"), ("same", "unchanged"), ("a", "added")]
    );
    assert_eq!(sum(&dry)["position"], json!(before));
    assert_eq!(client.position().await, before, "a dry run writes nothing");

    let done = sum(&cli.run_with(&["import", "-"], file.as_bytes()).await);
    let counts = json!({"added":1,"changed":1,"removed":0,"kept":1,"unchanged":1});
    assert_eq!((&done["collections"]["c"], &done["written"]), (&counts, &json!(3)));
    assert_eq!(client.entry("c", "kept").await.status, 200);
    let done = sum(&cli.run_with(&["import", "-", "--prune"], file.as_bytes()).await);
    assert_eq!(done["written"], json!(1));
    assert_eq!(client.entry("c", "kept").await.status, 404);

    let before = client.position().await;
    let wrong = format!("{file}\n{{\"collection\":\"c\",\"key\":\"b\",\"value\":tru}}\n");
    let refused = cli.run_with(&["import", "-"], wrong.as_bytes()).await;
    assert!(refused.status == 2 && refused.stderr.contains("line 5: "), "{refused:?}");
    let exported = cli.run(&["export"]).await.stdout;
    let cut: String = exported.lines().take(2).flat_map(|line| [line, "\n"]).collect();
    let refused = cli.run_with(&["import", "-", "--prune"], cut.as_bytes()).await;
    assert!(refused.status == 2 && refused.stderr.contains("cut short"), "{refused:?}");
    assert_eq!(client.position().await, before, "nothing is written of a file that is wrong somewhere");
}

#[tokio::test]
async fn what_changed_behind_the_diff_is_left_alone_unless_forced() {
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let writer = NodeBuilder::writer("writer", directories[0].path()).start().await;
    let client = writer.client();
    client.create("c").await;
    for key in ["changed", "gone", "same"] {
        client.set("c", key, "1").await;
    }
    // A replica that hears of nothing new shows what an import would see just before somebody else writes.
    let relay = Relay::start(&writer.url).await;
    let replica = NodeBuilder::replica("replica", directories[1].path(), &relay.url).start().await;
    replica.ready().await;
    let position = client.position().await;
    eventually("the replica has caught up", async || match replica.client().position().await {
        found if found == position => Ok(()),
        found => Err(found),
    })
    .await;
    relay.rule(|_| Fate::Lost);
    client.set("c", "changed", "\"theirs\"").await;
    client.set("c", "added", "\"theirs\"").await;
    client.delete("c", "gone").await;

    let file = "{\"collections\":{\"c\":{\"changed\":\"ours\",\"added\":\"ours\",\"same\":2}}}";
    let cli = Cli::of(&replica);
    let done = cli.run_with(&["import", "-", "--prune"], file.as_bytes()).await;
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stderr.contains("[precondition_failed]"), "{done:?}");
    let told = lines(&done.stdout).pop().unwrap();
    let conflicts = ["added", "changed", "gone"].map(|key| json!({"collection":"c","key":key}));
    assert_eq!((&told["conflicts"], &told["written"]), (&json!(conflicts), &json!(1)));
    for (key, value) in [("changed", "theirs"), ("added", "theirs")] {
        assert_eq!(client.entry("c", key).await.json()["value"], json!(value), "{key}");
    }
    let done = cli.run_with(&["import", "-", "--force"], file.as_bytes()).await;
    assert_eq!(done.status, 0, "{done:?}");
    for (key, value) in [("changed", json!("ours")), ("added", json!("ours")), ("same", json!(2))] {
        assert_eq!(client.entry("c", key).await.json()["value"], value, "{key}");
    }
}
