//! Who has a directory in use, for people: what is told to those who are kept out, and to those who only look.

use super::{Directory, LOCK_FILE};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

impl Directory {
    /// What the one who last took the directory for writing left there; empty where nobody did.
    pub(super) fn label(&self) -> io::Result<String> {
        let mut label = Vec::new();
        match File::open(self.path.join(LOCK_FILE)) {
            Ok(file) => drop(file.take(256).read_to_end(&mut label)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(String::from_utf8_lossy(&label).trim().into())
    }

    /// Who keeps us out. Those that read leave no label: what is found there then is of somebody who is gone.
    pub(super) fn label_of_holder(&self, facts: &fs::Metadata) -> io::Result<String> {
        let label = self.label()?;
        // A system without it knows no more than the label.
        let Ok(locks) = fs::read_to_string("/proc/locks") else { return Ok(label) };
        let holder = locks.lines().find_map(|line| lock_of(line, facts.dev(), facts.ino(), &label));
        let reader = holder.filter(|(kind, _)| *kind == "READ");
        Ok(reader.map_or(label, |(_, process)| format!("process {process}, which reads it")))
    }
}

/// Kind (`READ` or `WRITE`) and process of a lock that a line of `/proc/locks` tells of, if it is one of the directory with
/// this device and inode. Some file systems tell programs another device than the kernel tells there: then the process that
/// the label names has to agree.
pub(super) fn lock_of<'l>(line: &'l str, device: u64, inode: u64, label: &str) -> Option<(&'l str, &'l str)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [_, "FLOCK", _, kind, process, place, ..] = fields[..] else { return None };
    let parts: Vec<_> = place.split(':').collect();
    let [major, minor, found] = parts[..] else { return None };
    let (major, minor) = (u32::from_str_radix(major, 16), u32::from_str_radix(minor, 16));
    let is_device = major == Ok(rustix::fs::major(device)) && minor == Ok(rustix::fs::minor(device));
    let is_it = found.parse() == Ok(inode) && (is_device || label.starts_with(&format!("process {process} ")));
    is_it.then_some((kind, process))
}

#[cfg(test)]
mod tests {
    use super::super::Storage;
    use super::*;

    #[test]
    fn the_lock_holds_though_its_file_was_removed() {
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (Directory::new(place.path()), Directory::new(place.path()));
        assert_eq!(second.holder().unwrap(), None);
        let lock = first.lock("first").unwrap().unwrap();
        assert_eq!(second.holder().unwrap(), Some("first".into()));
        assert_eq!(second.lock("second").unwrap().err(), Some("first".into()));
        fs::remove_file(place.path().join(LOCK_FILE)).unwrap();
        assert_eq!(second.lock("second").unwrap().err(), Some(String::new()));
        drop(lock);
        assert_eq!(second.holder().unwrap(), None);
        assert!(second.lock("second").unwrap().is_ok());
    }

    #[test]
    fn who_has_it_in_use_need_not_be_written_down() {
        let place = tempfile::tempdir().unwrap();
        // What cannot be written, as on a full disk.
        fs::create_dir(place.path().join(LOCK_FILE)).unwrap();
        assert!(Directory::new(place.path()).lock("writer").unwrap().is_ok());
    }

    #[test]
    fn those_who_read_share_the_directory_and_leave_nothing_in_it() {
        let place = tempfile::tempdir().unwrap();
        let (reader, writer) = (Directory::read_only(place.path()), Directory::new(place.path()));
        drop(writer.lock("process 1 (node gone)").unwrap().unwrap());
        fs::remove_file(place.path().join(LOCK_FILE)).unwrap();
        let locks = [reader.lock("first").unwrap().unwrap(), reader.lock("second").unwrap().unwrap()];
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        // Nor are they taken for the one that was there before them.
        let us = format!("process {}, which reads it", std::process::id());
        assert_eq!(writer.lock("writer").unwrap().err().as_ref(), Some(&us));
        fs::write(place.path().join(LOCK_FILE), "process 1 (node gone)").unwrap();
        assert_eq!((writer.lock("writer").unwrap().err().as_ref(), writer.holder().unwrap()), (Some(&us), None));
        drop(locks);
        let _lock = writer.lock("writer").unwrap().unwrap();
        assert_eq!(reader.lock("third").unwrap().err(), Some("writer".into()));
        assert!(
            matches!(Directory::read_only(place.path().join("missing")).lock("x"), Err(error) if error.kind() == io::ErrorKind::NotFound)
        );
        assert!(!place.path().join("missing").exists());
    }
}
