//! Java's table, and the `base64` crate as an oracle.

use super::*;
use ::base64::Engine;
use ::base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use proptest::prelude::*;

fn decoded(text: &str) -> Result<Vec<u8>, Base64Error> {
    let mut out = vec![0xee; 7];
    decode(text.as_bytes(), &mut out).map(|()| out)
}

#[test]
fn what_javas_mime_decoder_takes_is_taken() {
    let cases: [(&str, &[u8]); 14] = [
        ("", b""),
        ("CgABAAA=", &[10, 0, 1, 0, 0]),
        ("CgABAAA", &[10, 0, 1, 0, 0]),
        ("CgABAAA=\n", &[10, 0, 1, 0, 0]),
        ("CgAB\r\nAAA=", &[10, 0, 1, 0, 0]),
        ("C gA!B AAA=", &[10, 0, 1, 0, 0]),
        ("\nCgABAAA=", &[10, 0, 1, 0, 0]),
        ("CgABAA==", &[10, 0, 1, 0]),
        ("CgABAA== \r\n!", &[10, 0, 1, 0]),
        ("CgABAA====", &[10, 0, 1, 0]),
        ("AA", &[0]),
        ("!!!", b""),
        ("CgAB", &[10, 0, 1]),
        ("/+8=", &[0xff, 0xef]),
    ];
    for (text, bytes) in cases {
        assert_eq!(decoded(text).as_deref(), Ok(bytes), "{text:?}");
    }
}

#[test]
fn what_it_refuses_is_refused_with_the_position() {
    use Base64Error::{AfterPadding, Dangling, Padding};
    let cases = [
        ("A", Dangling { position: 0 }),
        ("notbase64", Dangling { position: 8 }),
        ("CgABA=", Dangling { position: 4 }),
        ("=", Padding { position: 0 }),
        ("====", Padding { position: 0 }),
        ("CgABAA=", Padding { position: 6 }),
        ("CgABAA=x", Padding { position: 6 }),
        ("CgABAAA=AAAA", AfterPadding { position: 8 }),
        ("CgABAAA=garbage!", AfterPadding { position: 8 }),
        ("CgABAAA= \nA", AfterPadding { position: 10 }),
    ];
    for (text, error) in cases {
        assert_eq!(decoded(text), Err(error), "{text:?}");
        assert!(error.to_string().contains(&error.position().to_string()));
    }
}

#[test]
fn the_url_safe_alphabet_is_read_where_java_would_drop_it() {
    assert_eq!(decoded("CgAB-_AA"), STANDARD.decode("CgAB+/AA").map_err(|_| unreachable!()));
    assert_eq!(decoded("_-8="), Ok(vec![0xff, 0xef]));
}

proptest! {
    #[test]
    fn whatever_was_encoded_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..200), column in 1usize..80) {
        for text in [STANDARD.encode(&bytes), STANDARD_NO_PAD.encode(&bytes), URL_SAFE.encode(&bytes)] {
            prop_assert_eq!(decoded(&text), Ok(bytes.clone()));
            let lines: Vec<_> = text.as_bytes().chunks(column).map(|line| std::str::from_utf8(line).unwrap()).collect();
            // A break between two padding characters is refused by Java, and so here.
            if !text.ends_with("==") || !lines.last().unwrap().eq(&"=") {
                prop_assert_eq!(decoded(&lines.join("\r\n")), Ok(bytes.clone()));
            }
        }
    }

    #[test]
    fn what_is_encoded_is_what_the_oracle_encodes_and_goes_behind_what_was_there(
        bytes in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut out = b"before".to_vec();
        encode(&bytes, &mut out);
        prop_assert_eq!(String::from_utf8(out).unwrap(), format!("before{}", STANDARD.encode(&bytes)));
    }

    #[test]
    fn both_paths_agree_and_none_panics(text in "[A-Za-z0-9+/=_\\- \n!é]{0,40}") {
        let mut lenient = Vec::new();
        let expected = decode_lenient(text.as_bytes(), &mut lenient).map(|()| lenient);
        prop_assert_eq!(decoded(&text), expected);
    }
}
