//! Where an archive's objects stand: defaults, templates, zones, rounding.

use super::{Case, origin};

/// 2026-11-21 06:07:08 UTC.
const NOVEMBER: u64 = 1_795_241_228_000_000;

fn dirs(file: &str) -> Vec<String> {
    let archives = Case::file(file).understood().settings.archives;
    archives.iter().map(|archive| archive.path.dir(NOVEMBER, "c")).collect()
}

/// What is wrong with the archive `a`, whose store is named, with these lines.
fn problems(lines: &str) -> Vec<String> {
    Case::file(&format!("[drain.a]\narchive = \"file:///a\"\n{lines}\n")).problems()
}

#[test]
fn a_named_store_is_partitioned_by_day_and_hour_and_the_built_in_one_is_flat() {
    assert_eq!(dirs(""), [""]);
    assert_eq!(dirs("[drain.archive]\narchive = \"file:///a\""), ["dt=2026-11-21/hour=06/"]);
    assert_eq!(dirs("[drain.archive]\narchive = \"file:///a\"\npath = \"\""), [""]);
    assert_eq!(
        dirs("[drain.archive]\npath = \"\"\nzone = \"UTC\"\nround = \"none\""),
        [""],
        "as the resolved file has it"
    );
    let understood = Case::default().flag("archive", &["file:///a"]).understood();
    assert_eq!(understood.settings.archives[0].path.dir(NOVEMBER, "c"), "dt=2026-11-21/hour=06/");
    assert_eq!(origin(&understood, "drain.archive.path"), "default");
}

#[test]
fn zone_and_rounding_belong_to_the_template() {
    let file =
        "[drain.archive]\narchive = \"file:///a\"\npath = \"{channel}/%d-%H%M\"\nzone = \"-06:30\"\nround = \"10m\"\n";
    assert_eq!(dirs(file), ["c/20-2330/"]);
}

#[test]
fn directories_are_of_the_time_at_which_spans_came_in_unless_it_is_said_otherwise() {
    let by_span_time = |lines: &str| {
        let file = format!("[drain.archive]\narchive = \"file:///a\"\n{lines}");
        Case::file(&file).understood().settings.archives[0].path.is_by_span_time()
    };
    assert!(!by_span_time("") && !by_span_time("time = \"received\""));
    assert!(by_span_time("time = \"span\""));
    assert!(!by_span_time("time = \"span\"\npath = \"{service}\""), "no time is asked for");
    let expected = "spangate.toml:3:8: drain.a.time: found \"sent\", expected \"received\" or \"span\"";
    assert_eq!(problems("time = \"sent\""), [expected]);
}

#[test]
fn a_template_that_was_not_understood_is_refused_with_the_place() {
    let known = "%Y %y %m %n %B %b %d %e %j %A %a %H %k %I %l %p %M %S %s %z %D and %%";
    let ours = "{service} {category} {peer} {listener} {host} {channel} {first} {last}";
    for (path, why) in [
        ("dt=%Q", format!("at character 4, %Q is none of {known}")),
        ("%[localhost]", format!("at character 1, %[localhost] is none of {ours}, nor a label")),
        ("/abs", "at character 1, a directory has no name: paths are relative".to_owned()),
        ("a/../b", "at character 3, a directory begins with .: readers pass over those".to_owned()),
    ] {
        let expected = format!(
            "spangate.toml:3:8: drain.a.path: found \"{path}\", expected a path such as \"dt=%Y-%m-%d/hour=%H/\", or an \
             empty one; {why}"
        );
        assert_eq!(problems(&format!("path = \"{path}\"")), [expected]);
    }
}

#[test]
fn a_placeholder_is_ours_or_a_label_that_a_listener_gives() {
    let labels = "[scribe]\nlabels = { zone = \"a\" }\n[http]\nlabels = { \"rack.unit\" = \"7\" }\n";
    let file = |path: &str| format!("{labels}[drain.archive]\narchive = \"file:///a\"\npath = \"{path}\"\n");
    assert_eq!(dirs(&file("%Y/{zone}/%{rack.unit}/{service}")), ["2026/none/none/none/"]);
    let expected = "spangate.toml:7:8: drain.archive.path: {servce} is none of {service} {category} {peer} {listener} {host} \
        {channel} {first} {last}, nor a label that scribe.labels or http.labels gives";
    assert_eq!(Case::file(&file("{zone}/{servce}")).problems(), [expected]);
}

#[test]
fn a_zone_that_has_a_name_is_refused() {
    let expected = "spangate.toml:3:8: drain.a.zone: found \"Europe/Berlin\", expected \"UTC\" or an offset from -14:00 to \
        +14:00 such as \"+02:00\": named zones change theirs";
    assert_eq!(problems("zone = \"Europe/Berlin\""), [expected]);
}

#[test]
fn directories_of_seconds_want_rounding_and_rounding_divides_a_day() {
    let short =
        "spangate.toml:3:8: drain.a.path: each directory would last 1s: with round = \"1m\" or more it lasts longer";
    assert_eq!(problems("path = \"%H%M%S\""), [short]);
    assert_eq!(dirs("[drain.archive]\narchive = \"file:///a\"\npath = \"%H%M%S\"\nround = \"1m\""), ["060700/"]);
    for odd in ["7m", "84375ms"] {
        let expected = format!("spangate.toml:3:9: drain.a.round: {odd} is no part of a day in whole seconds");
        assert_eq!(problems(&format!("round = \"{odd}\"")), [expected]);
    }
    let bounds = "expected \"none\" or a time from 1m to 1d, such as \"20ms\", \"5s\", \"1m\"";
    assert_eq!(problems("round = \"30s\""), [format!("spangate.toml:3:9: drain.a.round: found \"30s\", {bounds}")]);
}

#[test]
fn the_built_in_archive_has_no_directories() {
    let expected = "spangate.toml:2:8: drain.archive.path: is for what you name yourself: builtin is one directory, so that \
        zcat DATA/archive/*.gz finds all";
    assert_eq!(Case::file("[drain.archive]\npath = \"%Y\"\n").problems(), [expected]);
}

#[test]
fn two_archives_do_not_share_a_place_whatever_their_paths() {
    let drains = |a: &str, b: &str| {
        format!(
            "[drain.a]\narchive = \"{a}\"\npath = \"a/%Y\"\n[drain.archive]\narchive = \"none\"\n[drain.b]\narchive = \"{b}\"\n"
        )
    };
    for (a, b) in [
        ("file:///bulk", "file:///bulk"),
        ("file:///bulk", "file:///bulk//"),
        ("file:///bulk/./x", "file:///bulk/x"),
        ("file:///bulk", "file:///bulk/a"),
        ("file:///bulk/a", "file:///bulk"),
    ] {
        let expected = format!(
            "spangate.toml:6:8: drain.b.archive: drain a writes to {a}, and both name objects by channel and positions, \
             whatever the path: give each its own place, none within the other"
        );
        assert_eq!(Case::file(&drains(a, b)).problems(), [expected], "{a} and {b}");
    }
    assert_eq!(dirs(&drains("file:///bulk", "file:///bulky")).len(), 2);
    let around = "spangate.toml:2:11: drain.archive.archive: /home holds the data directory; use a directory beside it";
    assert_eq!(Case::file("[drain.archive]\narchive = \"file:///home\"\n").problems(), [around]);
}
