//! fb303: what scribe_ctrl and fb303 monitors ask (`status`, `counters`, `version`, `name`, `alive`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::connection::Server;
use crate::listener::State;
use crate::wire::fb303::{Fb303, FbStatus};

/// The answers for one peer.
pub(super) struct Service<'a> {
    pub server: &'a Server,
    pub peer: SocketAddr,
}

impl Fb303 for Service<'_> {
    /// scribed's name, as monitors that ask for it were written for scribed; the version says who we are.
    fn name(&self) -> String {
        "Scribe".to_owned()
    }

    fn version(&self) -> String {
        concat!("spangate ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn status(&self) -> FbStatus {
        match (self.server.probe)().state {
            State::Starting => FbStatus::STARTING,
            State::Alive => FbStatus::ALIVE,
            State::Warning => FbStatus::WARNING,
            State::Stopping => FbStatus::STOPPING,
        }
    }

    fn status_details(&self) -> String {
        (self.server.probe)().details
    }

    fn counters(&self) -> BTreeMap<String, i64> {
        self.server.categories.counters()
    }

    fn counter(&self, key: &str) -> i64 {
        self.counters().get(key).copied().unwrap_or(0)
    }

    /// Settings are not changed by strangers: answered, ignored.
    fn set_option(&self, _key: &str, _value: &str) {}

    fn option(&self, key: &str) -> String {
        self.options().remove(key).unwrap_or_default()
    }

    fn options(&self) -> BTreeMap<String, String> {
        let settings = self.server.settings.get();
        BTreeMap::from([
            ("categories".to_owned(), settings.categories.join(",")),
            ("frame_bytes_max".to_owned(), settings.frame_bytes_max.to_string()),
        ])
    }

    fn cpu_profile(&self, _seconds: i32) -> String {
        String::new()
    }

    fn alive_since(&self) -> i64 {
        self.server.alive_since_s
    }

    fn reinitialize(&self) {
        self.server.reinitialize_asked(self.peer);
    }

    fn shutdown(&self) {
        self.server.shutdown_asked(self.peer);
    }
}
