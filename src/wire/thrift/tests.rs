//! The cursor on every type, cut and changed everywhere.

use super::*;

/// Every type once, nested in a struct: what a later version of a format may add.
const EVERY_TYPE: &[u8] = &[
    2, 0, 1, 1, // bool
    3, 0, 2, 7, // byte
    4, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, // double
    6, 0, 4, 0, 1, // i16
    8, 0, 5, 0, 0, 0, 1, // i32
    10, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1, // i64
    11, 0, 7, 0, 0, 0, 2, b'h', b'i', // string
    12, 0, 8, 12, 0, 9, 0, 0, // struct in struct
    13, 0, 10, 8, 11, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, b'x', // map<i32, string>
    14, 0, 11, 3, 0, 0, 0, 2, 1, 2, // set<byte>
    15, 0, 12, 12, 0, 0, 0, 2, 0, 2, 0, 1, 1, 0, // list<struct>
    1, 0, 13, // a type that does not exist has no bytes
    0,
];

#[test]
fn every_type_is_skipped_to_its_last_byte() {
    let mut cursor = Cursor::new(EVERY_TYPE);
    cursor.skip(kind::STRUCT, 8).unwrap();
    assert_eq!(cursor.remaining(), 0);
}

#[test]
fn a_struct_cut_anywhere_is_truncated() {
    for cut in 0..EVERY_TYPE.len() {
        let error = Cursor::new(&EVERY_TYPE[..cut]).skip(kind::STRUCT, 8).unwrap_err();
        assert!(matches!(error.fault, Fault::Truncated { .. }), "cut at {cut}: {error}");
        assert!(error.offset <= cut, "cut at {cut}: {error}");
    }
}

#[test]
fn any_flipped_byte_is_an_error_or_another_value_but_never_a_panic() {
    let mut bytes = EVERY_TYPE.to_vec();
    for at in 0..bytes.len() {
        let original = bytes[at];
        for value in 0..=255 {
            bytes[at] = value;
            let mut cursor = Cursor::new(&bytes);
            let _ = cursor.skip(kind::STRUCT, 8);
            assert!(cursor.offset() <= bytes.len());
        }
        bytes[at] = original;
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = [12u8, 0, 1].repeat(100_000);
    let error = Cursor::new(&nested).skip(kind::STRUCT, 64).unwrap_err();
    assert_eq!(error.fault, Fault::TooDeep { limit: 64 });
    let lists = [15u8, 0, 0, 0, 1].repeat(100_000);
    assert_eq!(Cursor::new(&lists).skip(kind::LIST, 64).unwrap_err().fault, Fault::TooDeep { limit: 64 });
    assert!(Cursor::new(&[12, 0, 1, 0, 0]).skip(kind::STRUCT, 2).is_ok());
    assert!(Cursor::new(&[12, 0, 1, 0, 0]).skip(kind::STRUCT, 1).is_err());
}

#[test]
fn a_count_that_its_bytes_cannot_hold_is_refused_at_once() {
    for (element, bytes) in [(kind::STRUCT, 100), (kind::I64, 80), (kind::BOOL, 0)] {
        let mut claim = vec![element, 0x7f, 0xff, 0xff, 0xff];
        claim.resize(5 + bytes, 0);
        let error = Cursor::new(&claim).list().unwrap_err();
        assert_eq!(error.fault, Fault::Truncated { wanted: 0x7fff_ffff, available: bytes });
        assert_eq!(error.to_string(), format!("Truncated: length 2147483647 > bytes available {bytes} at byte 5"));
    }
}

#[test]
fn elements_without_bytes_are_not_counted_out() {
    let mut list = Cursor::new(&[1, 0x7f, 0xff, 0xff, 0xff]);
    list.skip(kind::LIST, 8).unwrap();
    let mut map = Cursor::new(&[1, 0, 0x7f, 0xff, 0xff, 0xff]);
    map.skip(kind::MAP, 8).unwrap();
    assert_eq!((list.remaining(), map.remaining()), (0, 0));
}

#[test]
fn a_negative_count_is_an_empty_list_and_a_negative_length_an_error() {
    assert_eq!(Cursor::new(&[12, 0xff, 0xff, 0xff, 0xff]).list(), Ok((12, 0)));
    let error = Cursor::new(&[0xff, 0xff, 0xff, 0xfe]).string().unwrap_err();
    assert_eq!((error.offset, error.fault), (4, Fault::NegativeLength(-2)));
}
