//! The disk in memory against the machine's: the same calls, the same answers.

use super::*;
use crate::disk::{read_full, real};

const FILE_BYTES: u64 = 5 * CHUNK as u64;

fn path(name: &str) -> PathBuf {
    Path::new("/data/channel").join(name)
}

fn made(disk: &MemoryDisk, name: &str) -> Arc<dyn File> {
    disk.open(&path(name), Open::CreateNew).unwrap()
}

fn whole(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![1; file.len().unwrap() as usize + 10];
    let got = read_full(file, &mut bytes, 0).unwrap();
    bytes.truncate(got);
    bytes
}

/// A place in a file, most often near the border of a chunk or a few bytes from the last end.
fn somewhere(chance: &mut fastrand::Rng, len: u64) -> u64 {
    let near = match chance.u8(0..3) {
        0 => chance.u64(0..=FILE_BYTES),
        1 => chance.u64(0..=5) * CHUNK as u64,
        _ => len,
    };
    (near + chance.u64(0..5)).saturating_sub(2)
}

#[test]
fn whatever_is_done_to_a_file_it_reads_as_a_real_one_does() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    for round in 0..30 {
        let name = format!("{round}");
        let files = [real().open(&dir.path().join(&name), Open::CreateNew).unwrap(), made(&MemoryDisk::new(), &name)];
        for _ in 0..20 {
            let at = somewhere(&mut chance, files[0].len().unwrap());
            let bytes: Vec<u8> = (0..chance.usize(0..2 * CHUNK)).map(|n| n as u8 | 1).collect();
            let cut = chance.usize(0..=bytes.len());
            let call = chance.u8(0..6);
            for file in &files {
                match call {
                    0 => file.set_len(at).unwrap(),
                    1 => file.allocate(at).unwrap(),
                    _ => file.write_at(&[IoSlice::new(&bytes[..cut]), IoSlice::new(&bytes[cut..])], at).unwrap(),
                }
            }
            let mut read = [vec![1; cut], vec![1; cut]];
            let got = [files[0].read_at(&mut read[0], at).unwrap(), files[1].read_at(&mut read[1], at).unwrap()];
            assert_eq!(got[0], got[1], "length of a read");
            assert!(read[0] == read[1], "a read of {cut} bytes at {at}");
            assert!(whole(&*files[0]) == whole(&*files[1]), "the whole file");
        }
    }
}

#[test]
fn names_are_made_renamed_and_removed_as_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disks: [Arc<dyn Disk>; 2] = [real(), Arc::new(MemoryDisk::new())];
    for disk in disks {
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let refusal = |done: io::Result<()>| done.unwrap_err().kind();
        let open = |path: &Path, how| disk.open(path, how).map(drop);
        disk.create_dir_all(dir.path()).unwrap();
        assert_eq!(refusal(open(&a, Open::Read)), ErrorKind::NotFound);
        assert_eq!(refusal(open(&a, Open::Write)), ErrorKind::NotFound);
        disk.open(&a, Open::CreateNew).unwrap().write_at(&[IoSlice::new(b"first")], 0).unwrap();
        assert_eq!(refusal(open(&a, Open::CreateNew)), ErrorKind::AlreadyExists);
        assert_eq!(whole(&*disk.open(&a, Open::Read).unwrap()), b"first");
        open(&b, Open::Truncate).unwrap();
        assert_eq!(refusal(disk.rename_new(&a, &b)), ErrorKind::AlreadyExists);
        disk.rename(&a, &b).unwrap();
        assert_eq!(disk.list(dir.path()).unwrap(), [Entry { name: "b".into(), len: 5, is_dir: false }]);
        assert_eq!(refusal(disk.rename(&a, &b)), ErrorKind::NotFound);
        disk.rename_new(&b, &a).unwrap();
        assert_eq!(whole(&*disk.open(&a, Open::Truncate).unwrap()), b"");
        disk.sync_dir(dir.path()).unwrap();
        let held = disk.lock(&b).unwrap();
        assert_eq!(refusal(disk.lock(&b).map(drop)), ErrorKind::WouldBlock);
        drop(held);
        disk.lock(&b).map(drop).unwrap();
        disk.remove(&a).unwrap();
        assert_eq!(refusal(disk.remove(&a)), ErrorKind::NotFound);
    }
}

#[test]
fn room_that_is_only_reserved_takes_no_memory_and_what_is_cut_or_removed_gives_it_back() {
    let disk = MemoryDisk::new();
    let file = made(&disk, "segment");
    file.allocate(1 << 40).unwrap();
    assert_eq!((file.len().unwrap(), disk.held_bytes()), (1 << 40, 0));
    let bytes = vec![7; 3 * CHUNK + 1];
    file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    assert_eq!(disk.held_bytes(), 4 * CHUNK as u64);
    file.set_len(3 * CHUNK as u64).unwrap();
    assert_eq!(disk.held_bytes(), 3 * CHUNK as u64);
    made(&disk, "spare");
    disk.rename(&path("spare"), &path("segment")).unwrap();
    assert_eq!(disk.held_bytes(), 0, "the one that was replaced is still open, and empty");
    assert_eq!(file.read_at(&mut [0], 0).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(file.write_at(&[IoSlice::new(b"x")], 0).unwrap_err().kind(), ErrorKind::NotFound);
    let file = disk.open(&path("segment"), Open::Write).unwrap();
    file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    disk.remove(&path("segment")).unwrap();
    assert_eq!((disk.held_bytes(), file.len().unwrap_err().kind()), (0, ErrorKind::NotFound));
}
