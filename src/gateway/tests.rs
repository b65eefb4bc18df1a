//! A gateway in this process: what fails at the start, and what fails later.

use std::path::Path;

use super::*;
use crate::config::{Typed, Understood, resolve};

fn understood(data: &Path) -> Understood {
    let listen = ["SCRIBE_ADDRESS", "HTTP_ADDRESS", "ADMIN_ADDRESS"].map(|name| (name, "127.0.0.1:0".to_owned()));
    let all = listen.into_iter().chain([("DATA", data.display().to_string())]);
    let variables = all.map(|(name, value)| (format!("SPANGATE_{name}").into(), value.into())).collect();
    let typed = Typed { variables, ..Typed::default() };
    resolve(typed).unwrap_or_else(|report| panic!("{report}"))
}

async fn start(understood: Understood) -> Result<Gateway, Error> {
    let again = understood.clone();
    let starter = Starter { reread: Box::new(move || Ok(again.clone())), set_log_level: Box::new(|_| {}) };
    Gateway::start(understood, starter, Clock::system(), disk::real()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_directory_log_and_ports_to_the_next_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = start(understood(dir.path())).await.expect("the first start");
    let addresses = (first.started().scribe[0], first.started().http[0], first.started().admin[0]);
    first.stop().await.expect("an orderly stop");
    let again = || {
        let mut understood = understood(dir.path());
        let settings = &mut understood.settings;
        settings.scribe.addresses = vec![addresses.0];
        settings.http.addresses = vec![addresses.1];
        settings.admin.addresses = vec![addresses.2];
        understood
    };
    let mut bad = again();
    // A file where a directory is wanted: found after sockets and log are open.
    bad.settings.dead_letters.dir = dir.path().join("lock");
    let Err(error) = start(bad).await else { panic!("it started") };
    assert!(error.to_string().starts_with("dead letters"), "{error}");
    let gateway = start(again()).await.expect("nothing was left running");
    gateway.stop().await.expect("an orderly stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vital_task_that_panics_ends_the_gateway_with_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let gateway = start(understood(dir.path())).await.expect("a start");
    gateway.drains.vital("ill", async { panic!("as it was told") });
    let why = tokio::time::timeout(Duration::from_secs(10), gateway.ended()).await.expect("it says stop");
    assert_eq!(why, "a vital task ended");
    let ended = gateway.stop().await;
    assert!(matches!(&ended, Err(Error::Other(text)) if text.contains("a task failed")), "{ended:?}");
}
