//! Taking locks that a panic may have poisoned.
//!
//! No code under these locks panics between two changes that belong together (running out of memory aborts), so what a
//! panicking thread leaves behind is whole. Refusing every later read because one request failed would be the greater
//! harm, so the poison is ignored, here and nowhere else.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The content of a lock that nobody else can hold.
pub(super) fn into_inner<T>(lock: RwLock<T>) -> T {
    lock.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// As [`into_inner`], in place.
pub(super) fn inner_mut<T>(lock: &mut RwLock<T>) -> &mut T {
    lock.get_mut().unwrap_or_else(PoisonError::into_inner)
}
