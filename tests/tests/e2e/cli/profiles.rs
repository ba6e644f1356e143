//! Saved profiles: a node and a pair under a name.

use super::{Cli, Done, finish};
use headwater_local::certificates::Authority;
use headwater_tests::NodeBuilder;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::task::JoinSet;

/// A command with a home of its own, and no node or pair from variables.
async fn at_home(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
    let mut command = Cli::at("").command(arguments);
    for name in ["HEADWATER_URL", "HEADWATER_APIKEY", "HEADWATER_SECRET", "XDG_CONFIG_HOME"] {
        command.env_remove(name);
    }
    command.env("HOME", home).envs(variables.iter().copied());
    finish(command, b"").await
}

#[tokio::test]
async fn a_profile_names_a_node_and_a_pair_and_its_pair_goes_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let writer = NodeBuilder::writer("writer", home).start().await;
    let secret = home.join("secret");
    fs::write(&secret, "dev\n").unwrap();
    let save =
        ["profile", "save", "here", "--url", &writer.url, "--apikey", "dev", "--secret-file", secret.to_str().unwrap()];
    let saved = at_home(home, &save, &[]).await;
    assert_eq!(saved.status, 0, "{saved:?}");
    let file = home.join(".config/headwater/profiles.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let named = [("HEADWATER_PROFILE", "here")];
    for (arguments, variables) in [(&["status", "--profile", "here"][..], &[][..]), (&["status"], &named)] {
        let done = at_home(home, arguments, variables).await;
        assert!(done.status == 0 && done.stdout.contains("\"node\":\"writer\""), "{done:?}");
    }
    // Another address, another pair or a token beside it.
    let elsewhere = [("HEADWATER_URL", "http://127.0.0.1:1")];
    for (arguments, variables) in [
        (&["status", "--profile", "here", "--url", "http://127.0.0.1:1"][..], &[][..]),
        (&["status", "--profile", "here"], &elsewhere),
        (&["status", "--profile", "here", "--dev"], &[]),
        (&["status", "--profile", "here", "--apikey", "other"], &[]),
        (&["status", "--profile", "here"], &[("HEADWATER_APIKEY", "dev")]),
        (&["status", "--url", "http://127.0.0.1:1"], &named),
        (&["status", "--apikey", "dev"], &named),
        (&["status"], &[named[0], ("HEADWATER_APIKEY", "dev"), ("HEADWATER_SECRET", "dev")]),
        (&["status"], &[named[0], ("HEADWATER_TOKEN", "t")]),
        (&["status", "--profile", "none"], &[]),
    ] {
        let done = at_home(home, arguments, variables).await;
        assert_eq!((done.status, &*done.stdout), (2, ""), "{arguments:?} {done:?}");
    }
    // An empty variable names none.
    let done = at_home(home, &["status", "--url", &writer.url, "--dev"], &[("HEADWATER_PROFILE", "")]).await;
    assert_eq!(done.status, 0, "{done:?}");

    let list = at_home(home, &["profile", "list"], &[]).await;
    assert_eq!(
        list.stdout,
        format!("{{\"profiles\":[{{\"apikey\":\"dev\",\"name\":\"here\",\"url\":\"{}\"}}]}}\n", writer.url)
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let open = at_home(home, &["status", "--profile", "here"], &[]).await;
    assert!(open.status == 2 && open.stderr.contains("chmod 600"), "{open:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(at_home(home, &["profile", "remove", "here"], &[]).await.status, 0);
    assert_eq!(at_home(home, &["profile", "remove", "here"], &[]).await.status, 2);
    assert!(!fs::read_to_string(&file).unwrap().contains("dev"));
}

#[tokio::test]
async fn a_profile_is_whole_and_two_that_are_saved_at_once_are_both_there() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let authority = Authority::new(home, "authority").unwrap();
    let (ours, other) = (authority.ca(), Authority::new(home, "other").unwrap().ca());
    let (ours, other) = (ours.to_str().unwrap(), other.to_str().unwrap());
    let saved = at_home(home, &["profile", "save", "with", "--url", "https://127.0.0.1:1", "--ca", ours], &[]).await;
    assert_eq!(saved.status, 0, "{saved:?}");
    let saved = at_home(home, &["profile", "save", "without", "--url", "http://127.0.0.1:1"], &[]).await;
    assert_eq!(saved.status, 0, "{saved:?}");
    for (profile, flags, variables, status) in [
        ("with", &[][..], &[][..], 3),
        ("with", &["--ca", ours], &[], 3),
        ("with", &[], &[("HEADWATER_CA", ours)], 3),
        ("with", &["--ca", other], &[], 2),
        ("with", &[], &[("HEADWATER_CA", other)], 2),
        ("without", &[], &[("HEADWATER_CA", ours)], 2),
    ] {
        let arguments = [&["status", "--profile", profile], flags].concat();
        let done = at_home(home, &arguments, variables).await;
        assert_eq!(done.status, status, "{arguments:?} {variables:?}: {done:?}");
        assert!(status == 3 || done.stderr.contains("HEADWATER_CA"), "{done:?}");
    }
    let names: Vec<String> = (0..8).map(|number| format!("n{number}")).collect();
    let mut saving = JoinSet::new();
    for name in names.clone() {
        let home = home.to_owned();
        saving.spawn(
            async move { at_home(&home, &["profile", "save", &name, "--url", "http://127.0.0.1:1"], &[]).await },
        );
    }
    for done in saving.join_all().await {
        assert_eq!(done.status, 0, "{done:?}");
    }
    let list = at_home(home, &["profile", "list"], &[]).await;
    for name in &names {
        assert!(list.stdout.contains(&format!("\"name\":\"{name}\"")), "{name} is lost: {}", list.stdout);
    }
}
