//! The seam to the file system: the only module that uses `std::fs`.
//!
//! What the channel, the dead letters and the archive do to files goes through [`Disk`] and
//! [`File`], so that a test can fail the next write, drop un-synced bytes or fill the disk.
//! Errors are `std::io::Error`, unchanged; callers tell "no space" (ENOSPC, EDQUOT, EROFS)
//! from failure with [`is_no_space`]. All calls block: async callers use `tasks::blocking`.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A directory entry: name, and length in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub len: u64,
    pub is_dir: bool,
}

/// Bytes on the file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Available to this process.
    pub free: u64,
    pub total: u64,
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Read only; must exist.
    Read,
    /// Read and write; must exist.
    Write,
    /// Read and write; made new, an existing one is an error.
    CreateNew,
    /// Read and write; made new or cut to nothing.
    Truncate,
}

/// A file system.
pub trait Disk: Send + Sync + 'static {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Makes a directory and those above it; each new entry is synced in its parent.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// The entries of a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Renames, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames; `AlreadyExists` if something is there.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the directory's entries durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// Takes an exclusive lock that ends with the returned guard or the process;
    /// `WouldBlock` if another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file, addressed by offset.
pub trait File: Send + Sync {
    /// Reads at most `buf.len()` bytes; 0 is the end.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of `bufs`, one after the other, at `at`, or fails.
    fn write_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()>;
    /// fdatasync.
    fn sync_data(&self) -> io::Result<()>;
    /// fsync.
    fn sync_all(&self) -> io::Result<()>;
    /// Reserves blocks up to `len` and sets the length; reads there give zeros.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
}

/// The machine's file system.
pub fn real() -> Arc<dyn Disk> {
    todo!("channel helper")
}

/// Whether an error means that there is no room, rather than that the disk failed.
pub fn is_no_space(_error: &io::Error) -> bool {
    todo!("channel helper")
}
