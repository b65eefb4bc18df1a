//! A file's bytes in the page cache and on disk, in pages that snapshots share until one of them writes.

use std::collections::BTreeMap;
use std::sync::Arc;

pub const SECTOR: usize = 512;
const PAGE: usize = 4096;
const SECTORS: usize = PAGE / SECTOR;

/// `None` is zeros.
type Page = Option<Arc<[u8; PAGE]>>;

#[derive(Clone, Default)]
pub struct Image {
    pub len: usize,
    pages: Vec<Page>,
}

/// The parts of `at..end` by page: (page, from, to).
fn parts(at: usize, end: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (at / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let start = page * PAGE;
        (page, at.saturating_sub(start), (end - start).min(PAGE))
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes == &[0; PAGE][..bytes.len()]
}

impl Image {
    pub fn read(&self, buf: &mut [u8], at: usize) -> usize {
        let from = at.min(self.len);
        let end = (from + buf.len()).min(self.len);
        for (page, first, last) in parts(from, end) {
            let to = page * PAGE + first - from;
            let buf = &mut buf[to..to + last - first];
            match self.pages.get(page).and_then(Option::as_ref) {
                Some(bytes) => buf.copy_from_slice(&bytes[first..last]),
                None => buf.fill(0),
            }
        }
        end - from
    }

    pub fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        self.set_len(self.len.max(end));
        for (page, first, last) in parts(at, end) {
            let from = page * PAGE + first - at;
            self.put(page, first, &bytes[from..from + last - first]);
        }
    }

    fn put(&mut self, page: usize, first: usize, bytes: &[u8]) {
        if self.pages[page].is_none() && is_zero(bytes) {
            return;
        }
        let page = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE]));
        Arc::make_mut(page)[first..first + bytes.len()].copy_from_slice(bytes);
    }

    /// What is cut off reads as zeros if the file grows again.
    pub fn set_len(&mut self, len: usize) {
        if len < self.len {
            let end = self.len.min(len.next_multiple_of(PAGE));
            for (page, first, last) in parts(len, end) {
                self.put(page, first, &[0; PAGE][..last - first]);
            }
        }
        self.pages.resize(len.div_ceil(PAGE), None);
        self.len = len;
    }

    fn sector(&self, page: usize, sector: usize) -> &[u8] {
        let first = sector * SECTOR;
        self.pages.get(page).and_then(Option::as_ref).map_or(&[0; SECTOR][..], |page| &page[first..first + SECTOR])
    }

    pub fn flip(&mut self, at: usize, bit: u8) {
        let mut byte = [0];
        self.read(&mut byte, at);
        self.write(&[byte[0] ^ 1 << bit], at);
    }
}

/// Sectors of a page, as bits.
#[derive(Clone, Copy, Default)]
struct Marks {
    /// A sync would write them.
    dirty: u8,
    /// A sync that failed lost them: they are clean, and on disk by chance.
    lost: u8,
}

#[derive(Clone, Default)]
pub struct Inode {
    pub cache: Image,
    pub disk: Image,
    marks: BTreeMap<usize, Marks>,
    /// What un-synced sectors held before they were written again, by page and sector: it may have been written back.
    between: BTreeMap<(usize, usize), Vec<Arc<[u8; SECTOR]>>>,
}

/// Of one sector.
const BETWEEN_MAX: usize = 3;

impl Inode {
    /// Writes into the page cache.
    pub fn write(&mut self, bytes: &[u8], at: usize) {
        self.remember(at, at + bytes.len());
        self.cache.write(bytes, at);
        self.mark(at, at + bytes.len());
    }

    /// Un-synced sectors are written again.
    fn remember(&mut self, at: usize, end: usize) {
        for (page, first, last) in parts(at, end) {
            let Some(marks) = self.marks.get(&page) else { continue };
            for sector in (first / SECTOR..last.div_ceil(SECTOR)).filter(|sector| marks.dirty >> sector & 1 == 1) {
                let held = self.cache.sector(page, sector).try_into().expect("a whole sector");
                let between = self.between.entry((page, sector)).or_default();
                between.push(Arc::new(held));
                if between.len() > BETWEEN_MAX {
                    between.remove(0);
                }
            }
        }
    }

