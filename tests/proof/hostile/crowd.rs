//! Connections that send nothing, from several addresses of this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::LONG;
use crate::support::process::{Gateway, wait_for};

/// Kept back for all else that this process and the gateway have open.
const RESERVED: u64 = 600;
const ADDRESSES: usize = 8;

pub struct Crowd(Vec<TcpStream>);

impl Crowd {
    /// So many, half of them at each port; fewer where the limit of descriptors is lower.
    pub fn gather(wanted: usize, gateway: &Gateway) -> Crowd {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).expect("up to its maximum it may be raised");
        let most = limit.current.unwrap_or(u64::MAX).saturating_sub(RESERVED);
        let count = wanted.min(usize::try_from(most).unwrap_or(usize::MAX));
        let one = |nth: usize| {
            let port = if nth.is_multiple_of(2) { gateway.http } else { gateway.scribe };
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is left");
            let own = Ipv4Addr::new(127, 0, 0, 2 + (nth % ADDRESSES) as u8);
            socket.bind(&SocketAddr::from((own, 0)).into()).expect("Linux has all of 127.0.0.0/8");
            socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("a backlog with room");
            TcpStream::from(socket)
        };
        let crowd = Crowd((0..count).map(one).collect());
        wait_for("the crowd is in", LONG, || {
            (gateway.metric("spangate_connections", &[]) as u64 >= crowd.len()).then_some(())
        });
        crowd
    }

    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }
}
