use proptest::prelude::*;

use super::*;

const CHANNEL: &str = "0123456789abcdef0123456789abcdef";
/// 2026-11-21 06:07:08.9 UTC, a Saturday.
const NOVEMBER: u64 = 1_795_241_228_900_000;

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

/// What a template gives at so many seconds.
fn at(text: &str, seconds: u64) -> String {
    template(text).dir(seconds * 1_000_000, CHANNEL)
}

fn zoned(text: &str, zone: &str, round_minutes: u64) -> Template {
    let round = (round_minutes > 0).then(|| Duration::from_secs(round_minutes * 60));
    template(text).in_zone(zone.parse().unwrap()).rounded(round)
}

fn refused(text: &str) -> String {
    Template::parse(text).expect_err(text).to_string()
}

#[test]
fn the_default_of_a_named_store_is_a_hive_partition_by_day_and_hour() {
    assert_eq!(template("dt=%Y-%m-%d/hour=%H/").dir(NOVEMBER, CHANNEL), "dt=2026-11-21/hour=06/");
    assert_eq!(template("dt=%Y-%m-%d/hour=%H").dir(NOVEMBER, CHANNEL), "dt=2026-11-21/hour=06/");
    assert_eq!(template("").dir(NOVEMBER, CHANNEL), "");
    assert_eq!(Template::default().dir(NOVEMBER, CHANNEL), "");
}

#[test]
fn every_escape_is_written_as_flume_writes_it() {
    let all = [
        ("%Y", "2026"),
        ("%y", "26"),
        ("%m", "11"),
        ("%n", "11"),
        ("%B", "November"),
        ("%b", "Nov"),
        ("%d", "21"),
        ("%e", "21"),
        ("%j", "325"),
        ("%A", "Saturday"),
        ("%a", "Sat"),
        ("%H", "06"),
        ("%k", "6"),
        ("%I", "06"),
        ("%l", "6"),
        ("%p", "AM"),
        ("%M", "07"),
        ("%S", "08"),
        ("%s", "1795241228"),
        ("%z", "+0000"),
        ("%D", "11/21/26"),
        ("%%", "%"),
        ("x{channel}", "x0123456789abcdef0123456789abcdef"),
        ("%{channel}", CHANNEL),
    ];
    for (text, expected) in all {
        assert_eq!(template(text).dir(NOVEMBER, CHANNEL), format!("{expected}/"), "{text}");
    }
    let letters: Vec<char> = all.iter().filter_map(|(text, _)| text.chars().nth(1)).collect();
    assert!(ESCAPES.iter().all(|escape| letters.contains(&escape.letter)), "an escape without its case");
}

#[test]
fn unpadded_and_twelve_hour_escapes_are_those_of_a_clock() {
    // 2026-01-02, at midnight, one, noon, eleven in the evening.
    let midnight = 1_767_312_000;
    let written: Vec<String> = [0, 1, 12, 23].map(|h| at("%k-%I%l%p-%e-%n", midnight + h * 3600)).into();
    assert_eq!(written, ["0-1212AM-2-1/", "1-011AM-2-1/", "12-1212PM-2-1/", "23-1111PM-2-1/"]);
}

#[test]
fn leap_days_and_the_ends_of_years_are_counted() {
    let days = [
        (951_782_399, "2000-02-28 059 Mon"),
        (951_782_400, "2000-02-29 060 Tue"),
        (951_868_800, "2000-03-01 061 Wed"),
        (978_220_800, "2000-12-31 366 Sun"),
        (978_307_200, "2001-01-01 001 Mon"),
        (1_709_251_199, "2024-02-29 060 Thu"),
        (4_107_456_000, "2100-02-28 059 Sun"),
        (4_107_542_400, "2100-03-01 060 Mon"),
        (0, "1970-01-01 001 Thu"),
    ];
    for (seconds, expected) in days {
        assert_eq!(at("%Y-%m-%d,%j,%a", seconds), format!("{}/", expected.replace(' ', ",")), "{seconds}");
    }
}

