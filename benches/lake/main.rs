//! `make bench`, its second part: what the archive takes, what its objects take, and what a look for one trace reads.
//!
//! `cargo bench --bench lake [-- SPANS]`. A gateway for each format archives the same spans of `spangate send`
//! ([`load`]); then, over the Parquet objects, traces are looked for by their ids ([`prune`]), counted from the footers
//! and by DuckDB where `BENCH_PYTHON` has it. Asserts nothing about time; that a trace is found in the row groups that
//! are left, it does. Linux alone.

#![allow(clippy::disallowed_methods, reason = "a bench's files, threads and tasks are not the product's")]

#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../gateway/collector.rs"]
mod collector;
#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../gateway/process.rs"]
mod process;

mod load;
mod prune;

use std::io;

use collector::Collector;
use load::Archived;

/// The figure that is claimed is for so many.
const SPANS: u64 = 10_000_000;
/// JSON lines tell nothing that a tenth of the spans does not tell, too.
const PART: u64 = 10;
/// As `format` has them; the first by all spans.
const FORMATS: [(&str, u64); 3] = [("parquet", 1), ("jsonl.zst", PART), ("jsonl.gz", PART)];
/// Spans a second of the steady load under which collectors are timed, and how many.
const STEADY: (u64, u64) = (10_000, 150_000);

fn main() -> io::Result<()> {
    let argument = std::env::args().skip(1).find(|argument| argument != "--bench");
    let spans: u64 = argument.map_or(SPANS, |text| text.parse().expect("SPANS is a number"));
    let collector = Collector::start()?;
    let bare = load::run(None, spans / PART, None, &collector)?;
    println!(
        "| format | spans | spans/s | CPU us a span | of it the archive's | objects | MB each | bytes a span | as JSON |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut parquet = None;
    for (format, part) in FORMATS {
        let run = load::run(Some(format), spans / part, None, &collector)?;
        println!("{}", row(format, spans / part, &run, bare.cpu_us));
        parquet = parquet.or(Some(run));
    }
    let parquet = parquet.expect("the first format is Parquet");
    println!("\n{}", prune::run(parquet.objects_dir())?);
    println!("\n{} spans a second, time of the collector's requests, ms:\n", STEADY.0);
    println!("| archive | mean | p50 | p99 |\n|---|---|---|---|");
    for archive in [None, Some("parquet"), Some("jsonl.gz")] {
        let run = load::run(archive, STEADY.1, Some(STEADY.0), &collector)?;
        let [mean, p50, p99] = run.requests_ms;
        println!("| {} | {mean:.1} | {p50} | {p99} |", archive.unwrap_or("none"));
    }
    Ok(())
}

fn row(format: &str, spans: u64, run: &Archived, bare_us: f64) -> String {
    let bytes: u64 = run.objects.iter().sum();
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let most = run.objects.iter().max().copied().unwrap_or(0);
    format!(
        "| {format} | {:.1}M | {:.0}k | {:.2} | {:.2} | {} | at most {:.0} | {:.1} | {:.0} |",
        spans as f64 / 1e6,
        run.spans_a_second / 1e3,
        run.cpu_us,
        run.cpu_us - bare_us,
        run.objects.len(),
        mb(most),
        bytes as f64 / spans as f64,
        run.json_bytes_a_span,
    )
}
