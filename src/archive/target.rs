//! Where an archive's objects go: as the configuration names it, and as a plan records it.
//!
//! A remote place is a URL of one form, so that two spellings of it are seen to be one. It holds no
//! secret: credentials come from where each ecosystem keeps them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is taken, for errors.
pub const FORMS: &str = "\"builtin\", \"file:///DIR\", \"s3://BUCKET/PREFIX\", \"gs://BUCKET/PREFIX\", \"az://CONTAINER/PREFIX\", \"hdfs://NAMENODE[:PORT]/PATH\" or \"none\"";

/// Keys of object stores are at most 1024 bytes long; the rest is for directories and the object's name.
const PREFIX_BYTES_MAX: usize = 512;

/// More than any host name; a plan records it beside all else.
const ENDPOINT_BYTES_MAX: usize = 400;

/// Longest host name that DNS knows.
const HOST_BYTES_MAX: usize = 253;

/// Where an archive's objects go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `<data>/archive`, bounded: oldest objects are removed beyond `keep_bytes` (default 10 GiB), and where intake
    /// would stop for want of room on the disk.
    BuiltIn { dir: PathBuf, keep_bytes: u64 },
    /// `file:///dir`: the user's, never trimmed.
    Local { dir: PathBuf },
    /// An object store or HDFS: never trimmed.
    Remote(Remote),
}

impl Target {
    /// The directory of one that is on this machine.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Target::BuiltIn { dir, .. } | Target::Local { dir } => Some(dir),
            Target::Remote(_) => None,
        }
    }
}

/// For people: a directory or a URL.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::BuiltIn { dir, .. } | Target::Local { dir } => dir.display().fmt(f),
            Target::Remote(remote) => remote.fmt(f),
        }
    }
}

/// The kinds of remote stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Amazon's S3 and what speaks as it.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// A Hadoop file system.
    Hdfs,
}

impl Scheme {
    const ALL: [Scheme; 4] = [Scheme::S3, Scheme::Gs, Scheme::Az, Scheme::Hdfs];

    fn name(self) -> &'static str {
        match self {
            Scheme::S3 => "s3",
            Scheme::Gs => "gs",
            Scheme::Az => "az",
            Scheme::Hdfs => "hdfs",
        }
    }
}

/// A place in an object store, or in a Hadoop file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub scheme: Scheme,
    /// Or container; or a name service, or the NameNode's host, with its port if that is not [`NAMENODE_PORT`].
    pub bucket: String,
    /// Without slashes at its ends; may be empty.
    pub prefix: String,
    /// `http(s)://HOST[:PORT]`, where it is not the ecosystem's own.
    pub endpoint: Option<String>,
}

impl Remote {
    /// Reads `SCHEME://BUCKET[/PREFIX]`.
    pub fn parse(text: &str) -> Option<Remote> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = Scheme::ALL.into_iter().find(|known| known.name() == scheme)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let good_segment = |segment: &str| !matches!(segment, "" | "." | "..");
        // A space ends the URL in a plan; `?` and `#` would be thought to be a query.
        let good_byte = |b: u8| b.is_ascii_graphic() && !b"?#\\\"".contains(&b);
        let good_prefix = prefix.is_empty()
            || (prefix.len() <= PREFIX_BYTES_MAX
                && prefix.split('/').all(good_segment)
                && prefix.bytes().all(good_byte));
        let bucket = match scheme {
            Scheme::Hdfs => namenode(bucket).filter(|_| !prefix.contains(':'))?,
            Scheme::S3 | Scheme::Gs | Scheme::Az => Some(bucket).filter(|bucket| is_bucket(bucket))?,
        };
        good_prefix.then(|| Remote { scheme, bucket: bucket.to_owned(), prefix: prefix.to_owned(), endpoint: None })
    }

    /// Takes `http(s)://HOST[:PORT]`; gives `None` for anything else.
    pub fn at(mut self, endpoint: &str) -> Option<Remote> {
        self.endpoint = Some(endpoint_form(endpoint)?);
        Some(self)
    }

    /// `SCHEME://BUCKET[/PREFIX]`.
    pub fn url(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}://{}{slash}{}", self.scheme.name(), self.bucket, self.prefix)
    }
}

/// The URL, and the endpoint after a space if there is one.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())?;
        self.endpoint.iter().try_for_each(|endpoint| write!(f, " {endpoint}"))
    }
}

/// An endpoint without a slash at its end; `None` for what is none. Whoever writes `http://` means it.
pub fn endpoint_form(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?.trim_end_matches('/');
    // A path is part of some endpoints (Azure's emulator); a user, a query or a space never is.
    let good = |b: u8| b.is_ascii_graphic() && !b"?#@\\\"".contains(&b);
    (!rest.is_empty() && text.len() <= ENDPOINT_BYTES_MAX && !rest.starts_with('/') && rest.bytes().all(good))
        .then(|| text.trim_end_matches('/').to_owned())
}

/// What all three take: 3 to 63 of lower-case letters, digits, dots, dashes; Google knows `_`, too.
fn is_bucket(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    (3..=63).contains(&text.len()) && text.bytes().all(good)
}

/// Hadoop's own default.
pub const NAMENODE_PORT: u16 = 8020;

/// `HOST[:PORT]`, the port left out where it is [`NAMENODE_PORT`]. A name service may have capitals, which count.
fn namenode(text: &str) -> Option<&str> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let good = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    let good_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(good) || !port.is_none_or(good_port) {
        return None;
    }
    Some(if port == Some(&NAMENODE_PORT.to_string()) { host } else { text })
}

/// Of an upload in parts; the last is smaller. S3 asks for 5 MiB at least and takes 10,000.
pub const PART_BYTES: u64 = 8 << 20;

/// How remote stores are spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Of S3; `None`: `AWS_REGION`, or us-east-1.
    pub region: Option<String>,
    /// Whether S3's bucket stands in the path (default), and not in the host name.
    pub path_style: bool,
    /// Each request, with its body; of HDFS, each megabyte. Default 2 min.
    pub timeout: Duration,
    /// Sent in one request, held in memory while it is: under 64 MB with all else that an archive holds then. Default,
    /// and at most, 48 MiB.
    pub put_bytes_max: u64,
    /// [`PART_BYTES`]; less in tests.
    pub part_bytes: u64,
    /// Where the ecosystem's own variables are read; `None`: in the process's environment.
    pub variables: Option<Variables>,
}

/// Variables that may hold secrets: shown by name alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Variables(pub Vec<(String, String)>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests;
