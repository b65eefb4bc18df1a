//! The admin port: `/metrics`, `/health`, `/ready`.

use std::net::SocketAddr;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Default 127.0.0.1:9412. Empty: no admin port.
    pub addresses: Vec<SocketAddr>,
}
