//! What is in `deploy/` against the program: the unit's flags, the example of a config file, and completions.

use super::super::cli::Cli;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join("deploy").join(file)
}

fn cli() -> Cli {
    Cli::at("http://127.0.0.1:1")
}

/// Sections of a unit with their settings; `None` for a line that is neither.
fn unit(text: &str) -> Option<BTreeMap<String, Vec<(String, String)>>> {
    let (mut sections, mut section) = (BTreeMap::new(), String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else {
            let (name, value) = line.split_once('=')?;
            sections.entry(section.clone()).or_insert_with(Vec::new).push((name.to_owned(), value.to_owned()));
        }
    }
    Some(sections)
}

#[tokio::test]
async fn the_unit_starts_the_program_by_flags_that_it_has() {
    let text = fs::read_to_string(deploy("systemd/headwater.service")).unwrap();
    let unit = unit(&text).expect("lines of a unit");
    assert_eq!(unit.keys().map(String::as_str).collect::<Vec<_>>(), ["Install", "Service", "Unit"]);
    let setting = |name: &str| {
        let found: Vec<_> =
            unit["Service"].iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0].to_owned()
    };
    let line = setting("ExecStart");
    let mut words = line.split(' ');
    assert!(words.next().is_some_and(|program| program.starts_with('/') && program.ends_with("/headwater")));
    assert_eq!(words.next(), Some("serve"));
    let help = cli().run(&["serve", "--help"]).await.stdout;
    let flags: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
    assert!(flags.contains(&"--config") && flags.contains(&"--data"), "{flags:?}");
    for flag in flags {
        assert!(help.contains(&format!("{flag} <")), "{flag} is in the help of serve");
    }
    for (name, value) in [("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("StateDirectory", "headwater")] {
        assert_eq!(setting(name), value);
    }
    // It stops in less time than systemd gives it, and what cannot be is not tried again and again.
    let wrong = cli().run(&["serve", "--config", "/nonexistent"]).await;
    assert_eq!(setting("RestartPreventExitStatus"), wrong.status.to_string());
    assert!(setting("TimeoutStopSec").parse::<u64>().unwrap() > 8);
}

/// `UPDATE_DOCS=1` writes it anew.
#[tokio::test]
async fn the_example_of_a_config_file_is_what_init_writes() {
    let (path, now) = (deploy("headwater.toml"), cli().run(&["config", "init"]).await.stdout);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == now,
        "deploy/headwater.toml is old: run with UPDATE_DOCS=1"
    );
}

#[tokio::test]
async fn shells_are_told_every_command_and_the_flags_of_serve() {
    let help = cli().run(&["--help"]).await.stdout;
    let (_, commands) = help.split_once("Commands:\n").expect("a list");
    let (commands, _) = commands.split_once("\n\n").expect("it ends");
    let commands: Vec<_> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 12 && commands.contains(&"doctor"), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let done = cli().run(&["completions", shell]).await;
        assert_eq!((done.status, &*done.stderr), (0, ""), "{shell}");
        for word in commands.iter().chain(&["config", "ping-ms"]) {
            assert!(done.stdout.contains(*word), "{shell} is not told of {word}");
        }
    }
    assert_eq!(cli().run(&["completions", "cmd.exe"]).await.status, 2);
}
