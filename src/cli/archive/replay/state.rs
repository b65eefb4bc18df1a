//! How far a replay came: a small file of JSON, replaced whole.
//!
//! Of each channel it names the object that was under way and the first row that is not settled; all objects before
//! that are. New objects come behind the others of their channel, so another run finds them, too.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Options;
use crate::archive::store::Listed;
use crate::disk::{self, Disk, Open};

/// A replay that is killed repeats what was sent in this time.
const SAVED_EACH: Duration = Duration::from_millis(250);
/// A line for each channel; a longer file is another's.
const BYTES_MAX: u64 = 16 << 20;
const VERSION: &str = "spangate replay 1";

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    version: String,
    /// Relative paths of the arguments start there.
    directory: PathBuf,
    arguments: Vec<String>,
    /// By channel and partition.
    reached: BTreeMap<String, Mark>,
}

/// Where a channel's objects are settled up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    first: u64,
    object: String,
    row: u64,
}

impl Form {
    /// A file of this version.
    pub fn parse(text: &[u8]) -> Result<Form, String> {
        let form: Form = serde_json::from_slice(text).map_err(|error| format!("no state of a replay: {error}"))?;
        match form.version == VERSION {
            true => Ok(form),
            false => Err(format!("version {:?}; this version of spangate reads {VERSION:?}", form.version)),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("names and numbers are JSON")
    }
}

pub struct State {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    form: Form,
    saved: Instant,
}

impl State {
    /// A beginning; an error where another replay's state is there.
    pub fn begin(options: &Options, directory: PathBuf) -> Result<State, String> {
        let (disk, path) = (disk::real(), options.state.clone());
        let arguments = options.arguments.clone();
        let form = Form { version: VERSION.to_owned(), directory, arguments, reached: BTreeMap::new() };
        match disk.open(&path, Open::CreateNew) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let path = path.display();
                return Err(format!(
                    "{path} is there: a replay stopped before its end. --resume {path} goes on with it, --state takes \
                     another file; without it, it is forgotten"
                ));
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
        let mut state = State { disk, path, form, saved: Instant::now() };
        state.save()?;
        Ok(state)
    }

    /// The state of an earlier run, and its command line.
    pub fn read(path: &Path, directory: &Path) -> Result<(State, Vec<String>), String> {
        let disk = disk::real();
        let named = |what: String| format!("--resume {}: {what}", path.display());
        let text = read_text(&*disk, path).map_err(|error| named(error.to_string()))?;
        let form = Form::parse(&text).map_err(named)?;
        if form.directory != directory {
            return Err(named(format!("that replay began in {}: go on there", form.directory.display())));
        }
        let arguments = form.arguments.clone();
        Ok((State { disk, path: path.to_owned(), form, saved: Instant::now() }, arguments))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something of an object is not settled yet.
    pub fn is_open(&self, object: &Listed) -> bool {
        let mark = self.form.reached.get(&channel(object));
        mark.is_none_or(|mark| match (object.parsed.first, &object.name).cmp(&(mark.first, &mark.object)) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => mark.row < u64::MAX,
            std::cmp::Ordering::Greater => true,
        })
    }

    /// The first row of an object that is not settled.
    pub fn row_of(&self, object: &Listed) -> u64 {
        let mark = self.form.reached.get(&channel(object)).filter(|mark| mark.object == object.name);
        mark.map_or(0, |mark| mark.row)
    }

    /// Everything of an object before `row` is settled; kept before long.
    pub fn reached(&mut self, object: &Listed, row: u64) -> Result<(), String> {
        // Rows that an earlier run settled are passed over again.
        let row = row.max(self.row_of(object));
        let mark = Mark { first: object.parsed.first, object: object.name.clone(), row };
        self.form.reached.insert(channel(object), mark);
        if self.saved.elapsed() >= SAVED_EACH { self.save() } else { Ok(()) }
    }

    pub fn save(&mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let mut fresh = self.path.as_os_str().to_owned();
        fresh.push(".tmp");
        let fresh = PathBuf::from(fresh);
        let text = self.form.to_bytes();
        let file = self.disk.open(&fresh, Open::Truncate).map_err(failed)?;
        file.write_at(&[IoSlice::new(&text)], 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        self.disk.rename(&fresh, &self.path).map_err(failed)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Whether nothing is settled yet.
    pub fn is_new(&self) -> bool {
        self.form.reached.is_empty()
    }

    /// There is nothing to go on with.
    pub fn remove(&self) -> Result<(), String> {
        self.disk.remove(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

fn channel(object: &Listed) -> String {
    format!("{}-{}", object.parsed.channel, object.parsed.partition)
}

fn read_text(disk: &dyn Disk, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let mut text = vec![0; usize::try_from(file.len()?.min(BYTES_MAX)).map_err(std::io::Error::other)?];
    let read = disk::read_full(&*file, &mut text, 0)?;
    text.truncate(read);
    Ok(text)
}
