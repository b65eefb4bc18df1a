use proptest::prelude::*;

use super::*;

#[test]
fn a_plain_word_stands_as_it_is_and_others_are_escaped_as_hive_does() {
    for (word, form) in [
        ("checkout", "checkout"),
        ("my-service_2.eu", "my-service_2.eu"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "%3A%3A1"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("_spangate", "%5Fspangate"),
        ("a=b c", "a%3Db%20c"),
        ("a\nb\0", "a%0Ab%00"),
        ("é", "%C3%A9"),
        ("100%", "100%25"),
        ("a~b", "a%7Eb"),
        ("{first}", "%7Bfirst%7D"),
        ("", "none"),
    ] {
        assert_eq!(sanitised(word), form, "{word:?}");
    }
}

#[test]
fn a_long_word_is_cut_between_escapes_and_told_from_its_like() {
    let fits = "s".repeat(VALUE_BYTES_MAX);
    assert_eq!(sanitised(&fits), fits);
    let (long, longer) = ("s".repeat(VALUE_BYTES_MAX + 1), "s".repeat(VALUE_BYTES_MAX + 2));
    assert_eq!(sanitised(&long).len(), VALUE_BYTES_MAX);
    assert_ne!(sanitised(&long), sanitised(&longer));
    let cut = sanitised(&"é".repeat(100));
    let (before, checksum) = cut.rsplit_once('~').unwrap();
    assert_eq!((before, checksum.len()), (&"%C3%A9".repeat(9)[..54], 8));
}

proptest! {
    #[test]
    fn whatever_a_peer_chose_is_one_clean_bounded_name(word in any::<String>()) {
        let form = sanitised(&word);
        prop_assert!(is_form(&form), "{form:?} of {word:?}");
        prop_assert!(form != "." && form != ".." && !form.contains('/'));
        let escapes: Vec<_> = form.split('%').skip(1).map(|rest| rest.get(..2)).collect();
        prop_assert!(escapes.iter().all(|hex| hex.is_some_and(|hex| u8::from_str_radix(hex, 16).is_ok())), "{form:?}");
    }

    #[test]
    fn two_words_have_two_forms(one in "[a-c./_%=~é]{0,30}", other in "[a-c./_%=~é]{0,30}") {
        prop_assert_eq!(one == other, sanitised(&one) == sanitised(&other));
    }
}
