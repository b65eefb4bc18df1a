use super::*;

fn answer(status: u16, head: &[(&'static str, &str)], trailers: &[(&'static str, &str)]) -> Answer {
    let fields = |list: &[(&'static str, &str)]| -> HeaderMap {
        list.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    };
    let mut response = Response::builder().status(status).body(()).unwrap();
    *response.headers_mut() = fields(head);
    answer_of(&response, &fields(trailers))
}

#[test]
fn codes_are_told_apart_in_trailers_and_in_a_head_alone() {
    assert_eq!(answer(200, &[], &[("grpc-status", "0")]), Answer::Yes);
    assert_eq!(answer(200, &[("grpc-status", "0")], &[]), Answer::Yes);
    let full = answer(200, &[("grpc-status", "14"), ("grpc-message", "full")], &[]);
    assert_eq!(full, Answer::Later("UNAVAILABLE".into(), None));
    let pushed_back = answer(200, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "70")], &[]);
    assert_eq!(pushed_back, Answer::Later("UNAVAILABLE".into(), Some(Duration::from_millis(70))));
    let bad = answer(200, &[], &[("grpc-status", "3"), ("grpc-message", "id%20is%0aall zeros%zz")]);
    assert_eq!(bad, Answer::No("INVALID_ARGUMENT id is all zeros%zz".into()));
    assert_eq!(answer(200, &[], &[("grpc-status", "13")]), Answer::No("INTERNAL".into()));
    assert_eq!(answer(200, &[], &[("grpc-status", "99")]), Answer::No("99".into()));
}

#[test]
fn whoever_is_no_grpc_is_told_by_what_http_says() {
    assert!(matches!(answer(200, &[], &[]), Answer::No(text) if text.contains("is this a port of gRPC?")));
    assert_eq!(answer(503, &[], &[]), Answer::Later("503".into(), None));
    assert_eq!(answer(404, &[], &[]), Answer::No("404 Not Found".into()));
}
