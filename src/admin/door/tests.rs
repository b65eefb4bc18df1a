//! Every way to be refused, and the two to be let in.

use axum::http::HeaderValue;

use super::*;
use crate::disk::MemoryDisk;

const SECRET: &str = "a-secret-of-22-letters";

fn asked(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

fn status(door: &Door, method: &Method, headers: &[(&'static str, &'static str)], peer: &str) -> u16 {
    let admitted = door.admit(method, &asked(headers), SocketAddr::new(peer.parse().unwrap(), 4000));
    admitted.map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
}

fn written(text: &str) -> Result<Token, String> {
    let disk = MemoryDisk::new();
    let path = Path::new("/token");
    let file = disk.open(path, Open::CreateNew).unwrap();
    file.write_at(&[std::io::IoSlice::new(text.as_bytes())], 0).unwrap();
    Token::read(&disk, path)
}

const OURS: (&str, &str) = (HEADER, "1");

#[test]
fn without_a_token_this_machine_alone_may_change_something() {
    let door = Door::default();
    for peer in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(status(&door, &Method::POST, &[OURS], peer), 200, "{peer}");
    }
    for peer in ["192.0.2.1", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "0.0.0.0"] {
        assert_eq!(status(&door, &Method::POST, &[OURS], peer), 403, "{peer}");
    }
}

#[test]
fn a_request_without_the_header_or_of_a_page_or_of_another_method_changes_nothing() {
    let door = Door::default();
    let of = |method, headers: &[_]| status(&door, &method, headers, "127.0.0.1");
    assert_eq!(of(Method::POST, &[]), 403);
    assert_eq!(of(Method::POST, &[(HEADER, "0")]), 403);
    assert_eq!(of(Method::POST, &[OURS, ("origin", "http://localhost:9412")]), 403);
    assert_eq!(of(Method::POST, &[OURS, ("origin", "null")]), 403);
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        assert_eq!(of(method.clone(), &[OURS]), 405, "{method}");
    }
    let refusal = door.admit(&Method::POST, &HeaderMap::new(), "127.0.0.1:1".parse().unwrap());
    assert!(refusal.unwrap_err().why.contains("spangate-admin: 1"));
}

#[test]
fn with_a_token_whoever_has_it_may_and_this_machine_without_it_may_not() {
    let door = Door::default();
    assert!(door.set(Some(written(SECRET).unwrap())));
    assert!(!door.set(Some(written(SECRET).unwrap())), "it is the same one");
    let of = |headers: &[_], peer| status(&door, &Method::POST, headers, peer);
    for peer in ["127.0.0.1", "192.0.2.1"] {
        assert_eq!(of(&[OURS], peer), 401, "{peer}");
        for wrong in ["Bearer a-secret-of-22-letterz", "Bearer a-secret", "Bearer ", "Bearer", "a-secret-of-22-letters"]
        {
            assert_eq!(of(&[OURS, ("authorization", wrong)], peer), 401, "{wrong}");
        }
        for right in ["Bearer a-secret-of-22-letters", "bearer  a-secret-of-22-letters"] {
            assert_eq!(of(&[OURS, ("authorization", right)], peer), 200, "{right}");
        }
        assert_eq!(
            of(&[("authorization", "Bearer a-secret-of-22-letters")], peer),
            403,
            "the header is still asked for"
        );
    }
    assert!(door.set(None));
    assert_eq!(of(&[OURS], "127.0.0.1"), 200);
}

#[test]
fn a_token_is_one_line_of_sixteen_signs_at_least_and_is_not_shown() {
    let token = written(&format!("  {SECRET}\n")).unwrap();
    assert_eq!(format!("{token:?}"), "Token(..)");
    assert!(token.is(SECRET.as_bytes()));
    assert!(written(&"x".repeat(TOKEN_BYTES_MAX)).is_ok());
    let long = "x".repeat(TOKEN_BYTES_MAX + 1);
    for bad in [
        "",
        "\n",
        "fifteen-letters",
        "a-secret-of-22-letters\nanother",
        "a secret of 22 letters",
        "ä-secret-of-22-letters",
        &*long,
    ] {
        assert!(written(bad).is_err(), "{bad:?}");
    }
    assert!(Token::read(&MemoryDisk::new(), Path::new("/none")).is_err());
}
