//! `headwater export`: collections to a file or stdout, all of them as of one position.

use super::client::Client;
use super::connection::Connection;
use super::failure::{Failure, Kind};
use super::output::{Output, json_string};
use super::progress::Progress;
use super::state;
use crate::clock::wall_ms;
use clap::{Args, ValueEnum};
use headwater_core::api::rfc3339;
use headwater_core::scope::Scope;
use headwater_core::store::memory::MemorySnapshot;
use headwater_core::store::scan::{Scan, Walk};
use headwater_core::store::{Collection, Snapshot};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub(super) const HELP: &str = "\
Examples:
  headwater export > all.ndjson                   every collection
  headwater export flags prices --out some.ndjson
  headwater export flags --format json --out flags.json
  headwater export | zstd > all.ndjson.zst

All collections are exact as of one position, which the first line says. System collections, so the key pairs, are not \
among them: headwater backup takes everything.

NDJSON: {\"headwater\":\"export\",\"format\":1,\"cluster\",\"position\",\"created\",\"collections\":[{\"collection\",\"keys\",\"digest\"}]}
        {\"collection\",\"key\",\"value\",\"version\",\"seq\",\"updatedAt\"}, in order of collections and keys
JSON:   {\"headwater\":\"export\",\"format\":1,\"cluster\",\"position\",\"created\",\"collections\":{\"flags\":{\"KEY\":VALUE}}}";

/// What the first line of an export begins with.
const NAME: &str = "\"headwater\":\"export\",\"format\":1";

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One entry a line, with its version, seq and time
    Ndjson,
    /// One object of collections, keys and values, to be edited by hand
    Json,
}

/// `headwater export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The collections; all of them if none is named
    #[arg(value_parser = super::collection_name, value_name = "COLLECTION")]
    collections: Vec<String>,
    /// How to write them
    #[arg(long, value_enum, default_value = "ndjson", help_heading = "Output")]
    format: Format,
    /// The file to write, which is replaced when everything is in it; stdout otherwise
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Export {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), Failure> {
        let mut names: Vec<&str> = self.collections.iter().map(|name| &**name).collect();
        names.sort_unstable();
        names.dedup();
        let scope = if names.is_empty() { Scope::Public } else { state::scope_of(names.iter().copied()) };
        let mut progress = Progress::new();
        let snapshot = state::take(client, scope, "headwater export", &mut progress).await?;
        progress.clear();
        let found = |name: &str| snapshot.collections().iter().find(|facts| *facts.name == *name).cloned();
        let mut collections = Vec::new();
        for name in &names {
            let facts = found(name).ok_or_else(|| missing(name))?;
            collections.push(facts);
        }
        if names.is_empty() {
            collections = snapshot.collections().to_vec();
        }
        let written = Written { snapshot: &snapshot, collections: &collections, format: self.format };
        let Some(path) = &self.out else {
            return written.write(output.writer());
        };
        replace(path, |file| written.write(file))?;
        let keys: u64 = collections.iter().map(|facts| facts.keys).sum();
        let (count, position) = (collections.len(), snapshot.progress().position);
        eprintln!("{keys} entries of {count} collections as of {position}: {}", path.display());
        Ok(())
    }
}

fn missing(name: &str) -> Failure {
    let failure = Failure::new(Kind::Refused, format!("the collection {name:?} does not exist; nothing was written"));
    Failure { code: Some("missing_collection".into()), ..failure }.next("headwater collections shows which there are")
}

/// Writes `path` through a temporary file beside it, so that there is a whole file or the one before. A link stays, and what
/// it leads to is written so; what is no file, as a pipe or a terminal, is written to as it is.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Failure>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::unable(format!("cannot write {}: {error}", path.display()));
    if path.metadata().is_ok_and(|facts| !facts.is_file()) {
        let mut file = BufWriter::new(OpenOptions::new().write(true).open(path).map_err(failed)?);
        write(&mut file)?;
        return file.flush().map_err(failed);
    }
    let path = &path.canonicalize().unwrap_or_else(|_| path.into());
    let name = path.file_name().ok_or_else(|| Failure::usage(format!("{} names no file", path.display())))?;
    let temporary = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        let mut file = BufWriter::new(File::create(&temporary).map_err(failed)?);
        write(&mut file)?;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(failed)
    })();
    if written.is_err() {
        // It may not even have been made; what failed is what is told.
        drop(std::fs::remove_file(&temporary));
    }
    written
}

/// What to write, and how.
struct Written<'s> {
    snapshot: &'s MemorySnapshot,
    collections: &'s [Collection],
    format: Format,
}

impl Written<'_> {
    fn write(&self, out: &mut impl Write) -> Result<(), Failure> {
        let progress = self.snapshot.progress();
        let cluster = progress.cluster.map_or("null".into(), |cluster| format!("\"{cluster}\""));
        let (position, created) = (progress.position, rfc3339(wall_ms()));
        let head = format!("{{{NAME},\"cluster\":{cluster},\"position\":\"{position}\",\"created\":\"{created}\"");
        match self.format {
            Format::Ndjson => self.lines(&head, out),
            Format::Json => self.object(&head, out),
        }
    }

    fn lines(&self, head: &str, out: &mut impl Write) -> Result<(), Failure> {
        let facts = self.collections.iter().map(|facts| {
            let (name, keys, digest) = (json_string(&facts.name), facts.keys, facts.digest.to_wire());
            format!("{{\"collection\":{name},\"keys\":{keys},\"digest\":\"{digest}\"}}")
        });
        let facts: Vec<_> = facts.collect();
        writeln!(out, "{head},\"collections\":[{}]}}", facts.join(","))?;
        for facts in self.collections {
            let collection = json_string(&facts.name);
            let mut walk: Walk = Scan::under("", None).into();
            while let Some(record) = walk.next_record(self.snapshot, &facts.name)? {
                let (key, value) = (json_string(record.key()), record.value());
                let (version, seq, updated) = (record.version(), record.seq(), rfc3339(record.timestamp()));
                writeln!(
                    out,
                    "{{\"collection\":{collection},\"key\":{key},\"value\":{value},\"version\":{version},\"seq\":{seq},\
                     \"updatedAt\":\"{updated}\"}}"
                )?;
            }
        }
        Ok(())
    }

    fn object(&self, head: &str, out: &mut impl Write) -> Result<(), Failure> {
        write!(out, "{head},\"collections\":{{")?;
        for (index, facts) in self.collections.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}\n{}:{{", json_string(&facts.name))?;
            let mut walk: Walk = Scan::under("", None).into();
            let mut comma = "";
            while let Some(record) = walk.next_record(self.snapshot, &facts.name)? {
                write!(out, "{comma}\n  {}:{}", json_string(record.key()), record.value())?;
                comma = ",";
            }
            write!(out, "{}}}", if comma.is_empty() { "" } else { "\n" })?;
        }
        Ok(writeln!(out, "\n}}}}")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_and_what_is_no_file_stay_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, "before").unwrap();
        symlink(&file, &link).unwrap();
        let write = |out: &mut BufWriter<File>| Ok(out.write_all(b"after")?);
        replace(&link, write).unwrap();
        assert_eq!((std::fs::read_to_string(&file).unwrap(), link.is_symlink()), ("after".into(), true));

        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (came, comes) = std::sync::mpsc::channel();
        std::thread::spawn({
            let pipe = pipe.clone();
            move || came.send(std::fs::read_to_string(pipe).unwrap())
        });
        replace(&pipe, write).unwrap();
        let read = comes.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(read.as_deref(), Ok("after"));
        assert!(!pipe.metadata().unwrap().is_file());
    }
}
