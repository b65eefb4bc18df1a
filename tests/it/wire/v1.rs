//! v1 spans in Thrift: against Zipkin's own codec and the generated parser.

use spangate::span::Batch;
use spangate::wire::Limits;
use spangate::wire::v1::{Options, Scratch, decode_struct};

const DROP: Options = Options { keep_binary_annotations: false };

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the reference codec made of an input: the bytes of a `ListOfSpans`, or its words.
type Verdict<'a> = Result<&'a str, &'a str>;

fn reference() -> impl Iterator<Item = (&'static str, Vec<u8>, Verdict<'static>)> {
    include_str!("../../data/thrift_v1/reference.tsv").lines().map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        let [name, input, verdict, output] = columns[..] else { panic!("four columns: {line}") };
        (name, unhex(input), if verdict == "ok" { Ok(output) } else { Err(output) })
    })
}

#[test]
fn the_reference_codec_says_the_same() {
    let (mut scratch, mut batch, mut wrong) = (Scratch::default(), Batch::default(), Vec::new());
    for (name, input, verdict) in reference() {
        batch.clear();
        let ours = decode_struct(&input, &Limits::default(), &DROP, &mut scratch, &mut batch);
        match (verdict, &ours) {
            (Ok(expected), Ok(_)) if hex(&batch.body) == expected => {}
            (Err(_), Err(_)) => assert_eq!(batch, Batch::default(), "{name}: a refused span left something"),
            _ => wrong.push(format!("{name}: {} expected {verdict:?} got {ours:?} {}", hex(&input), hex(&batch.body))),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
