//! IP addresses as texts, the way zipkin's `Endpoint` reads and writes them.
//!
//! No name is ever looked up, and nothing is refused: what is no address is no address.

use std::io::Write;
use std::net::Ipv6Addr;

use crate::span::Endpoint;

/// Puts the address where it belongs, whatever field it stood in; leaves the endpoint alone where it is none.
pub(super) fn parse(text: &str, endpoint: &mut Endpoint<'_>) {
    if let Some(ipv4) = ipv4(text).or_else(|| embedded_ipv4(text)) {
        endpoint.ipv4 = Some(ipv4);
    } else if !text.contains('.')
        && let Ok(ipv6) = text.parse::<Ipv6Addr>()
    {
        endpoint.ipv6 = Some(ipv6.octets());
    }
}

/// Four decimal numbers of one to three digits; leading zeros are decimal, too.
fn ipv4(text: &str) -> Option<[u8; 4]> {
    let (mut octets, mut at, mut digits) = ([0u16; 4], 0, 0);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' if digits < 3 => {
                octets[at] = octets[at] * 10 + u16::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && at < 3 => (at, digits) = (at + 1, 0),
            _ => return None,
        }
    }
    let whole = at == 3 && digits > 0 && octets.iter().all(|octet| *octet <= 255);
    whole.then(|| octets.map(|octet| octet as u8))
}

/// `::1.2.3.4` and `::ffff:1.2.3.4`, whose second form Zipkin takes with any mix of `f` and `0`.
fn embedded_ipv4(text: &str) -> Option<[u8; 4]> {
    let rest = text.strip_prefix("::")?;
    match rest.split_once(':') {
        None => ipv4(rest),
        Some((flag, rest)) if flag.len() == 4 && flag.chars().all(|c| matches!(c, 'f' | 'F' | '0')) => ipv4(rest),
        Some(_) => None,
    }
}

/// An IPv6 address as zipkin's `Endpoint.writeIpV6` has it: lower case, zeros compressed. Unlike RFC 5952 it compresses
/// a single zero group, too, and a run at the end only where there is no other.
pub fn write_ipv6(ipv6: [u8; 16], out: &mut Vec<u8>) {
    let groups = Ipv6Addr::from(ipv6).segments();
    let (start, end) = compressed(&groups);
    let mut i = 0;
    while i < 8 {
        if i == start {
            out.extend_from_slice(if end == 8 { b"::" } else { b":" });
            i = end;
            continue;
        }
        if i > 0 {
            out.push(b':');
        }
        write!(out, "{:x}", groups[i]).expect("a Vec takes every byte");
        i += 1;
    }
}

/// The run of zero groups that `::` stands for; empty at 8 where there is none.
fn compressed(groups: &[u16; 8]) -> (usize, usize) {
    let mut best: Option<(usize, usize)> = None;
    let mut start = 0;
    while start < 8 {
        let end = start + groups[start..].iter().take_while(|group| **group == 0).count();
        let longer = best.is_none_or(|(from, to)| end < 8 && end - start > to - from);
        if end > start && longer {
            best = Some((start, end));
        }
        start = end + 1;
    }
    best.unwrap_or((8, 8))
}
