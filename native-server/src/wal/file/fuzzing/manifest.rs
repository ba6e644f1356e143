//! The manifest.

use super::super::super::manifest::{Backend, Manifest};
use super::bytes::{Bytes, Files};
use super::{MANIFEST_FILE, split};
use twox_hash::XxHash3_64;

/// Reads `data` as a manifest, of each kind. One that is accepted is the same after it was written and read again, and is of
/// one kind only.
/// Returns whether it was accepted.
///
/// # Panics
/// When any of this does not hold.
pub fn manifest(data: &[u8]) -> bool {
    let Some((control, bytes)) = split(data) else { return false };
    let mut bytes = bytes.to_vec();
    if control & 1 == 1 {
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
        bytes.truncate(end);
        bytes.push(b'\n');
        let sum = format!("xxh3:{:016x}\n", XxHash3_64::oneshot(&bytes));
        bytes.extend_from_slice(sum.as_bytes());
    }
    let mut accepted = 0;
    for backend in [Backend::File, Backend::Memory, Backend::Replica] {
        let storage = Files::with(MANIFEST_FILE, Bytes::new(bytes.clone()));
        let Ok(found) = Manifest::read(&storage, backend) else { continue };
        let found = found.expect("there is one");
        accepted += 1;
        found.write(&storage).expect("memory takes everything");
        let again = Manifest::read(&storage, backend).expect("what is written is read").expect("it was written");
        assert_eq!(again, found, "it is the same after it was written and read again");
    }
    assert!(accepted <= 1, "it is of one kind");
    accepted == 1
}
