//! Style, held by a test: the floors, the seams, file pages, test names, links in documents, the metrics table.
//!
//! Every check is a pure function from text to a list of complaints, and every one has a planted violation that it
//! must find: a rule without a check goes, and so does a check that cannot fail. Sizes are a report, not a failure.
#![allow(clippy::disallowed_methods, reason = "this test reads the repository, not the product's data")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, is_name, name_at, sources};

/// The seams to the machine: usable by every stage but the pure ones, themselves using nothing.
const SEAMS: &[&str] = &["metrics", "tasks", "clock", "disk", "planted"];

/// Who may import whom (STYLE of the tree: "imports point downward only"). The pure floors use no seam.
const FLOORS: &[(&str, &[&str])] = &[
    ("main", &["cli", "gateway", "config"]),
    ("lib", &[]),
    ("cli", &["gateway", "config", "channel", "archive", "deadletter", "drain", "sink", "wire", "span"]),
    ("gateway", &["listener", "drain", "sink", "archive", "channel", "deadletter", "admin", "config"]),
    // The `Settings` that each stage declares, and nothing else of them: see `settings_only`.
    ("config", &["listener", "drain", "sink", "archive", "channel", "deadletter", "admin"]),
    ("listener", &["channel", "wire", "span"]),
    ("drain", &["channel", "deadletter", "sink", "span"]),
    ("archive", &["channel", "drain", "wire", "span"]),
    ("sink", &["wire", "span"]),
    ("deadletter", &["span"]),
    ("admin", &[]),
    ("channel", &[]),
    ("metrics", &[]),
    ("tasks", &[]),
    ("clock", &[]),
    ("disk", &[]),
    ("planted", &[]),
];

/// Floors without sockets, files, clocks or counters.
const PURE_FLOORS: &[(&str, &[&str])] = &[("wire", &["span"]), ("span", &[])];

/// What one module alone may use, and the files excepted with their reasons.
struct Seam {
    owner: &'static str,
    words: &'static [&'static str],
    excepted: &'static [(&'static str, &'static str)],
}

const BANS: &[Seam] = &[
    Seam { owner: "disk", words: &["std::fs", "tokio::fs"], excepted: &[] },
    Seam { owner: "clock", words: &["SystemTime"], excepted: &[] },
    Seam {
        owner: "tasks",
        words: &["tokio::spawn", "spawn_blocking", "spawn_local", "thread::spawn", "thread::Builder", "JoinSet"],
        excepted: &[],
    },
];

/// Stubs and shortcuts that no commit keeps.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!", "unsafe"];

/// Lines of a file's opening page.
const PAGE_LINES_MAX: usize = 12;

fn floor(stage: &str) -> Option<(&'static [&'static str], bool)> {
    let of = |table: &'static [(&str, &'static [&str])]| table.iter().find(|(name, _)| *name == stage);
    of(FLOORS).map(|(_, below)| (*below, true)).or_else(|| of(PURE_FLOORS).map(|(_, below)| (*below, false)))
}

/// The stages that a file names: `crate::x`, `use crate::{x, y::z}`, `spangate::x` in the program, and climbs by
/// `super::` that leave the stage.
fn edges(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate::", "spangate::"] {
        for at in source.find(root) {
            let after = &source.code[at + root.len()..];
            for name in heads(after) {
                found.push((source.line_of(at), name));
            }
        }
    }
    let climb = "super::".repeat(source.depth());
    if source.depth() > 0 {
        for at in source.find(&climb) {
            let name = name_at(&source.code[at + climb.len()..]);
            if floor(name).is_some() {
                found.push((source.line_of(at), name.to_owned()));
            }
        }
    }
    found
}

