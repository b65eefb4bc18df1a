//! The addresses of a name, followed: what a record says now, or said last.
//!
//! An address keeps its place among those of its name while the record has it; a place that is free
//! is taken first. So what is called by its place (a metric's label) is bounded, however many
//! addresses come and go.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// Addresses of one name. Of more, the lowest are taken: a group of so many is balanced by something else.
pub const ADDRESSES_MAX: usize = 64;

/// The future that [`Resolver::resolve`] returns.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Whoever knows the addresses of names.
pub trait Resolver: Send + Sync + 'static {
    /// All A and AAAA records of a host, with this port.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The machine's own: files, then name servers, as it is set up.
pub struct System;

impl Resolver for System {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Nothing,
    /// Addresses came or went.
    Changed,
    /// It is the first that is of no use: the last good one stays.
    Failing,
    /// It is good again, and says what the last good one said.
    Back,
}

/// The addresses of one name.
#[derive(Debug, Clone, Default)]
pub struct Name {
    places: Vec<Option<SocketAddr>>,
    failing: bool,
}

impl Name {
    /// Takes an answer in. One without an address is as good as none.
    pub fn answer(&mut self, answer: &io::Result<Vec<SocketAddr>>) -> Told {
        let Some(mut addresses) = answer.as_ref().ok().filter(|addresses| !addresses.is_empty()).cloned() else {
            return if std::mem::replace(&mut self.failing, true) { Told::Nothing } else { Told::Failing };
        };
        let back = std::mem::take(&mut self.failing);
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        let before = self.places.clone();
        for place in &mut self.places {
            *place = place.filter(|address| addresses.contains(address));
        }
        for address in addresses {
            if !self.places.contains(&Some(address)) {
                match self.places.iter().position(Option::is_none) {
                    Some(free) => self.places[free] = Some(address),
                    None => self.places.push(Some(address)),
                }
            }
        }
        match () {
            () if before != self.places => Told::Changed,
            () if back => Told::Back,
            () => Told::Nothing,
        }
    }

    /// Each address with its place, counted from 1.
    pub fn addresses(&self) -> impl Iterator<Item = (usize, SocketAddr)> {
        self.places.iter().enumerate().filter_map(|(place, address)| Some((place + 1, (*address)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 9411))
    }

    fn said(name: &Name) -> Vec<(usize, u8)> {
        let last = |address: SocketAddr| match address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        };
        name.addresses().map(|(place, address)| (place, last(address))).collect()
    }

    #[test]
    fn addresses_come_and_go_and_keep_their_places() {
        let mut name = Name::default();
        let mut answer = |addresses: &[u8]| {
            let told = name.answer(&Ok(addresses.iter().map(|n| address(*n)).collect()));
            (told, said(&name))
        };
        assert_eq!(answer(&[3, 1, 2, 1]), (Told::Changed, vec![(1, 1), (2, 2), (3, 3)]));
        assert_eq!(answer(&[2, 3, 1]).0, Told::Nothing);
        assert_eq!(answer(&[3, 4, 1]), (Told::Changed, vec![(1, 1), (2, 4), (3, 3)]));
        assert_eq!(answer(&[5]), (Told::Changed, vec![(1, 5)]));
        let many: Vec<u8> = (0..=255).collect();
        assert_eq!(answer(&many).1.len(), ADDRESSES_MAX);
    }

    #[test]
    fn while_names_are_not_known_the_last_good_answer_stays() {
        let mut name = Name::default();
        let failed = || Err(io::Error::other("no server"));
        assert_eq!(name.answer(&failed()), Told::Failing);
        assert_eq!(name.answer(&failed()), Told::Nothing, "once");
        assert_eq!(name.answer(&Ok(vec![address(1)])), Told::Changed);
        assert_eq!(name.answer(&Ok(Vec::new())), Told::Failing, "nothing is no answer");
        assert_eq!(said(&name), [(1, 1)]);
        assert_eq!(name.answer(&Ok(vec![address(1)])), Told::Back);
        assert_eq!(said(&name), [(1, 1)]);
    }
}
