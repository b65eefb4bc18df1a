//! Every reader of bytes, fed: tests/proof/fuzz.

use crate::proof::{Budget, fuzz};

#[test]
fn every_reader_of_bytes_takes_its_corpus_and_a_few_thousand_mutations_of_it() {
    for target in fuzz::TARGETS {
        fuzz::corpus(target).iter().for_each(|input| (target.run)(input));
    }
    // Three turns of all targets.
    let tally = fuzz::run(Budget::of(1, 3 * fuzz::TARGETS.len() as u64));
    tally.assert_whole();
    assert_eq!(tally.counts.len(), fuzz::TARGETS.len());
}

#[test]
fn the_fuzzing_package_has_a_binary_for_each_target() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let names: Vec<&str> =
        manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap()).collect();
    assert_eq!(names, fuzz::TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
}
