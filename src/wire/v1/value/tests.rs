//! Each type's string; Java's doubles.

use super::*;

#[test]
fn each_type_has_its_string() {
    let cases: [(i32, &[u8], &str); 20] = [
        (kind::STRING, b"text", "text"),
        (kind::STRING, b"", ""),
        (kind::STRING, b"a\xff", "a\u{fffd}"),
        (kind::BOOL, &[1], "true"),
        (kind::BOOL, &[0], "false"),
        (kind::BOOL, &[2], "false"),
        (kind::BYTES, b"", ""),
        (kind::BYTES, &[0xff], "_w=="),
        (kind::BYTES, &[0xff, 0xef], "_-8="),
        (kind::BYTES, &[0, 1, 2], "AAEC"),
        (kind::I16, &[0xff, 0xfb], "-5"),
        (kind::I32, &[0, 0, 0, 7], "7"),
        (kind::I64, &[0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808"),
        (kind::DOUBLE, &[0x40, 0x5e, 0xd3, 0x33, 0x33, 0x33, 0x33, 0x33], "123.3"),
        // What those releases could not read is not lost either.
        (kind::BOOL, b"", ""),
        (kind::I16, &[1], "AQ=="),
        (kind::I32, &[0, 0, 0, 0, 0], "AAAAAAA="),
        (kind::I64, &[0, 0, 0, 7], "AAAABw=="),
        (kind::DOUBLE, b"", ""),
        (7, b"new", "bmV3"),
    ];
    for (kind, value, expected) in cases {
        assert_eq!(text(kind, value), expected, "type {kind}, value {value:?}");
    }
}

#[test]
fn doubles_are_written_as_java_writes_them() {
    let vectors = include_str!("../../../../tests/data/thrift_v1/java_doubles.tsv");
    for line in vectors.lines() {
        let (bits, expected) = line.split_once('\t').unwrap();
        let value = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        assert_eq!(java_double(value), expected, "{bits}");
    }
    // Where Java 17 wrote more digits than needed, or the shorter of two that are not as near.
    for (value, expected) in [(1e23, "1.0E23"), (2e23, "2.0E23"), (1e-323, "9.9E-324"), (8.41e21, "8.41E21")] {
        assert_eq!(java_double(value), expected);
    }
}
