//! `make bench`: what a span costs the gateway, beside what it costs the bare floor.
//!
//! `cargo bench --bench gateway [-- SPANS]`. For each format and message size the floor, the
//! gateway and the gateway with its archive run in turn, each a process of its own with an empty
//! directory ([`run`]). Prints one table; asserts nothing about time. `-- profile` instead shows
//! where the time goes ([`profile`]); `-- floor` is the floor itself. Linux alone.

#![allow(clippy::disallowed_methods, reason = "a bench's files, threads and tasks are not the product's")]

mod collector;
mod floor;
mod process;
mod profile;
mod run;

use std::io;
use std::path::Path;

use collector::Collector;
use run::{Format, Load, Measured, Who};

/// Of each process, so that what slows the machine down slows all of them.
const ROUNDS: usize = 3;
/// Spans in a message, and the part of all spans that a run sends of it.
const BATCHES: [(u64, u64); 2] = [(100, 1), (10, 4)];
/// A run of a few seconds.
const SPANS: u64 = 400_000;

fn main() -> io::Result<()> {
    // Cargo passes `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut arguments = arguments.iter().map(String::as_str);
    match arguments.next() {
        Some("floor") => {
            let rest: Vec<&str> = arguments.collect();
            let port = |at: usize| rest[at].parse::<u16>().expect("a port");
            floor::run(port(0), port(1), Path::new(rest[2]), rest[3])
        }
        Some("profile") => profile::profile(spans(arguments.next())),
        first => table(spans(first)),
    }
}

fn spans(argument: Option<&str>) -> u64 {
    argument.map_or(SPANS, |text| text.parse().expect("SPANS is a number"))
}

fn table(spans: u64) -> io::Result<()> {
    let collector = Collector::start()?;
    println!("| spans a message | format | bytes a span | CPU us a span | | spans/s | p50 ms | p99 ms | MiB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (batch, part) in BATCHES {
        for format in Format::ALL {
            let load = Load { format, batch, spans: spans / part };
            let mut runs = Who::ALL.map(|_| Vec::new());
            for _ in 0..ROUNDS {
                for (who, runs) in Who::ALL.into_iter().zip(&mut runs) {
                    runs.push(run::run(who, load, &collector)?);
                }
            }
            println!("{}", row(load, &runs.map(median)));
        }
    }
    Ok(())
}

/// The run of the middle CPU time.
fn median(mut runs: Vec<Measured>) -> Measured {
    runs.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    runs.swap_remove(runs.len() / 2)
}

/// One line of the table; a cell has the figures of the floor, the gateway, and the gateway that archives.
fn row(Load { format, batch, .. }: Load, all: &[Measured; 3]) -> String {
    let three = |figure: &dyn Fn(&Measured) -> String| all.iter().map(figure).collect::<Vec<_>>().join(" / ");
    let [floor, gateway, _] = all;
    let cells = [
        batch.to_string(),
        format.name.to_owned(),
        format!("{:.0}", gateway.bytes_a_span),
        three(&|run| format!("{:.2}", run.cpu_us)),
        format!("{:.1}x", gateway.cpu_us / floor.cpu_us),
        three(&|run| format!("{:.0}k", run.spans_a_second / 1e3)),
        three(&|run| format!("{:.1}", run.p50_ms)),
        three(&|run| format!("{:.1}", run.p99_ms)),
        three(&|run| format!("{:.0}", run.resident_mib)),
    ];
    format!("| {} |", cells.join(" | "))
}