/// The first names of a path or of a group of paths: `a` of `a::b`; `a`, `c` of `{a::b, c}`.
fn heads(after: &str) -> Vec<String> {
    if !after.starts_with('{') {
        return vec![name_at(after).to_owned()];
    }
    let mut names = Vec::new();
    let (mut depth, mut fresh) = (0, false);
    for (at, byte) in after.bytes().enumerate() {
        match byte {
            b'{' => {
                depth += 1;
                fresh = depth == 1;
            }
            b'}' => depth -= 1,
            b',' => fresh = depth == 1,
            _ if is_name(byte) && fresh => {
                names.push(name_at(&after[at..]).to_owned());
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn floors(source: &Source) -> Vec<String> {
    let Some(stage) = source.stage() else { return Vec::new() };
    let Some((below, seams)) = floor(stage) else {
        return vec![format!("{}: stage {stage} has no place in the table of floors", source.path)];
    };
    let allowed = |name: &str| {
        name == stage
            || below.contains(&name)
            || (SEAMS.contains(&name) && seams && !SEAMS.contains(&stage))
            // Macros and the crate's own root items are no stage.
            || floor(name).is_none()
    };
    edges(source)
        .into_iter()
        .filter(|(_, name)| !allowed(name))
        .map(|(line, name)| format!("{}:{line}: {stage} must not use {name}", source.path))
        .collect()
}

fn seams(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for ban in BANS {
        let free = source.stage() == Some(ban.owner) || ban.excepted.iter().any(|(path, _)| *path == source.path);
        for word in ban.words.iter().filter(|_| !free) {
            for at in source.find(word) {
                found.push(format!("{}:{}: {word} is for {} alone", source.path, source.line_of(at), ban.owner));
            }
        }
    }
    found
}

fn finished(source: &Source) -> Vec<String> {
    let place = |word: &str, at| format!("{}:{}: {word} is not for this tree", source.path, source.line_of(at));
    UNFINISHED.iter().flat_map(|word| source.find(word).into_iter().map(|at| place(word, at))).collect()
}

fn page(source: &Source) -> Vec<String> {
    if source.path.starts_with("src/") && source.is_test() {
        // Tests beside their module: its page is theirs.
        return Vec::new();
    }
    let lines = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    match lines {
        0 => vec![format!("{}: opens without a `//!` page", source.path)],
        1..=PAGE_LINES_MAX if source.text.starts_with("//! (to be written)") => {
            vec![format!("{}: its page is to be written", source.path)]
        }
        1..=PAGE_LINES_MAX => Vec::new(),
        _ => vec![format!("{}: a page of {lines} lines; {PAGE_LINES_MAX} at most", source.path)],
    }
}

/// The names of the functions that carry a test attribute.
fn tests(source: &Source) -> Vec<(usize, String)> {
    let marks = ["#[test]", "#[tokio::test"];
    let ats = marks.iter().flat_map(|mark| source.code.match_indices(mark).map(|(at, _)| at));
    ats.filter_map(|at| {
        let name = at + source.code[at..].find("fn ")? + 3;
        Some((source.line_of(name), name_at(&source.code[name..]).to_owned()))
    })
    .collect()
}

fn test_names(source: &Source) -> Vec<String> {
    let fault = |name: &str| {
        let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
        let last = words.last().copied().unwrap_or("");
        if words.first() == Some(&"test") {
            Some("begins with test_")
        } else if words.len() < 3 {
            Some("is no sentence: three words at least")
        } else if last.bytes().all(|byte| byte.is_ascii_digit()) && !PORTS.contains(&last) {
            Some("ends in a number")
        } else {
            None
        }
    };
    tests(source)
        .into_iter()
        .filter_map(|(line, name)| fault(&name).map(|fault| format!("{}:{line}: test {name} {fault}", source.path)))
        .collect()
}

/// Numbers that are names: statuses and ports that a sentence may well end in.
const PORTS: &[&str] = &["200", "202", "400", "404", "413", "415", "431", "503", "508", "1463", "9411", "9412"];

/// Functions and their lines, by braces.
fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for at in source.find("fn ") {
        let name = name_at(&source.code[at + 3..]);
        let rest = &source.code[at..];
        let (Some(open), semicolon) = (rest.find('{'), rest.find(';')) else { continue };
        if name.is_empty() || semicolon.is_some_and(|end| end < open) {
            continue;
        }
        let mut depth = 0;
        let body = rest[open..].bytes().position(|byte| {
            depth += i32::from(byte == b'{') - i32::from(byte == b'}');
            depth == 0
        });
        let end = body.map_or(rest.len(), |body| open + body);
        found.push((source.line_of(at), name.to_owned(), rest[..end].matches('\n').count() + 1));
    }
    found
}

/// Fails with every complaint, a line each.
fn none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn imports_point_downward() {
    none(sources().iter().filter(|source| !source.is_test()).flat_map(floors));
}

#[test]
fn an_import_that_points_upward_is_found() {
    let cases = [
        ("src/channel/log.rs", "//! x\nuse crate::span::Item;", "src/channel/log.rs:2: channel must not use span"),
        (
            "src/sink/mod.rs",
            "use crate::{clock::Clock, drain::{Batch, x}};",
            "src/sink/mod.rs:1: sink must not use drain",
        ),
        ("src/wire/thrift.rs", "fn f() { crate::clock::now() }", "src/wire/thrift.rs:1: wire must not use clock"),
        ("src/drain/group.rs", "use super::super::listener::x;", "src/drain/group.rs:1: drain must not use listener"),
        ("src/main.rs", "use spangate::channel;", "src/main.rs:1: main must not use channel"),
        ("src/disk.rs", "use crate::clock::Clock;", "src/disk.rs:1: disk must not use clock"),
        ("src/novel/mod.rs", "", "src/novel/mod.rs: stage novel has no place in the table of floors"),
    ];
    for (path, text, complaint) in cases {
        assert_eq!(floors(&Source::new(path, text)), [complaint]);
    }
    let innocent =
        "// use crate::span;\nconst A: &str = \"crate::listener\"; /* crate::drain */ use crate::disk::Disk;";
    assert_eq!(floors(&Source::new("src/channel/log.rs", innocent)), [""; 0]);
}

#[test]
fn configuration_takes_settings_and_nothing_else() {
    none(
        sources().iter().filter(|source| source.stage() == Some("config") && !source.is_test()).flat_map(settings_only),
    );
    let planted = Source::new("src/config/mod.rs", "use crate::channel::{Channel, Settings};");
    assert_eq!(settings_only(&planted), ["src/config/mod.rs:1: config may name settings of channel, not Channel"]);
}

/// Types that carry work; whatever else a stage declares for its settings may be named by `config`.
const WORKERS: &[&str] =
    &["Channel", "Tap", "Ledger", "Intake", "Group", "Tasks", "Registry", "Bound", "open", "run", "bind"];

fn settings_only(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (line, stage) in edges(source) {
        let Some(text) = source.code.lines().nth(line - 1).filter(|_| stage != "config") else { continue };
        let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        for word in words.filter(|word| WORKERS.contains(word)) {
            found.push(format!("{}:{line}: config may name settings of {stage}, not {word}", source.path));
        }
    }
    found
}

#[test]
fn files_clocks_and_spawns_have_one_owner_each() {
    none(sources().iter().flat_map(seams));
}

#[test]
fn a_seam_used_from_elsewhere_is_found() {
    let text = "use std::fs::File;\nlet now = std::time::SystemTime::now();\ntokio::spawn(async {});";
    let found = seams(&Source::new("src/drain/mod.rs", text));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "src/drain/mod.rs:1: std::fs is for disk alone");
    assert_eq!(seams(&Source::new("src/disk/real.rs", "use std::fs::File;")), [""; 0]);
    assert_eq!(seams(&Source::new("src/drain/tests.rs", text)), [""; 0]);
    assert_eq!(seams(&Source::new("src/drain/mod.rs", "// std::fs\nlet MySystemTime = 1;")), [""; 0]);
}

#[test]
fn no_stub_and_no_unsafe_is_left() {
    none(sources().iter().flat_map(finished));
    let planted = Source::new("src/a.rs", "fn a() { todo!(\"x\") }\n// todo!\nunsafe fn b() {}");
    assert_eq!(finished(&planted).len(), 2);
}

#[test]
fn each_file_opens_with_a_short_page() {
    none(sources().iter().flat_map(page));
    assert_eq!(page(&Source::new("src/a.rs", "use x;")).len(), 1);
    assert_eq!(page(&Source::new("src/a.rs", &"//! x\n".repeat(13))).len(), 1);
    assert_eq!(page(&Source::new("src/a.rs", &"//! x\n".repeat(12))), [""; 0]);
}

#[test]
fn names_of_tests_are_sentences() {
    none(sources().iter().flat_map(test_names));
}

#[test]
fn a_test_name_that_is_no_sentence_is_found() {
    for name in ["test_that_it_works", "it_works", "a_case_of_damage_2"] {
        let text = format!("#[tokio::test(start_paused = true)]\n#[allow(x)]\nasync fn {name}() {{}}");
        assert_eq!(test_names(&Source::new("tests/it/a.rs", &text)).len(), 1, "{name}");
    }
    let good = "#[test]\nfn a_torn_tail_is_cut() {}\nfn helper() {}\n#[test]\nfn a_taken_port_names_9411() {}";
    assert_eq!(test_names(&Source::new("tests/it/a.rs", good)), [""; 0]);
}

#[test]
fn every_dependency_says_why_it_is_here() {
    none(documents::unexplained_dependencies(&source::read("Cargo.toml")));
    let planted = "[dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n";
    assert_eq!(documents::unexplained_dependencies(planted), ["Cargo.toml: b has no reason above it"]);
}

#[test]
fn links_in_documents_lead_somewhere() {
    none(source::files("", ".md").iter().flat_map(|path| documents::dead_links(path, &source::read(path))));
    let planted = "# A b\n[x](nowhere.md) [y](#a-b) [z](#gone) [w](https://example.com/)\n```\n[v](code.md)\n```\n";
    assert_eq!(
        documents::dead_links("README.md", planted),
        ["README.md:2: nowhere.md leads nowhere", "README.md:2: #gone leads nowhere"]
    );
}

#[test]
fn the_readme_lists_every_metric_as_the_table_has_it() {
    none(documents::metric_differences(&source::read("README.md"), spangate::metrics::TABLE));
}

#[test]
fn a_wrong_row_of_the_metrics_table_is_found() {
    let rows = documents::metric_rows(spangate::metrics::TABLE);
    let whole = format!("{}\n", rows.join("\n"));
    assert_eq!(documents::metric_differences(&whole, spangate::metrics::TABLE), [""; 0]);
    let missing = rows[1..].join("\n");
    assert_eq!(documents::metric_differences(&missing, spangate::metrics::TABLE).len(), 1);
    let wrong = whole.replacen("| counter |", "| gauge |", 1);
    assert_eq!(documents::metric_differences(&wrong, spangate::metrics::TABLE).len(), 2);
}

/// A report: `cargo test --test tidy sizes -- --nocapture`.
#[test]
fn sizes_of_files_and_functions_are_reported() {
    let sources = sources();
    let product = sources.iter().filter(|source| !source.is_test());
    let mut files: Vec<(usize, &str)> =
        product.clone().map(|source| (source.text.lines().count(), &*source.path)).collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    let mut lengths: Vec<(usize, String)> = product
        .flat_map(|source| {
            functions(source).into_iter().map(|(line, name, lines)| (lines, format!("{}:{line} {name}", source.path)))
        })
        .collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let share = |most: usize| 100 * lengths.iter().filter(|(lines, _)| *lines <= most).count() / lengths.len().max(1);
    println!("{} files, {} functions; {} % of functions within 26 lines", files.len(), lengths.len(), share(26));
    files.iter().filter(|(lines, _)| *lines > 400).for_each(|(lines, path)| println!("{lines:5} lines  {path}"));
    lengths.iter().filter(|(lines, _)| *lines > 40).for_each(|(lines, name)| println!("{lines:5} lines  {name}"));
    assert!(!lengths.is_empty(), "the report saw no function");
}

#[test]
fn a_function_is_measured_by_its_braces() {
    let source = Source::new("src/a.rs", "fn a() {\n  let c = '{';\n  let s = \"}}\";\n}\nfn b();\nfn c() { x }\n");
    let found: Vec<_> = functions(&source).into_iter().map(|(_, name, lines)| (name, lines)).collect();
    assert_eq!(found, [("a".to_owned(), 4), ("c".to_owned(), 1)]);
}

#[test]
fn comments_and_literals_are_blanked_and_lines_kept() {
    let text = "a /* b /* c */ d */ e // f\nr#\"g\"h\"# 'i' &'j k \"l\\\"m\" b\"n\" '\\'' o";
    let code = source::blank(text);
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words, ["a", "e", "&'j", "k", "o"]);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.find('\n'), text.find('\n'));
}