#[test]
fn a_clock_that_is_beyond_all_years_has_four_digits() {
    assert_eq!(template("%Y-%m-%d-%H%M%S").dir(u64::MAX, CHANNEL), "9999-12-31-235959/");
    let east = zoned("%Y-%m-%d-%s", "+14:00", 0);
    assert_eq!(east.dir(u64::MAX, CHANNEL), "9999-12-31-253402250399/");
    assert_eq!(zoned("%Y-%H", "-14:00", 0).dir(0, CHANNEL), "1970-00/", "before the epoch there is nothing");
}

#[test]
fn a_zone_moves_days_and_hours_and_its_midnight_the_rounding() {
    let path = "%Y-%m-%dT%H%M%z";
    for (zone, expected) in [
        ("UTC", "2026-11-21T0607+0000/"),
        ("+00:00", "2026-11-21T0607+0000/"),
        ("+05:45", "2026-11-21T1152+0545/"),
        ("-06:30", "2026-11-20T2337-0630/"),
        ("+14:00", "2026-11-21T2007+1400/"),
    ] {
        assert_eq!(zoned(path, zone, 0).dir(NOVEMBER, CHANNEL), expected, "{zone}");
    }
    assert_eq!(zoned("%d-%H%M", "-06:30", 12 * 60).dir(NOVEMBER, CHANNEL), "20-1200/");
    assert_eq!(zoned("%s", "-06:30", 24 * 60).dir(NOVEMBER, CHANNEL), "1795156200/", "its midnight, as seconds of UTC");
}

#[test]
fn rounding_goes_down_to_a_multiple() {
    for (minutes, expected) in [(0, "060708"), (1, "060700"), (5, "060500"), (90, "060000"), (120, "060000")] {
        assert_eq!(zoned("%H%M%S", "UTC", minutes).dir(NOVEMBER, CHANNEL), format!("{expected}/"), "{minutes}");
    }
    assert_eq!(zoned("%H", "UTC", 4 * 60).dir(NOVEMBER, CHANNEL), "04/");
}

#[test]
fn a_directory_lasts_as_long_as_its_finest_escape_or_its_rounding() {
    let lasts = |text: &str, minutes| zoned(text, "UTC", minutes).lasts().map(|lasts| lasts.as_secs());
    assert_eq!(lasts("%Y/%j", 0), Some(86_400));
    assert_eq!(lasts("%Y/%H", 0), Some(3600));
    assert_eq!((lasts("%H%M", 0), lasts("%H%M", 10)), (Some(60), Some(600)));
    assert_eq!((lasts("%H%M%S", 0), lasts("%s", 1)), (Some(1), Some(60)));
    assert_eq!((lasts("a/{channel}/%z", 0), lasts("", 10)), (None, None));
}

#[test]
fn an_unknown_escape_is_refused_with_its_place_and_the_known_ones() {
    assert_eq!(
        refused("dt=%Q/"),
        "at character 4, %Q is none of %Y %y %m %n %B %b %d %e %j %A %a %H %k %I %l %p %M %S %s %z %D and %%"
    );
    assert!(refused("%Y/%").starts_with("at character 4, % is none of "));
    assert!(refused("%t").starts_with("at character 1, %t is none of "));
    assert!(refused("%é").starts_with("at character 1, %é is none of "));
}

#[test]
fn what_a_peer_chose_is_refused_as_not_in_this_version() {
    for (text, at, found) in [
        ("{service}/%Y", 1, "{service}"),
        ("%Y/{peer}", 4, "{peer}"),
        ("%{category}", 1, "%{category}"),
        ("a/%{any header}/b", 3, "%{any header}"),
        ("%[localhost]", 1, "%[localhost]"),
        ("{first}", 1, "{first}"),
    ] {
        let expected = format!(
            "at character {at}, {found} is not in this version, whose paths are made of time and {{channel}} alone"
        );
        assert_eq!(refused(text), expected);
    }
    assert_eq!(refused("{zone}"), "at character 1, {zone} is not known; {channel} is");
    assert_eq!(refused("a{channel"), "at character 2, {channel is not known; {channel} is");
    assert_eq!(refused("{é"), "at character 1, {é is not known; {channel} is");
}

