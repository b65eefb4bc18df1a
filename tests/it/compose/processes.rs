//! What the compose file starts, as plain processes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::stack::{Dockerfile, Stack, strings};
use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{Process, free_port, wait_for};
use crate::support::scribe;

/// Long enough for two busy cores.
const LIMIT: Duration = Duration::from_secs(30);

/// The service `spangate`, its directory, ports and collectors mapped to what a test may have.
struct Service {
    process: Process,
    scribe: u16,
    http: u16,
    admin: u16,
}

impl Service {
    fn start(dir: &Path, collectors: &[&Collector; 2]) -> Service {
        let (stack, dockerfile) = (Stack::read(), Dockerfile::read());
        let (scribe, http, admin) = (free_port(), free_port(), free_port());
        let mut environment = dockerfile.environment();
        environment.extend(stack.environment("spangate"));
        let data = dir.join("data").display().to_string();
        let mapped = [
            ("/var/lib/spangate".to_owned(), data),
            ("0.0.0.0:9412".to_owned(), format!("0.0.0.0:{admin}")),
            ("zipkin-1:9411".to_owned(), collectors[0].address.to_string()),
            ("zipkin-2:9411".to_owned(), collectors[1].address.to_string()),
        ];
        let mut environment: BTreeMap<String, String> =
            environment.into_iter().map(|(name, value)| (name, replaced(value, &mapped))).collect();
        // What `ports` does for a container; `files` holds that these are 1463 and 9411 there.
        for (name, port) in [("SPANGATE_SCRIBE_ADDRESS", scribe), ("SPANGATE_HTTP_ADDRESS", http)] {
            let set = environment.insert(name.into(), format!("127.0.0.1:{port}"));
            assert_eq!(set, None, "the compose file leaves {name} at its default");
        }
        let words = dockerfile.command();
        assert_eq!(words[0], "spangate");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
        command.args(&words[1..]).env_clear().envs(environment).current_dir(dir);
        let mut process = Process::start(command, &dir.join("log"));
        wait_for("the health check passes", LIMIT, || {
            process.must_run();
            healthy(admin).then_some(())
        });
        Service { process, scribe, http, admin }
    }
}

fn replaced(mut value: String, mapped: &[(String, String)]) -> String {
    mapped.iter().for_each(|(old, new)| value = value.replace(old, new));
    value
}

/// Runs the image's health check against this port in place of 9412.
fn healthy(admin: u16) -> bool {
    let words = Dockerfile::read().health_check();
    let mapped = [("/9412".to_owned(), format!("/{admin}"))];
    let words: Vec<String> = words.into_iter().map(|word| replaced(word, &mapped)).collect();
    assert!(words.iter().any(|word| word.contains(&admin.to_string())), "it asks the admin port: {words:?}");
    Command::new(&words[0])
        .args(&words[1..])
        .output()
        .expect("the image has bash, and so must this machine")
        .status
        .success()
}

fn span(id: u64) -> serde_json::Value {
    let id = format!("{id:016x}");
    json!({ "traceId": id, "id": id, "name": "get", "timestamp": 1_767_225_600_000_000u64, "duration": 1000,
            "localEndpoint": { "serviceName": "shop" } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_as_composed_takes_spans_on_both_ports_and_delivers_them() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Collector::start().await, Collector::start().await);
    tokio::task::block_in_place(|| {
        let mut service = Service::start(dir.path(), &[&one, &two]);
        let body = serde_json::to_vec(&[span(1), span(2)]).unwrap();
        let answer = Client::new(service.http).post("/api/v2/spans", "application/json", &body).unwrap();
        assert_eq!(answer.status, 202);
        let entry = scribe::entry(3, 3, "get");
        let mut tracer = scribe::Client::connect((Ipv4Addr::LOCALHOST, service.scribe).into());
        assert_eq!(tracer.log(&[("zipkin", &entry)]), 0);
        wait_for("all three are at the collectors", LIMIT, || {
            let mut taken = one.taken();
            taken.extend(two.taken());
            (taken.len() == 3).then_some(())
        });
        let metrics = Client::new(service.admin).get("/metrics").unwrap().text();
        assert!(metrics.contains("spangate_spans_accepted_total{listener=\"http\"} 2"), "{metrics}");
        assert!(dir.path().join("data/channel").is_dir(), "the volume holds the channel");
        let status = service.process.stop(rustix::process::Signal::TERM, LIMIT);
        assert!(status.success(), "docker stop: {status}\n{}", service.process.tail());
        assert!(!healthy(service.admin), "one that has stopped is not healthy");
    });
}

/// What the profile `demo` sends, for a second or two: the same words, an end put to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_demo_sends_is_acknowledged_and_reaches_both_collectors() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Collector::start().await, Collector::start().await);
    tokio::task::block_in_place(|| {
        let service = Service::start(dir.path(), &[&one, &two]);
        for name in ["demo-http", "demo-scribe"] {
            let demo = Stack::read().service(name).clone();
            assert_eq!(
                (&demo["profiles"], &demo["image"]),
                (&json!(["demo"]), &Stack::read().service("spangate")["image"])
            );
            let mapped = [
                ("spangate:9411".to_owned(), format!("127.0.0.1:{}", service.http)),
                ("spangate:1463".to_owned(), format!("127.0.0.1:{}", service.scribe)),
                ("endless".to_owned(), "60".to_owned()),
            ];
            let words = strings(&demo["command"]).into_iter().map(|word| replaced(word, &mapped));
            let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
            command.args(words).env_clear().envs(Dockerfile::read().environment());
            let output = command.output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        wait_for("all is at the collectors", LIMIT, || {
            let count = |collector: &Collector| collector.taken().values().sum::<u32>();
            (count(&one) + count(&two) >= 120 && count(&one) > 0 && count(&two) > 0).then_some(())
        });
    });
}

/// Collectors have no say in it; a full channel has.
#[test]
fn the_health_check_fails_where_spans_would_be_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = ["200 OK", "503 Service Unavailable"];
    let server = std::thread::spawn(move || {
        answers.map(|status| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            write!(stream, "HTTP/1.0 {status}\r\n\r\n").unwrap();
            String::from_utf8(request).unwrap()
        })
    });
    assert_eq!([healthy(port), healthy(port)], [true, false]);
    let requests = server.join().unwrap();
    assert!(requests.iter().all(|request| request.starts_with("GET /ready HTTP/1.")), "{requests:?}");
}
