//! The seam to the file system: the only module that uses `std::fs`.
//!
//! What the channel, the dead letters and the archive do to files goes through [`Disk`] and
//! [`File`], so that a test can fail the next write, drop un-synced bytes or fill the disk.
//! Errors are `std::io::Error`, unchanged; callers tell "no space" (ENOSPC, EDQUOT, EROFS)
//! from failure with [`is_no_space`]. All calls block: async callers use `tasks::blocking`.
//! [`MemoryDisk`] is a file system of the process's own, for the memory channel.

mod memory;

use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, RenameFlags};
use rustix::io::Errno;

pub use memory::MemoryDisk;

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
    /// When a file was last written, microseconds since the epoch; `None` where nobody keeps that.
    fn written_us(&self, path: &Path) -> io::Result<Option<u64>> {
        let _ = path;
        Ok(None)
    }
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
#[expect(clippy::len_without_is_empty, reason = "a length in bytes, not a collection")]
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
    Arc::new(RealDisk)
}

/// Whether an error means that there is no room, rather than that the disk failed.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS))
}

/// Fills `buf` from `at`; how many bytes there were before the file's end.
pub fn read_full(file: &dyn File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buf.len() {
        match file.read_at(&mut buf[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Makes the name of a directory durable: a process that was killed may have made it and not synced it.
pub fn sync_name(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied};
    match disk.sync_dir(&parent(dir)) {
        // What holds it cannot be opened, or knows no sync: we made nothing in there. (One on a read-only file system
        // can be synced.)
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied) => Ok(()),
        other => other,
    }
}

struct RealDisk;

struct RealFile(fs::File);

/// Held by nobody else; the lock ends when the descriptor closes.
struct Lock(#[expect(dead_code, reason = "kept open for its lock")] fs::File);

impl Disk for RealDisk {
    #[expect(clippy::disallowed_methods, reason = "the disk seam")]
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(how != Open::Read);
        match how {
            Open::Read | Open::Write => {}
            Open::CreateNew => _ = options.create_new(true),
            Open::Truncate => _ = options.create(true).truncate(true),
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let parent = parent(dir);
        self.create_dir_all(&parent)?;
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            other => other?,
        }
        self.sync_dir(&parent)
    }

    #[expect(clippy::disallowed_methods, reason = "the disk seam")]
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let meta = match entry.metadata() {
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(Entry { name, len: meta.len(), is_dir: meta.is_dir() });
        }
        Ok(entries)
    }

    fn written_us(&self, path: &Path) -> io::Result<Option<u64>> {
        let meta = fs::metadata(path)?;
        let seconds = u64::try_from(meta.mtime()).ok();
        Ok(seconds.map(|seconds| seconds * 1_000_000 + meta.mtime_nsec().unsigned_abs() / 1_000))
    }

    #[expect(clippy::disallowed_methods, reason = "the disk seam")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::CWD;
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // File systems without RENAME_NOREPLACE (NFS, some FUSE): a hard link fails if the name is taken.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::hard_link(from, to)?;
                self.remove(from)
            }
            other => Ok(other?),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the disk seam")]
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[expect(clippy::disallowed_methods, reason = "the disk seam")]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }

    #[expect(clippy::disallowed_methods, reason = "the disk seam")]
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(Lock(file)))
    }
}

/// The directory that holds `path`; the current one for a bare name.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Zeros written at a time where fallocate is not supported.
const ZEROS: &[u8] = &[0; 256 * 1024];

/// The most buffers of one pwritev: IOV_MAX of Linux (`man 2 writev`).
const IOV_MAX: usize = 1024;

/// Writes all of `bufs` from `at` on, by calls that may write less than they were given, or be interrupted.
fn write_all(
    bufs: &[IoSlice<'_>],
    mut at: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let (mut next, mut skip) = (0, 0);
    while next < bufs.len() {
        if skip >= bufs[next].len() {
            (next, skip) = (next + 1, 0);
            continue;
        }
        // A short write leaves a buffer half written: its rest goes alone, then whole ones again.
        let written = if skip > 0 {
            write(&[IoSlice::new(&bufs[next][skip..])], at)
        } else {
            write(&bufs[next..bufs.len().min(next + IOV_MAX)], at)
        };
        let mut written = match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => n,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        at += written as u64;
        while next < bufs.len() && written >= bufs[next].len() - skip {
            written -= bufs[next].len() - skip;
            (next, skip) = (next + 1, 0);
        }
        skip += written;
    }
    Ok(())
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        write_all(bufs, at, |bufs, at| rustix::io::pwritev(&self.0, bufs, at))
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? >= len {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeros(len),
            other => Ok(other?),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl RealFile {
    fn write_zeros(&self, len: u64) -> io::Result<()> {
        let mut at = self.len()?;
        while at < len {
            let n = usize::try_from(len - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.0.write_all_at(&ZEROS[..n], at)?;
            at += n as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in a file after writes that take `most(call)` bytes at most, 0 for one that is interrupted.
    fn written(bufs: &[Vec<u8>], at: u64, mut most: impl FnMut(usize) -> usize) -> io::Result<Vec<u8>> {
        let slices: Vec<_> = bufs.iter().map(|buf| IoSlice::new(buf)).collect();
        let (mut file, mut call) = (vec![b'.'; at as usize], 0);
        write_all(&slices, at, |bufs, at| {
            assert!(bufs.len() <= IOV_MAX && bufs.iter().any(|buf| !buf.is_empty()));
            assert_eq!(at, file.len() as u64);
            call += 1;
            let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            match most(call) {
                0 => Err(Errno::INTR),
                most => {
                    let taken = &bytes[..most.min(bytes.len())];
                    file.extend_from_slice(taken);
                    Ok(taken.len())
                }
            }
        })?;
        Ok(file)
    }

    #[test]
    fn short_and_interrupted_writes_go_on_where_they_stopped() {
        let lengths = [0, 1, 5, 0, 0, 3, 512, 1, 0];
        let bufs: Vec<Vec<u8>> = lengths.iter().zip(b'a'..).map(|(len, byte)| vec![byte; *len]).collect();
        let whole = [&b"......."[..], &bufs.concat()].concat();
        for most in 1..=530 {
            assert_eq!(written(&bufs, 7, |_| most).unwrap(), whole, "{most} bytes a call");
        }
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            assert_eq!(written(&bufs, 7, |_| random.usize(0..9)).unwrap(), whole);
        }
    }

    #[test]
    fn more_buffers_than_one_call_takes_are_written_by_several() {
        let bufs: Vec<Vec<u8>> = (0..IOV_MAX * 2 + 3).map(|n| n.to_le_bytes().to_vec()).collect();
        for most in [usize::MAX, 8 * IOV_MAX, 8 * IOV_MAX - 3, 5000] {
            assert_eq!(written(&bufs, 0, |_| most).unwrap(), bufs.concat(), "{most} bytes a call");
        }
    }

    #[test]
    fn a_write_that_fails_or_takes_nothing_ends_it() {
        let bufs = [IoSlice::new(b"some"), IoSlice::new(b"more")];
        let mut answers = [Ok(3), Err(Errno::NOSPC)].into_iter();
        let error = write_all(&bufs, 0, |_, _| answers.next().expect("no call after a failure")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        assert_eq!(write_all(&bufs, 0, |_, _| Ok(0)).unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