#[test]
fn a_hostile_template_is_refused_by_name() {
    for text in ["/abs", "//", "a//b", "dt=%Y//"] {
        assert!(matches!(Template::parse(text), Err(PathError::Empty { .. })), "{text}");
    }
    for text in ["..", "../x", "a/../b", "a/./b", ".hidden", "_spangate/x", "%Y/_x"] {
        assert!(matches!(Template::parse(text), Err(PathError::Hidden { .. })), "{text}");
    }
    for text in ["a b", "a\0", "a\nname x", "a\\b", "a:b", "a*", "a?", "[a]", "a}", "é", "a\u{202e}b"] {
        assert!(matches!(Template::parse(text), Err(PathError::Character { .. })), "{text}");
    }
}

#[test]
fn a_template_is_bounded_in_length_and_depth() {
    assert!(Template::parse(&"a".repeat(BYTES_MAX - 1)).is_ok());
    assert_eq!(Template::parse(&"a".repeat(BYTES_MAX)), Err(PathError::Long));
    assert!(Template::parse(&"%A".repeat(14)).is_ok());
    assert_eq!(Template::parse(&"%A".repeat(15)), Err(PathError::Long));
    assert_eq!(Template::parse(&"{channel}".repeat(4)), Err(PathError::Long));
    assert!(Template::parse(&"a/".repeat(DEPTH_MAX)).is_ok());
    assert_eq!(Template::parse(&"a/".repeat(DEPTH_MAX + 1)), Err(PathError::Deep));
}

#[test]
fn a_zone_is_utc_or_an_offset() {
    for zone in ["UTC", "+00:00", "-00:00", "+02:00", "-12:00", "+05:45", "+14:00"] {
        assert!(zone.parse::<Zone>().is_ok(), "{zone}");
    }
    for zone in
        ["", "utc", "Z", "Europe/Berlin", "CET", "+2", "+2:00", "+0200", "02:00", "+14:01", "+02:60", "+02:0é", "é"]
    {
        assert_eq!(zone.parse::<Zone>(), Err(NoZone), "{zone}");
    }
}

proptest! {
    #[test]
    fn whatever_is_typed_and_whatever_the_clock_says_a_path_is_clean_and_bounded(
        pieces in prop::collection::vec(
            prop_oneof!["%[%a-zA-Z]", "[a-z./_=-]", "[{}%]{1,2}", Just("{channel}".to_owned()), "[/a]", any::<char>().prop_map(String::from)],
            0..8,
        ),
        us in any::<u64>(),
        round in prop_oneof![Just(0u64), Just(10), Just(1440)],
    ) {
        let text = pieces.concat();
        if let Ok(template) = Template::parse(&text) {
            let template = template.in_zone("-09:30".parse().unwrap()).rounded((round > 0).then(|| Duration::from_secs(round * 60)));
            let dir = template.dir(us, CHANNEL);
            prop_assert!(dir.len() <= BYTES_MAX);
            prop_assert!(dir.is_empty() || dir.ends_with('/'));
            prop_assert!(is_clean(&format!("{dir}x")), "{dir:?} of {text:?}");
        }
    }

    #[test]
    fn times_of_one_directory_follow_each_other(us in 0..4_000_000_000_000_000u64, later in 0..10_000_000_000u64) {
        let path = zoned("%Y-%m-%d/%H%M", "+02:00", 10);
        let (dir, after) = (path.dir(us, CHANNEL), path.dir(us + later, CHANNEL));
        prop_assert!(dir <= after);
        prop_assert_eq!(dir == after, (us / 600_000_000) == ((us + later) / 600_000_000));
    }
}
