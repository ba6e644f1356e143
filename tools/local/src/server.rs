//! The native server: a writer, or a replica of one.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    time::Duration,
};

use tokio::process::Command;

use crate::{
    program::{Program, StartError},
    tools::Tools,
};

/// How long a server gets to say END to its children, flush its log and end.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// Starts `headwater serve --listen 127.0.0.1:0` with the further `options`; returns it and its base address.
///
/// `data` is made if missing and holds the server's state (`--data`) and its output (`server.log` beside it).
///
/// # Errors
/// [`StartError`], or the data directory cannot be made.
pub async fn start(tools: &Tools, node: &str, data: &Path, options: &[&str]) -> Result<(Program, String), StartError> {
    start_at(tools, node, data, "127.0.0.1:0", options).await
}

/// As [`start`], listening at an address of the caller's choice: where an earlier one listened.
///
/// # Errors
/// As [`start`].
pub async fn start_at(
    tools: &Tools,
    node: &str,
    data: &Path,
    listen: &str,
    options: &[&str],
) -> Result<(Program, String), StartError> {
    fs::create_dir_all(data).map_err(StartError::Spawn)?;
    let mut command = Command::new(&tools.server);
    command.args(arguments(node, data, listen, options));
    Program::start(node, command, &data.join("server.log"), address_in).await
}

/// Returns what a person types to start it as [`start_at`] does, its output on the terminal.
pub fn command_line(tools: &Tools, node: &str, data: &Path, listen: &str, options: &[&str]) -> String {
    let mut words = vec![quoted(tools.server.as_os_str())];
    words.extend(arguments(node, data, listen, options).iter().map(|word| quoted(word)));
    words.join(" ")
}

fn arguments(node: &str, data: &Path, listen: &str, options: &[&str]) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        ["serve", "--listen", listen, "--node", node, "--data"].into_iter().map(OsString::from).collect();
    words.push(data.join("state").into_os_string());
    words.extend(options.iter().map(OsString::from));
    words
}

/// As a shell reads it: quoted where it holds more than letters, digits and what paths and addresses are made of.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "/._-:+,=@%".contains(c)) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Reads the server's word that it listens, in its log's form for people or as JSON, for [`Program::start`].
pub fn address_in(line: &str) -> Option<String> {
    if !line.contains("listening") {
        return None;
    }
    let start = ["http://", "https://"].into_iter().find_map(|scheme| line.find(scheme))?;
    let address = &line[start..];
    let end = address.find(|c: char| !(c.is_ascii_alphanumeric() || ":/.[]-".contains(c))).unwrap_or(address.len());
    Some(address[..end].trim_end_matches(['/', '.']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::{address_in, quoted};

    #[test]
    fn quotes_what_a_shell_would_take_apart() {
        assert_eq!(quoted(OsStr::new("/tmp/a-b.c/state")), "/tmp/a-b.c/state");
        assert_eq!(quoted(OsStr::new("/home/my disk")), "'/home/my disk'");
        assert_eq!(quoted(OsStr::new("it's")), r"'it'\''s'");
    }

    #[test]
    fn finds_the_address_in_both_forms_of_the_log() {
        let json = r#"{"level":"INFO","message":"listening","address":"http://127.0.0.1:4711","node":"a"}"#;
        assert_eq!(address_in(json).as_deref(), Some("http://127.0.0.1:4711"));
        assert_eq!(address_in("INFO listening on http://[::1]:80/").as_deref(), Some("http://[::1]:80"));
        assert_eq!(address_in("INFO listening address=https://[::1]:443 node=a").as_deref(), Some("https://[::1]:443"));
    }

    #[test]
    fn takes_no_other_address_for_its_own() {
        assert_eq!(address_in("following http://127.0.0.1:4711"), None);
    }
}
