use super::*;

pub(in crate::archive) fn object() -> Object {
    Object {
        channel: "0123456789abcdef0123456789abcdef".into(),
        partition: 0,
        first: 7,
        last: 1_000_006,
        spans: 999_999,
        bytes: 123_456_789,
    }
}

#[test]
fn the_name_sorts_by_position() {
    let small = object();
    let large = Object { first: 10_000_000_000, last: 20_000_000_000, ..object() };
    assert_eq!(
        small.name("jsonl.gz"),
        "0123456789abcdef0123456789abcdef-0-00000000000000000007-00000000000001000006.jsonl.gz"
    );
    assert!(small.name("jsonl.gz") < large.name("jsonl.gz"));
}

#[test]
fn the_largest_position_fits_the_width() {
    let object = Object { first: u64::MAX, last: u64::MAX, ..object() };
    let name = object.name("jsonl.gz");
    let parsed = ObjectName::parse(&name, "jsonl.gz").unwrap();
    assert_eq!((parsed.first, parsed.last), (u64::MAX, u64::MAX));
}

#[test]
fn the_text_comes_back_as_the_object() {
    assert_eq!(object().to_string().parse(), Ok(object()));
}

#[test]
fn a_text_of_another_version_is_refused_by_name() {
    let text = object().to_string().replace("spangate/1", "spangate/2");
    assert_eq!(text.parse::<Object>(), Err(ObjectError::Version { found: "spangate/2".into() }));
}

#[test]
fn a_text_cut_at_any_byte_is_refused_or_is_another_object() {
    let text = object().to_string();
    for end in 0..text.len() {
        assert_ne!(text[..end].parse(), Ok(object()), "cut at {end}");
    }
}

#[test]
fn a_wrong_field_is_named() {
    let text = object().to_string().replace("last=1000006", "last=x");
    let error = text.parse::<Object>().unwrap_err();
    assert_eq!(error.to_string(), "field last is \"x\", expected a decimal number");
    let backwards = object().to_string().replace("last=1000006", "last=6");
    let error = backwards.parse::<Object>().unwrap_err();
    assert_eq!(error.to_string(), "field last is \"6\", expected a position from first on");
    let more = format!("{} more=1", object());
    assert!(more.parse::<Object>().is_err());
}

#[test]
fn only_names_that_an_archive_gives_are_parsed() {
    let name = object().name("jsonl.gz");
    assert_eq!(
        ObjectName::parse(&name, "jsonl.gz").map(|n| (n.channel, n.partition, n.first, n.last)),
        Some((object().channel, 0, 7, 1_000_006))
    );
    let strangers = [
        String::new(),
        "notes.jsonl.gz".into(),
        name.replace("jsonl", "parquet"),
        name.replace(".jsonl", "-1.jsonl"),
        name.replace("00000000000000000007", "7"),
        name.to_uppercase(),
        name.replace("-0000", "-+000"),
        format!("{name}.tmp"),
        Object { first: 8, last: 7, ..object() }.name("jsonl.gz"),
        "a-b-c-d.jsonl.gz".into(),
    ];
    for stranger in strangers {
        assert_eq!(ObjectName::parse(&stranger, "jsonl.gz"), None, "{stranger}");
    }
}

#[test]
fn a_long_name_says_all_and_nothing_else_is_one() {
    let name = object().long_name("jsonl");
    assert_eq!(Object::from_long_name(&name, "jsonl"), Some(object()));
    for cut in 0..name.len() {
        assert_eq!(Object::from_long_name(&name[..cut], "jsonl"), None, "cut at {cut}");
    }
    for stranger in [object().name("jsonl"), name.replace("-0000", "-+000"), name.replace(".jsonl", "-7.jsonl")] {
        assert_eq!(Object::from_long_name(&stranger, "jsonl"), None, "{stranger}");
    }
    let backwards = Object { first: 8, last: 7, ..object() };
    assert_eq!(Object::from_long_name(&backwards.long_name("jsonl"), "jsonl"), None);
}

#[test]
fn a_number_with_zeros_before_it_is_in_no_name_and_no_text() {
    let (name, long, text) = (object().name("parquet"), object().long_name("jsonl"), object().to_string());
    assert_eq!(ObjectName::parse(&name.replace("-0-", "-000-"), "parquet"), None);
    for (plain, padded) in [("-0-", "-00-"), ("-999999-", "-0999999-"), ("-123456789.", "-0123456789.")] {
        assert_eq!(Object::from_long_name(&long.replace(plain, padded), "jsonl"), None, "{padded}");
    }
    for (plain, padded) in [("partition=0", "partition=00"), ("first=7", "first=07"), ("spans=", "spans=0")] {
        assert!(text.replace(plain, padded).parse::<Object>().is_err(), "{padded}");
    }
}
