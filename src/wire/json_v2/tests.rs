use super::*;
use crate::span::canonical;

fn decoded(body: &str) -> Batch {
    let mut batch = Batch::default();
    decode(body.as_bytes(), &Limits::default(), &mut batch).unwrap();
    batch
}

#[test]
fn whole_numbers_are_read_alike_however_long_they_are() {
    let with = |timestamp: &str| decoded(&format!(r#"[{{"traceId":"1","id":"2","timestamp":{timestamp}}}]"#));
    for digits in 1..=19 {
        let plain = "123456789123456789"[..digits.min(18)].to_owned() + if digits == 19 { "1" } else { "" };
        assert_eq!(with(&plain), with(&format!("\"{plain}\"")), "{plain}");
        assert_eq!(with(&plain), with(&format!("{plain} ")), "{plain}");
    }
}

#[test]
fn an_escape_at_any_place_of_a_text_is_found() {
    for before in 0..20 {
        for after in 0..20 {
            let (before, after) = ("é".repeat(before), "x".repeat(after));
            let escaped = decoded(&format!(r#"[{{"traceId":"1","id":"2","name":"{before}\u0022{after}"}}]"#));
            let quoted = decoded(&format!(r#"[{{"traceId":"1","id":"2","name":"{before}\"{after}"}}]"#));
            assert_eq!(escaped, quoted);
            let span = canonical::read(canonical::span_bytes(&quoted.body).unwrap()).unwrap();
            assert_eq!(span.name.unwrap(), format!("{before}\"{after}"));
        }
    }
}

#[test]
fn a_list_of_several_pieces_is_one_list() {
    let (one, two) =
        (decoded(r#"[{"traceId":"1","id":"2"}]"#), decoded(r#"[{"traceId":"1","id":"3","name":"\u0001"}]"#));
    let mut out = b"before".to_vec();
    encode_list([&one.body[..], &[], &two.body], &mut out).unwrap();
    let ids = ["0000000000000001", "0000000000000002", "0000000000000003"];
    let [trace, first, second] = ids;
    let expected = format!(
        r#"before[{{"traceId":"{trace}","id":"{first}"}},{{"traceId":"{trace}","id":"{second}","name":"\u0001"}}]"#
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_piece_that_is_not_canonical_writes_nothing() {
    let one = decoded(r#"[{"traceId":"1","id":"2"}]"#);
    let mut out = b"before".to_vec();
    assert!(encode_list([&one.body[..], &one.body[1..]], &mut out).is_err());
    assert!(encode_span(&one.body, &mut out).is_err());
    assert_eq!(out, b"before");
}
