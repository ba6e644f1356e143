//! A medium of one directory in memory, which refuses to be read behind the end it was given.

use super::super::super::storage::{Lock, Storage, StoredFile};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    content: Arc<Mutex<Vec<u8>>>,
    /// Whoever reads behind this has not kept to what it was told.
    pub(super) limit: u64,
}

impl Bytes {
    pub(super) fn new(content: Vec<u8>) -> Self {
        Self { content: Arc::new(Mutex::new(content)), limit: u64::MAX }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoredFile for Bytes {
    fn length(&self) -> io::Result<u64> {
        Ok(self.lock().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let is_within = buffer.is_empty() || offset + buffer.len() as u64 <= self.limit;
        assert!(is_within, "read behind the end it was told");
        let content = self.lock();
        let rest = content.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.lock();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn allocate(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.lock().resize(length as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The directory.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<BTreeMap<String, Bytes>>);

impl Files {
    /// One that holds this file.
    pub(super) fn with(name: &str, file: Bytes) -> Self {
        Self(Mutex::new(BTreeMap::from([(name.to_owned(), file)])))
    }

    fn lock_files(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Files {
    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }

    fn create_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _holder: &str) -> io::Result<Result<Lock, String>> {
        Ok(Ok(Box::new(())))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock_files().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StoredFile>>> {
        Ok(self.lock_files().get(name).map(|file| Arc::new(file.clone()) as Arc<dyn StoredFile>))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let file = Bytes::new(Vec::new());
        self.lock_files().insert(name.to_owned(), file.clone());
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.lock_files();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock_files().remove(name);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn holder(&self) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn within(&self, _name: &str) -> io::Result<Arc<dyn Storage>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
