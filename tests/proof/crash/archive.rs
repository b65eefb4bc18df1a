//! The archive of a workload: the real one, into a directory of the simulated disk; and what stands there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IoSlice, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use spangate::archive::object::{Object, ObjectName};
use spangate::archive::target::Connect;
use spangate::archive::{Archive, Format, Settings, Target, Template};
use spangate::channel::{Channel, Start, Takes};
use spangate::disk::Open;
use spangate::drain::Sieve;
use spangate::metrics::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::world::{ARCHIVE, DRAINS};
use crate::support::disk::SimDisk;

const OBJECTS: &str = "/data/objects";
/// Back-off between tries is at most 30 s.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

fn settings() -> Settings {
    let timeout = Duration::from_secs(1);
    Settings {
        name: DRAINS[ARCHIVE].into(),
        sieve: Sieve::default(),
        target: Target::Local { dir: OBJECTS.into() },
        built_in: "/data/archive".into(),
        data: "/data".into(),
        connect: Connect {
            region: None,
            path_style: true,
            timeout,
            put_bytes_max: 48 << 20,
            part_bytes: 8 << 20,
            variables: None,
        },
        format: Format::JsonLinesGzip1,
        path: Template::default(),
        roll_bytes: 600,
        roll_age: Duration::from_millis(200),
        roll_idle: Duration::from_millis(50),
        free_min_bytes: Some(0),
    }
}

/// Runs the archive until it is told to stop, after `for_ms`; or until nothing waits.
pub async fn run(disk: &SimDisk, channel: &Channel, registry: &Registry, for_ms: Option<u16>) -> Result<(), String> {
    let tap = channel.tap(DRAINS[ARCHIVE], Start::End, Takes::Common).map_err(|error| error.to_string())?;
    let ledger = tap.ledger();
    let prepared = Archive::prepare(settings(), disk.disk()).map_err(|error| error.to_string())?;
    let archive: Archive = prepared.archive(channel, tap, registry);
    let stop = CancellationToken::new();
    let told = async {
        match for_ms {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            None => {
                while ledger.waiting() > 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        stop.cancel();
    };
    let ran = async { tokio::join!(archive.run(stop.clone(), ENDS_WITHIN), told) };
    timeout(ENDS_WITHIN, ran).await.map(|_| ()).map_err(|_| "promise 3: the archive does not come to an end".into())
}

/// The last position of each object that stands, and of each that is planned in a slot.
pub fn planned(disk: &SimDisk) -> BTreeSet<u64> {
    let mut planned = BTreeSet::new();
    for path in disk.names() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.parent() == Some(Path::new(OBJECTS)) {
            planned.extend(ObjectName::parse(name, "jsonl.gz").map(|name| name.last));
        } else if name == "cursors" {
            let raw = disk.read(&path);
            let text = String::from_utf8_lossy(&raw);
            let objects = text.lines().filter_map(|line| line.strip_prefix("object ")?.parse::<Object>().ok());
            planned.extend(objects.map(|object| object.last));
        }
    }
    planned
}

/// How often each span stands in the objects.
pub fn spans(disk: &SimDisk) -> Result<BTreeMap<u64, u32>, String> {
    let mut counts = BTreeMap::new();
    let object = |path: &PathBuf| path.parent() == Some(Path::new(OBJECTS));
    for path in disk.names().iter().filter(|path| object(path)) {
        let mut text = String::new();
        let mut lines = flate2::read::MultiGzDecoder::new(&*disk.read(path)).read_to_string(&mut text).map(|_| &text);
        let lines = lines.as_mut().map_err(|error| format!("promise 3: {} is not whole: {error}", path.display()))?;
        for line in lines.lines() {
            let span: serde_json::Value = serde_json::from_str(line).map_err(|error| format!("promise 3: {error}"))?;
            let id = u64::from_str_radix(span["id"].as_str().unwrap_or_default(), 16);
            *counts.entry(id.map_err(|error| error.to_string())? - 1).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Puts a file of another kind where an object is to stand.
pub fn squat(disk: &SimDisk, name: &str) {
    let disk = disk.disk();
    disk.create_dir_all(Path::new(OBJECTS)).unwrap();
    let file = disk.open(&Path::new(OBJECTS).join(name), Open::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(b"nothing of ours")], 0).unwrap();
}