    fn mark(&mut self, at: usize, end: usize) {
        for (page, first, last) in parts(at, end) {
            let marks = self.marks.entry(page).or_default();
            for sector in first / SECTOR..last.div_ceil(SECTOR) {
                marks.dirty |= 1 << sector;
                marks.lost &= !(1 << sector);
            }
        }
    }

    /// A shorter one leaves zeros behind it if the file grows again, on disk once they were synced.
    pub fn set_len(&mut self, len: usize) {
        self.mark(len, self.disk.len.max(self.cache.len).max(len));
        self.cache.set_len(len);
    }

    pub fn flush(&mut self) {
        self.disk.set_len(self.cache.len);
        self.between.clear();
        for (page, marks) in std::mem::take(&mut self.marks) {
            (0..SECTORS).filter(|sector| marks.dirty >> sector & 1 == 1).for_each(|sector| self.keep(page, sector));
            if marks.lost != 0 {
                self.marks.insert(page, Marks { dirty: 0, ..marks });
            }
        }
    }

    /// A sync that failed: what it should have written counts as clean. Where it is `evicted`, it reads as the disk
    /// has it, too.
    pub fn fail_sync(&mut self, evicted: bool) {
        self.between.clear();
        for marks in self.marks.values_mut() {
            marks.lost |= std::mem::take(&mut marks.dirty);
        }
        if evicted {
            let len = self.cache.len;
            self.cache = self.disk.clone();
            self.cache.set_len(len);
            self.marks.clear();
        }
    }

    /// Writes one sector back.
    fn keep(&mut self, page: usize, sector: usize) {
        let mut bytes = [0; SECTOR];
        bytes.copy_from_slice(self.cache.sector(page, sector));
        self.put(page, sector, &bytes);
    }

    fn put(&mut self, page: usize, sector: usize, bytes: &[u8; SECTOR]) {
        let at = page * PAGE + sector * SECTOR;
        let end = (at + SECTOR).min(self.cache.len);
        if at < end {
            self.disk.write(&bytes[..end - at], at);
        }
    }

    /// Whether all of `at..end` is on disk.
    pub fn is_saved(&self, at: usize, end: usize) -> bool {
        let end = end.min(self.cache.len);
        let saved = |(page, first, last): (usize, usize, usize)| {
            let marks = self.marks.get(&page).copied().unwrap_or_default();
            let differs = |sector: usize| (marks.dirty | marks.lost) >> sector & 1 == 1;
            !(first / SECTOR..last.div_ceil(SECTOR)).any(differs) || {
                // A sector that was cut short is the same up to there.
                let mut pair = [[0; PAGE]; 2];
                let range = ..last - first;
                self.cache.read(&mut pair[0][range], page * PAGE + first);
                self.disk.read(&mut pair[1][range], page * PAGE + first);
                pair[0] == pair[1]
            }
        };
        at >= end || (end <= self.disk.len && parts(at, end).all(saved))
    }

    /// Whether cache and disk may differ.
    pub fn is_clean(&self) -> bool {
        self.marks.is_empty() && self.disk.len == self.cache.len
    }

    /// A loss of power: each un-synced sector, as it is or was since the last sync, and the length, are there or not.
    /// What a failed sync left out may have got there all the same.
    pub fn lose(&mut self, survives: &mut dyn FnMut() -> bool) {
        if self.disk.len != self.cache.len && survives() {
            self.disk.set_len(self.cache.len);
        }
        for (page, marks) in std::mem::take(&mut self.marks) {
            for sector in (0..SECTORS).filter(|sector| (marks.dirty | marks.lost) >> sector & 1 == 1) {
                let held = self.between.remove(&(page, sector)).unwrap_or_default();
                if survives() {
                    self.keep(page, sector);
                } else if let Some(held) = held.iter().rev().find(|_| survives()) {
                    self.put(page, sector, held);
                }
            }
        }
        self.between.clear();
        self.cache = self.disk.clone();
    }
}
