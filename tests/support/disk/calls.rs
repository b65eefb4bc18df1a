//! The simulated disk as the product meets it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use spangate::disk::{Disk, Entry, File, Open, Space};
use tokio::time::Instant;

use super::inode::Inode;
use super::{Fault, Inner, Lie, SimDisk, eio};

impl SimDisk {
    /// Counts a mutating call; what goes wrong with it. One for which there is no room does nothing.
    fn call(&self) -> io::Result<(MutexGuard<'_, Inner>, Option<Fault>)> {
        let mut inner = self.inner();
        if inner.off {
            return Err(eio());
        }
        inner.calls += 1;
        if let Some(film) = inner.film.as_ref().filter(|film| film.wants(inner.calls)) {
            film.shots.lock().unwrap().push(film.shot(&inner, inner.calls));
        }
        let fault = inner.fault.as_ref().filter(|(calls, _)| calls.contains(&inner.calls)).map(|(_, fault)| *fault);
        inner.off = fault == Some(Fault::Off);
        if fault.is_some() {
            inner.trouble.changed();
        }
        Ok((inner, fault))
    }

    /// Counts a call that changes nothing; it may fail.
    fn look(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        inner.looks += 1;
        let fails = inner.look_fault.as_ref().is_some_and(|looks| looks.contains(&inner.looks));
        if fails {
            inner.trouble.hits.push(Instant::now());
        }
        if fails || inner.off { Err(eio()) } else { Ok(inner) }
    }

    /// As [`call`](Self::call), for calls that do nothing when they fail.
    fn plain(&self) -> io::Result<MutexGuard<'_, Inner>> {
        match self.call()? {
            (inner, None) => Ok(inner),
            (_, Some(fault)) => Err(fault.error()),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if matches!(how, Open::Read | Open::Write) {
            let file = *self.look()?.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            return Ok(Arc::new(SimFile { disk: self.clone(), file }));
        }
        let mut inner = self.plain()?;
        let file = match inner.names.get(path) {
            Some(_) if how == Open::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(&file) => {
                Arc::make_mut(&mut inner.files[file]).set_len(0);
                file
            }
            None => {
                let dir = path.parent().unwrap().to_owned();
                if !inner.dirs.contains(&dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                inner.files.push(Arc::new(Inode::default()));
                let file = inner.files.len() - 1;
                inner.change(&dir, None, Some((path, file)));
                file
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if self.inner().dirs.contains(dir) {
            return Ok(());
        }
        let parent = dir.parent().unwrap();
        self.create_dir_all(parent)?;
        self.plain()?.make_dir(dir);
        self.plain()?.sync_dir(parent);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let inner = self.look()?;
        if !inner.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        // In no order, says the seam: not in that of names.
        let files = inner.names.iter().rev().filter(|(path, _)| path.parent() == Some(dir));
        let file = |(path, &file): (&PathBuf, &usize)| Entry {
            name: name(path),
            len: inner.files[file].cache.len as u64,
            is_dir: false,
        };
        let dirs = inner.dirs.iter().filter(|path| path.parent() == Some(dir));
        let dirs = dirs.map(|path| Entry { name: name(path), len: 0, is_dir: true });
        Ok(files.map(file).chain(dirs).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plain()?.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.plain()?;
        if inner.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.plain()?;
        if !inner.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(path.parent().unwrap(), Some(path), None);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.plain()?;
        Arc::make_mut(&mut inner.synced_dirs).insert(dir.to_owned());
        inner.sync_dir(dir);
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let inner = self.inner();
        Ok(Space { free: inner.free.unwrap_or(1 << 40), total: 1 << 40 })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if !self.inner().locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        struct Unlock(SimDisk, PathBuf);
        impl Drop for Unlock {
            fn drop(&mut self) {
                self.0.inner().locked.remove(&self.1);
            }
        }
        Ok(Box::new(Unlock(self.clone(), path.to_owned())))
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl SimFile {
    fn sync(&self, is_data: bool) -> io::Result<()> {
        let (mut inner, fault) = self.disk.call()?;
        if fault.is_none() && inner.sync_fails {
            inner.trouble.changed();
        }
        let fault = fault.or(inner.sync_fails.then_some(Fault::Fail));
        match inner.lie {
            Some(Lie::Data) if fault.is_none() && is_data => return Ok(()),
            Some(Lie::Renamed) => {
                let before = inner.files[self.file].clone();
                inner.unsynced.insert(self.file, before);
            }
            _ => {}
        }
        let file = Arc::make_mut(&mut inner.files[self.file]);
        match fault {
            None => file.flush(),
            Some(Fault::Off) => return Err(eio()),
            Some(fault) => {
                file.fail_sync(fault == Fault::Evict);
                if fault == Fault::Evict {
                    inner.trouble.evicted = Some(Instant::now());
                }
                return Err(fault.error());
            }
        }
        Ok(())
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut inner = self.disk.look()?;
        inner.reads += 1;
        if inner.reads_fail || inner.read_fault == Some(inner.reads) {
            inner.trouble.hits.push(Instant::now());
            return Err(eio());
        }
        Ok(inner.files[self.file].cache.read(buf, at as usize))
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let (mut inner, fault) = self.disk.call()?;
        let whole: usize = bufs.iter().map(|buf| buf.len()).sum();
        let no_room = inner.full && at as usize + whole > inner.files[self.file].cache.len;
        inner.full_met += u64::from(no_room);
        let fault = fault.or(no_room.then_some(Fault::NoSpace));
        let mut left = match fault {
            Some(Fault::NoSpace | Fault::Quota | Fault::ReadOnly) => 0,
            Some(Fault::Short | Fault::ShortOfSpace | Fault::ShortOfQuota) => whole / 2,
            _ => whole,
        };
        inner.unsynced.remove(&self.file);
        let file = Arc::make_mut(&mut inner.files[self.file]);
        let mut at = at as usize;
        for buf in bufs {
            let buf = &buf[..buf.len().min(left)];
            file.write(buf, at);
            (at, left) = (at + buf.len(), left - buf.len());
        }
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(true)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(false)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.plain()?;
        let no_room = inner.full && len as usize > inner.files[self.file].cache.len;
        if no_room || inner.free.is_some_and(|free| free < len) {
            inner.full_met += 1;
            return Err(Fault::NoSpace.error());
        }
        let file = Arc::make_mut(&mut inner.files[self.file]);
        let len = (len as usize).max(file.cache.len);
        file.cache.set_len(len);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.plain()?;
        Arc::make_mut(&mut inner.files[self.file]).set_len(len as usize);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.inner().files[self.file].cache.len as u64)
    }
}
