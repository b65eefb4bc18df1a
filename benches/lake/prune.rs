//! How many row groups a look for one trace has to read: by the Bloom filters in the objects, as our own reading of
//! the footers has it, and as DuckDB has it.

use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use parquet::bloom_filter::Sbbf;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::record::RowAccessor;

/// Traces that are looked for, from row groups spread over all.
const TRACES: usize = 100;

struct Group {
    filter: Sbbf,
    /// One that is in there.
    trace_id: String,
}

pub fn run(dir: PathBuf) -> io::Result<String> {
    let mut files = Vec::new();
    parquet_files(&dir, &mut files)?;
    files.sort();
    let mut groups = Vec::new();
    let mut rows = 0;
    for file in &files {
        rows += read(file, &mut groups).map_err(io::Error::other)?;
    }
    let step = groups.len().div_ceil(TRACES).max(1);
    let traces: Vec<(usize, &str)> =
        groups.iter().enumerate().step_by(step).map(|(at, group)| (at, group.trace_id.as_str())).collect();
    let left = |trace: &str| groups.iter().filter(|group| group.filter.check(&trace)).count();
    let mut counts: Vec<usize> = traces.iter().map(|(_, trace)| left(trace)).collect();
    for (at, trace) in &traces {
        assert!(groups[*at].filter.check(trace), "{trace} is in row group {at}, and its filter says no");
    }
    counts.sort_unstable();
    let part = |count: f64| 100.0 * count / groups.len() as f64;
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let most = *counts.last().expect("there are traces");
    let mut said = format!("{rows} spans in {} objects, {} row groups. ", files.len(), groups.len());
    writeln!(said, "A trace by its id, {} of them: row groups left", counts.len()).expect("a string");
    writeln!(
        said,
        "- by the footers' Bloom filters: {mean:.2} ({:.2} %), at most {most} ({:.2} %)",
        part(mean),
        part(most as f64)
    )
    .expect("a string");
    said.push_str(&duckdb(&dir, &traces)?);
    Ok(said)
}

/// Reads the filters of a file's row groups; its rows.
fn read(file: &Path, groups: &mut Vec<Group>) -> parquet::errors::Result<i64> {
    let filters = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(filters).build();
    let reader = SerializedFileReader::new_with_options(File::open(file)?, options)?;
    for at in 0..reader.num_row_groups() {
        let group = reader.get_row_group(at)?;
        let filter = group.get_column_bloom_filter(0).expect("trace_id has a filter").clone();
        let first = group.get_row_iter(None)?.next().expect("a row group has a row")?;
        groups.push(Group { filter, trace_id: first.get_string(0)?.clone() });
    }
    Ok(reader.metadata().file_metadata().num_rows())
}

/// What DuckDB's own reading of the filters leaves, and one query's answer.
fn duckdb(dir: &Path, traces: &[(usize, &str)]) -> io::Result<String> {
    let Ok(python) = std::env::var("BENCH_PYTHON") else {
        return Ok("- by DuckDB: not counted, BENCH_PYTHON names no Python that has it (`make bench` sets it)".into());
    };
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/lake/duckdb_groups.py")).arg(dir);
    command.args(traces.iter().map(|(_, trace)| trace));
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn parquet_files(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            parquet_files(&path, found)?;
        } else if path.extension().is_some_and(|end| end == "parquet") {
            found.push(path);
        }
    }
    Ok(())
}
