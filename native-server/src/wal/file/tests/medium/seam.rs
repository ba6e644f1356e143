//! The medium as the log sees it.

use super::super::super::super::storage::{Lock, Storage, StoredFile};
use super::{Change, Content, Medium, NameChange};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

struct Locked(Medium);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl Storage for Medium {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/medium").join(name)
    }

    fn create_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _holder: &str) -> io::Result<Result<Lock, String>> {
        let was_locked = std::mem::replace(&mut self.state().locked, true);
        Ok(if was_locked { Err("a test".into()) } else { Ok(Box::new(Locked(self.clone()))) })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        let file = self.state().names.get(name).copied();
        Ok(file.map(|file| Arc::new(Handle(self.clone(), file)) as Arc<dyn StoredFile>))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let mut state = self.state();
        let file = match state.names.get(name).copied() {
            Some(file) => {
                state.change(file, Change::Truncate(0))?;
                file
            }
            None => {
                let file = state.files.len();
                state.files.push(Content::default());
                state.change_name(NameChange::Set(name.into(), file))?;
                file
            }
        };
        Ok(Arc::new(Handle(self.clone(), file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.names[from];
        state.change_name(NameChange::Rename(from.into(), to.into(), file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(name.into()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.state().sync_names()
    }

    fn holder(&self) -> io::Result<Option<String>> {
        Ok(self.state().locked.then(|| "a test".into()))
    }

    fn within(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(Within(self.clone(), format!("{name}/"))))
    }
}

/// A directory within a medium: names that begin with its own.
#[derive(Debug)]
struct Within(Medium, String);

impl Within {
    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.1)
    }
}

impl Storage for Within {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path(&self.name(name))
    }

    fn create_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _holder: &str) -> io::Result<Result<Lock, String>> {
        unreachable!("nobody locks it")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = self.0.names()?.into_iter();
        Ok(names.filter_map(|name| name.strip_prefix(&self.1).map(str::to_owned)).collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        self.0.open(&self.name(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        self.0.create(&self.name(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(&self.name(from), &self.name(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(&self.name(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn holder(&self) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn within(&self, name: &str) -> io::Result<Arc<dyn Storage>> {
        self.0.within(&self.name(name))
    }
}

#[derive(Debug)]
struct Handle(Medium, usize);

impl StoredFile for Handle {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.state().files[self.1].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.0.state();
        let seen = &state.files[self.1].seen;
        let from = (offset as usize).min(seen.len());
        let read = buffer.len().min(seen.len() - from);
        buffer[..read].copy_from_slice(&seen[from..from + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.state().change(self.1, Change::Write(offset as usize, bytes.to_vec()))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if length > self.length()? { self.0.state().change(self.1, Change::Allocate(length as usize)) } else { Ok(()) }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.state().change(self.1, Change::Truncate(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.state().sync(self.1)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.state().sync(self.1)
    }
}
