//! The admin port over real sockets: who may read, who may change something, and what an action does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use spangate::admin::{self, Action, Asked, Done, Door, Handles, Report, StatusCode};
use spangate::tasks::Tasks;
use tokio::sync::Notify;

use crate::support::http::Client;
use crate::support::process::wait_for;

const LIMIT: Duration = Duration::from_secs(30);
const OURS: (&str, &str) = ("spangate-admin", "1");

/// An admin port whose `POST /count` says what it was asked and then counts.
struct Port {
    port: u16,
    counted: Arc<AtomicUsize>,
    /// The action waits for one of these each time it is asked to `wait`.
    go: Arc<Notify>,
    _tasks: Tasks,
}

async fn start() -> Port {
    let settings = admin::Settings { addresses: vec!["127.0.0.1:0".parse().unwrap()], token_file: None };
    let bound = admin::bind(&settings).await.expect("a free port");
    let (counted, go, tasks) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()), Tasks::new());
    let (counter, waits) = (counted.clone(), go.clone());
    let count = Action::new("/count", move |Asked { query, body }| {
        let (counter, waits) = (counter.clone(), waits.clone());
        async move {
            assert_ne!(query, "panic", "as it was told");
            if query == "wait" {
                waits.notified().await;
            }
            counter.fetch_add(1, Ordering::SeqCst);
            Done { status: StatusCode::ACCEPTED, text: format!("{query}, {} bytes\n", body.len()) }
        }
    });
    let report = || Report { ok: true, body: "{}".into() };
    let handles = Handles {
        metrics: Arc::new(|| "x 1\n".to_owned()),
        health: Arc::new(report),
        ready: Arc::new(report),
        actions: vec![count],
        door: Door::default(),
    };
    let port = bound.addresses()[0].port();
    bound.serve(&handles, &tasks);
    Port { port, counted, go, _tasks: tasks }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_carried_out_for_who_may_and_for_nobody_else() {
    let port = start().await;
    let mut client = Client::new(port.port);
    let answer = client.request("POST", "/count?a=b", &[OURS], b"three").unwrap();
    assert_eq!((answer.status, &*answer.text()), (202, "a=b, 5 bytes\n"));
    let refused = client.request("POST", "/count", &[], b"").unwrap();
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("spangate-admin: 1"), "{}", refused.text());
    assert_eq!(client.request("POST", "/count", &[OURS, ("origin", "http://evil.test")], b"").unwrap().status, 403);
    let got = client.request("GET", "/count", &[OURS], b"").unwrap();
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    // What a browser asks before it sends the header to another site.
    let preflight = [("origin", "http://evil.test"), ("access-control-request-headers", "spangate-admin")];
    let answer = client.request("OPTIONS", "/count", &preflight, b"").unwrap();
    assert_eq!(answer.status, 405);
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control")), "{:?}", answer.headers);
    assert_eq!(port.counted.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_and_a_path_that_is_unknown_lists_what_there_is() {
    let port = start().await;
    let mut client = Client::new(port.port);
    assert_eq!(client.request("POST", "/count", &[OURS], &vec![b'x'; 64 << 10]).unwrap().status, 202);
    assert_eq!(
        Client::new(port.port).request("POST", "/count", &[OURS], &vec![b'x'; (64 << 10) + 1]).unwrap().status,
        413
    );
    let unknown = client.get("/no/such").unwrap();
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("/metrics") && unknown.text().contains("POST /count"), "{}", unknown.text());
    assert_eq!(client.get("/metrics").unwrap().text(), "x 1\n");
    assert_eq!(port.counted.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_began_ends_though_its_peer_is_gone() {
    let port = start().await;
    let mut peer = TcpStream::connect(("127.0.0.1", port.port)).unwrap();
    peer.write_all(b"POST /count?wait HTTP/1.1\r\nhost: x\r\nspangate-admin: 1\r\ncontent-length: 0\r\n\r\n").unwrap();
    wait_for("the action waits", LIMIT, || (Arc::strong_count(&port.go) > 2).then_some(()));
    // Its connection is closed at once, unanswered, and with it whoever served it is gone.
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
    port.go.notify_one();
    wait_for("it was counted", LIMIT, || (port.counted.load(Ordering::SeqCst) == 1).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_panics_is_answered_as_a_fault_of_ours_and_costs_itself_only() {
    let port = start().await;
    let mut client = Client::new(port.port);
    assert_eq!(client.request("POST", "/count?panic", &[OURS], b"").unwrap().status, 500);
    assert_eq!(client.request("POST", "/count", &[OURS], b"").unwrap().status, 202);
}
