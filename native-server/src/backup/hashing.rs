//! SHA-256 and length of what passes by.

use headwater_core::hex::to_hex;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// A reader or writer that knows what went through it.
pub(super) struct Hashing<F> {
    inner: F,
    sum: Sha256,
    bytes: u64,
}

impl<F> Hashing<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner, sum: Sha256::new(), bytes: 0 }
    }

    /// What it stands around, the bytes that went through, and their SHA-256 in hex digits.
    pub(super) fn finish(self) -> (F, u64, String) {
        (self.inner, self.bytes, to_hex(&self.sum.finalize()))
    }

    fn count(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<F: Read> Read for Hashing<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count(&buffer[..read]);
        Ok(read)
    }
}

impl<F: Write> Write for Hashing<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// SHA-256 of `bytes` in hex digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    to_hex(&Sha256::digest(bytes))
}
