//! The configuration file: which one, and its text.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::file::Source;
use crate::config::{CONFIG_VARIABLE, Origin};
use crate::disk::{self, Disk, Open};

/// The reference file has 15 KiB; what is larger than this is another file.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// The file that was asked for, by flag or else by variable, and by which. An empty variable asks for none.
pub fn find(flag: Option<OsString>, variables: &[(OsString, OsString)]) -> Option<(PathBuf, Origin)> {
    let by_flag = flag.map(|path| (path.into(), Origin::Flag("--config".into())));
    let by_variable = || {
        let (_, path) = variables.iter().find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty())?;
        Some((path.into(), Origin::Variable(CONFIG_VARIABLE.into())))
    };
    by_flag.or_else(by_variable)
}

/// Reads it; an error is a problem of the configuration like others.
pub fn read((path, asked): (PathBuf, Origin)) -> Source {
    let text = read_text(&*disk::real(), &path).map_err(|error| error.to_string());
    Source { path, asked, text }
}

fn read_text(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let file = disk.open(path, Open::Read)?;
    let mut bytes = Vec::new();
    let mut piece = [0; 16 << 10];
    // To the end rather than to a length, which the files of /proc and some mounted ones do not have.
    loop {
        match file.read_at(&mut piece, bytes.len() as u64)? {
            0 => break,
            n => bytes.extend_from_slice(&piece[..n]),
        }
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(invalid(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
    }
    String::from_utf8(bytes).map_err(|error| invalid(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to())))
}

/// Where relative paths start. A working directory that was removed under us leaves the root.
pub fn working_dir() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}
