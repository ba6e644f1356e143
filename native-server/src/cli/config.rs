//! `headwater config`: a file that explains every setting, and what a node would make of one.

use super::failure::{Failure, Kind as FailureKind};
use super::output::Output;
use super::paint::visible;
use super::table::Table;
use crate::serve::exposure;
use crate::settings::{Layered, Place, ServeArgs, places, serve_command, template, write_new};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

pub(super) const HELP: &str = "\
Examples:
  headwater config init headwater.toml
  headwater config check headwater.toml && headwater serve --config headwater.toml

A flag beats its variable, a variable beats the file. `check` counts the variables of the shell it is run in: those of a \
service may be others.

Exit status: 0 the node would start with it, 2 it would refuse it, or wrong usage; init: 1 there is such a file already, \
3 it cannot be written

JSON of check: {\"ok\":true,\"file\":\"...\",\"settings\":{\"listen\":{\"value\":\"...\",\"from\":\"file\",\"line\":3},...},\
\"warnings\":[]}, where `from` is \"file\", \"variable\" or \"default\", \
and the value null where there is none";

/// `headwater config`.
#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a file that explains every setting with its default and sets none
    Init(Init),
    /// Say what a node would use with this file, and refuse what it would refuse
    Check(Check),
}

#[derive(Debug, Args)]
struct Init {
    /// The file to make [default: to stdout]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Check {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// JSON on a terminal too
    #[arg(long)]
    json: bool,
}

/// Where a setting comes from.
enum From {
    File(usize),
    Variable(String),
    Default,
}

impl Config {
    pub(super) fn json(&self) -> bool {
        matches!(&self.what, What::Check(check) if check.json)
    }

    pub(super) fn run(&self, output: &mut Output) -> Result<(), Failure> {
        match &self.what {
            What::Init(init) => init.run(output),
            What::Check(check) => check.run(output),
        }
    }
}

impl Init {
    fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let Some(file) = &self.file else { return output.line(template().trim_end()) };
        let path = file.display();
        write_new(file, &template()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(FailureKind::Refused, format!("{path} is there already"))
                .next("Compare with what this release knows: headwater config init | diff - FILE"),
            _ => Failure::unable(format!("cannot write {path}: {error}")),
        })?;
        if output.human {
            return output.line(format!("{path} has every setting now, none of them set: edit it, then check it"));
        }
        output.line(json!({"ok": true, "file": path.to_string()}).to_string())
    }
}

impl Check {
    fn run(&self, output: &mut Output) -> Result<(), Failure> {
        let words = [OsString::from("headwater"), "serve".into(), "--config".into(), self.file.clone().into()];
        let layered = Layered::of(words.into()).map_err(|invalid| Failure::usage(invalid.to_string()))?;
        let matches = serve_command().try_get_matches_from(&layered.words[2..]);
        let matches = matches.map_err(|error| refused(&self.file, &error))?;
        let args = ServeArgs::from_arg_matches(&matches).map_err(|error| refused(&self.file, &error))?;
        let settings = layered.check(args).map_err(Failure::usage)?;
        layered.look_at_files(&settings).map_err(Failure::usage)?;
        let mut warnings = layered.warnings(&settings);
        warnings.extend(exposure(settings.listen, settings.tls.is_some()).map(str::to_owned));
        let found = places().into_iter().map(|place| found(place, &layered, &matches));
        if output.human { self.show(found, &warnings, output) } else { self.tell(found, &warnings, output) }
    }

    fn show(
        &self,
        found: impl Iterator<Item = (Place, From, Option<String>)>,
        warnings: &[String],
        output: &mut Output,
    ) -> Result<(), Failure> {
        let mut table = Table::new(&["SETTING", "FROM", "VALUE"], &[], output.paint, Output::width());
        for (place, from, value) in found {
            let from = match from {
                From::File(line) => format!("line {line}"),
                From::Variable(name) => name,
                From::Default => String::new(),
            };
            table.row([place.key(), &from, value.as_deref().unwrap_or_default()], output.writer())?;
        }
        table.finish(output.writer())?;
        for warning in warnings {
            output.line(format!("{} {}", output.paint.yellow("warning:"), visible(warning)))?;
        }
        let done = format!("{} is right: a node would start with it", self.file.display());
        output.line(output.paint.good(&visible(&done)).to_string())
    }

    fn tell(
        &self,
        found: impl Iterator<Item = (Place, From, Option<String>)>,
        warnings: &[String],
        output: &mut Output,
    ) -> Result<(), Failure> {
        let mut settings = Map::new();
        for (place, from, value) in found {
            let told = match from {
                From::File(line) => json!({"value": value, "from": "file", "line": line}),
                From::Variable(name) => json!({"value": value, "from": "variable", "variable": name}),
                From::Default => json!({"value": value, "from": "default"}),
            };
            settings.insert(place.key().into(), told);
        }
        let file = self.file.display().to_string();
        let told = json!({"ok": true, "file": file, "settings": Value::Object(settings), "warnings": warnings});
        output.line(told.to_string())
    }
}

/// What the settings would be together that each may be by itself.
fn refused(file: &Path, error: &clap::Error) -> Failure {
    let words = error.to_string();
    let words = words.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim);
    let words: Vec<_> = words.filter(|line| !line.is_empty()).collect();
    let words = words.join(" ");
    Failure::usage(format!("{}: {}", file.display(), words.trim_start_matches("error: ")))
}

fn found(place: Place, layered: &Layered, matches: &ArgMatches) -> (Place, From, Option<String>) {
    let in_file = layered.file.as_ref().and_then(|file| file.used(place.key()));
    let id = place.arg.get_id().as_str();
    let variable = || place.variable().unwrap_or_default().to_owned();
    if !place.has_flag {
        let is_set = std::env::var_os(variable()).is_some_and(|value| !value.is_empty());
        let from = match in_file {
            Some(entry) => From::File(entry.line),
            None if is_set => From::Variable(variable()),
            None => From::Default,
        };
        let value = (!matches!(from, From::Default)).then(|| String::from("(not shown)"));
        return (place, from, value);
    }
    let from = match (in_file, matches.value_source(id)) {
        (Some(entry), _) => From::File(entry.line),
        (None, Some(ValueSource::EnvVariable)) => From::Variable(variable()),
        (None, _) => From::Default,
    };
    let raw = matches.get_raw(id).map(|raw| raw.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>());
    (place, from, raw.map(|raw| raw.join(",")))
}
