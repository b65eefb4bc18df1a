use proptest::prelude::*;

use super::time::ESCAPES;
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

fn origin(pairs: &[(&str, &str)]) -> Origin {
    Origin(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn placeholders_are_filled_from_the_span_and_where_it_came_from() {
    let from = origin(&[("listener", "scribe"), ("peer", "10.0.0.1"), ("category", "zipkin"), ("zone", "eu/1")]);
    let lane = |text: &str, service| template(text).on_host("gate.example").lane(NOVEMBER, CHANNEL, &from, service);
    for (text, expected) in [
        ("{service}/%H", "checkout/06/"),
        ("%{service}", "checkout/"),
        ("s={service},c=%{category}", "s=checkout,c=zipkin/"),
        ("{peer}/{listener}", "10.0.0.1/scribe/"),
        ("{zone}", "eu%2F1/"),
        ("{host}/{rack}", "gate.example/none/"),
        ("{first}-{last}", "{first}-{last}/"),
    ] {
        assert_eq!(lane(text, Some("checkout")), expected, "{text}");
    }
    assert_eq!(lane("s={service}", None), "s=none/");
    assert_eq!(lane("{service}", Some("../x")), "%2E.%2Fx/");
    assert!(!template("%H/{host}/{channel}/{first}").is_per_span());
    assert!(
        ["{service}", "{peer}", "%{category}", "{listener}", "{zone}"].iter().all(|text| template(text).is_per_span())
    );
    assert_eq!(template("{zone}/{service}/%{rack}").labels().collect::<Vec<_>>(), ["zone", "rack"]);
}

#[test]
fn positions_are_filled_in_when_an_object_is_planned() {
    let expected = "00000000000000000007/x-18446744073709551614/";
    assert_eq!(super::at("{first}/x-{last}/", 7, u64::MAX - 1), expected);
    assert_eq!(super::at("a%7Bfirst%7D/", 7, 8), "a%7Bfirst%7D/");
}

#[test]
fn a_host_is_that_of_the_first_word_and_of_those_alone_who_ask_for_it() {
    let on = |text: &str, host: &str| template(text).on_host(host);
    assert_eq!(on("{host}", "a").on_host("b"), on("{host}", "a"));
    assert_eq!(on("%H", "a"), on("%H", "b"));
    assert_eq!(template("{host}").dir(0, CHANNEL), "none/", "before it is said");
    assert!(!host_name().is_empty());
}

#[test]
fn a_template_comes_back_from_its_line() {
    let plain = template("dt=%Y/%{category}");
    let lines = [
        plain.clone(),
        template("{host}-%H").on_host("a b"),
        plain.clone().in_zone("+05:45".parse().unwrap()),
        plain.clone().by_span_time(true),
        plain.rounded(Some(Duration::from_secs(600))),
    ];
    for template in lines {
        assert_eq!(Template::from_line(&template.to_string()), Some(template));
    }
    for line in [
        "",
        "received",
        "sent UTC 0  %H",
        "received CET 0  %H",
        "received UTC x  %H",
        "received UTC 0 a/b %H",
        "received UTC 0  %Q",
    ] {
        assert_eq!(Template::from_line(line), None, "{line}");
    }
}

#[test]
fn by_the_times_of_spans_a_path_with_a_time_is_of_each_span() {
    for (text, expected) in [("%H", true), ("dt=%Y-%m-%d", true), ("", false), ("{host}/%z", false)] {
        let path = template(text).by_span_time(true);
        assert_eq!((path.is_by_span_time(), path.is_per_span()), (expected, expected), "{text}");
    }
    assert!(!template("{service}").by_span_time(true).is_by_span_time());
    assert!(!template("%H").by_span_time(false).is_per_span());
}

#[test]
fn a_placeholder_that_is_no_name_is_refused_with_those_that_are() {
    let known = "{service} {category} {peer} {listener} {host} {channel} {first} {last}";
    for (text, at, found) in [
        ("a/%{any header}/b", 3, "%{any header}"),
        ("%[localhost]", 1, "%[localhost]"),
        ("a{channel", 2, "{channel"),
        ("{é", 1, "{é"),
        ("{}", 1, "{}"),
        ("{via}", 1, "{via}"),
        ("%Y{a/b}", 3, "{a/"),
    ] {
        assert_eq!(refused(text), format!("at character {at}, {found} is none of {known}, nor a label"));
    }
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
    assert!(Template::parse(&"a".repeat(LANE_BYTES_MAX - 1)).is_ok());
    assert_eq!(Template::parse(&"a".repeat(LANE_BYTES_MAX)), Err(PathError::Long));
    assert!(Template::parse(&"%A".repeat(28)).is_ok());
    assert_eq!(Template::parse(&"%A".repeat(29)), Err(PathError::Long));
    assert!(Template::parse("%Y-%m-%d/{service}/{category}/{peer}").is_ok());
    assert_eq!(Template::parse("{service}/{category}/{peer}/{zone}"), Err(PathError::Long));
    assert_eq!(Template::parse(&"%%".repeat(TEXT_BYTES_MAX / 2 + 1)), Err(PathError::Long));
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
    fn whatever_is_typed_and_whatever_clock_and_peers_say_a_path_is_clean_and_bounded(
        pieces in prop::collection::vec(
            prop_oneof!["%[%a-zA-Z]", "[a-z./_=-]", "[{}%]{1,2}", prop::sample::select(vec!["{channel}", "{host}", "%{service}", "{peer}", "{rack}", "{last}"]).prop_map(String::from), "[/a]", any::<char>().prop_map(String::from)],
            0..8,
        ),
        us in any::<u64>(),
        round in prop_oneof![Just(0u64), Just(10), Just(1440)],
        words in prop::collection::vec(prop_oneof![any::<String>(), "[./_]{0,3}", "\\PC{60,70}"], 4),
    ) {
        let text = pieces.concat();
        if let Ok(template) = Template::parse(&text) {
            let template = template.in_zone("-09:30".parse().unwrap()).rounded((round > 0).then(|| Duration::from_secs(round * 60)));
            let from = origin(&[("peer", &words[0]), ("rack", &words[1])]);
            let dir = template.on_host(&words[2]).lane(us, CHANNEL, &from, Some(&words[3]));
            let dir = super::at(&dir, us, us);
            prop_assert!(dir.len() <= LANE_BYTES_MAX, "{} bytes: {dir:?}", dir.len());
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
