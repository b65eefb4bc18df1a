//! Where in its store an archive's objects stand: a directory by time, and by what is known of a span.
//!
//! A [`Template`] has Flume's escapes of time (`%Y`, `%m`, ..), rounded where that is asked for, and
//! placeholders: `{channel}`, `{host}` (this gateway's), `{first}`, `{last}` (known when an object is
//! planned), and of each span `{service}`, `{category}`, `{peer}`, `{listener}` and labels. Whatever the
//! time and whatever a peer chose, it gives a clean relative path: no directory is empty or begins with `.`
//! or `_` (`..`, our staging, what readers pass over), and what was not typed is [`value::sanitised`].

mod parse;
mod time;
pub mod value;

use std::fmt;
use std::time::Duration;

use time::{Escape, Moment};
use value::{NONE, Source, VALUE_BYTES_MAX, sanitised};

use crate::channel::Origin;

pub use parse::{PathError, placeholders};
pub use time::{NoZone, Zone};

/// Directories in each other. A listing of ours goes twice as deep; nobody looks for a span further down.
const DEPTH_MAX: usize = 16;

/// Longest path that a template gives, filled in: a plan's note holds it beside the longest store and filter.
pub const LANE_BYTES_MAX: usize = 256;

/// Longest text of a template: a note holds it with the marks of its lanes.
pub const TEXT_BYTES_MAX: usize = 256;

/// Shortest time that a directory should last: each has an object of its own at least.
pub const LASTS_MIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Time(&'static Escape),
    Channel,
    Host,
    First,
    Last,
    /// Of each span.
    Of(Source),
}

impl Part {
    /// The greatest length, filled in.
    fn width(&self) -> usize {
        match self {
            Part::Text(text) => text.len(),
            Part::Time(escape) => escape.width,
            Part::Channel => 32,
            Part::First | Part::Last => 20,
            Part::Host | Part::Of(_) => VALUE_BYTES_MAX,
        }
    }

    fn directories(&self) -> usize {
        if let Part::Text(text) = self { text.matches('/').count() } else { 0 }
    }
}

/// A path with time and spans left open. The default is no directory at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
    zone: Zone,
    round: Option<Duration>,
    /// By the times of spans, and not by those at which they came in. False where no time is asked for.
    by_span_time: bool,
    /// As it stands in a path; empty where it is not asked for, or not known yet.
    host: Box<str>,
}

impl Template {
    /// In UTC, and not rounded. A slash at the end may be left out.
    pub fn parse(text: &str) -> Result<Template, PathError> {
        Ok(Template { text: text.into(), parts: parse::parts(text)?, ..Template::default() })
    }

    pub fn in_zone(self, zone: Zone) -> Template {
        Template { zone, ..self }
    }

    /// Times are rounded down to a multiple of `round` since midnight; it divides a day.
    pub fn rounded(self, round: Option<Duration>) -> Template {
        Template { round, ..self }
    }

    /// By the times of spans, where directories have any.
    pub fn by_span_time(self, yes: bool) -> Template {
        Template { by_span_time: yes && self.lasts().is_some(), ..self }
    }

    /// Whether a span's own time tells its directory.
    pub fn is_by_span_time(&self) -> bool {
        self.by_span_time
    }

    /// Of a gateway on this host, unless it was said on which. One that does not ask for the host stays as it is.
    pub fn on_host(self, host: &str) -> Template {
        if !self.parts.contains(&Part::Host) || !self.host.is_empty() {
            return self;
        }
        Template { host: sanitised(host).into(), ..self }
    }

    /// Whether spans of one moment may be for several directories.
    pub fn is_per_span(&self) -> bool {
        self.by_span_time || self.parts.iter().any(|part| matches!(part, Part::Of(_)))
    }

    /// The labels that it asks for.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.parts
            .iter()
            .filter_map(|part| if let Part::Of(Source::Label(label)) = part { Some(label.as_str()) } else { None })
    }

    /// How long a directory lasts at least; `None`: for ever.
    pub fn lasts(&self) -> Option<Duration> {
        let lasts = |part: &Part| if let Part::Time(escape) = part { Some(escape.lasts) } else { None };
        let seconds = self.parts.iter().filter_map(lasts).min().filter(|seconds| *seconds < u64::MAX)?;
        Some(Duration::from_secs(seconds).max(self.round.unwrap_or_default()))
    }

    /// The directory of what came in then, microseconds since the epoch: empty, or with a slash at its end. `{first}`
    /// and `{last}` are left for [`at`].
    pub fn dir(&self, received_us: u64, channel: &str) -> String {
        self.lane(received_us, channel, &Origin::default(), None)
    }

    /// The same of a span of `service` and that time, which came from there.
    pub fn lane(&self, time_us: u64, channel: &str, origin: &Origin, service: Option<&str>) -> String {
        let moment = Moment::new(time_us, self.zone, self.round);
        let mut dir = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => dir.push_str(text),
                Part::Channel => dir.push_str(channel),
                Part::Time(escape) => (escape.write)(&moment, &mut dir).expect("a String takes everything"),
                Part::Host => dir.push_str(if self.host.is_empty() { NONE } else { &self.host }),
                Part::First => dir.push_str(FIRST),
                Part::Last => dir.push_str(LAST),
                Part::Of(source) => dir.push_str(&sanitised(source.of(origin, service).unwrap_or_default())),
            }
        }
        dir
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn from_line(line: &str) -> Option<Template> {
        let mut words = line.splitn(5, ' ');
        let time = words.next()?;
        let (zone, round, host) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
        let template = Template::parse(words.next()?).ok()?.in_zone(zone);
        let good = [RECEIVED, SPAN].contains(&time) && (host.is_empty() || value::is_form(host));
        let round = (round > 0).then(|| Duration::from_secs(round));
        good.then(|| Template { host: host.into(), ..template.rounded(round).by_span_time(time == SPAN) })
    }
}

/// By which time directories are, as a note says it.
const RECEIVED: &str = "received";
const SPAN: &str = "span";

/// One line that says all of it, the text last: `received UTC 0 HOST TEXT`.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let round = self.round.map_or(0, |round| round.as_secs());
        let time = if self.by_span_time { SPAN } else { RECEIVED };
        write!(f, "{time} {} {round} {} {}", self.zone, self.host, self.text)
    }
}

const FIRST: &str = "{first}";
const LAST: &str = "{last}";

/// A directory with the positions of an object filled in, in 20 digits each, as in its name.
pub fn at(dir: &str, first: u64, last: u64) -> String {
    if !dir.contains('{') {
        return dir.to_owned();
    }
    dir.replace(FIRST, &format!("{first:020}")).replace(LAST, &format!("{last:020}"))
}

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a file's path is one that a template may have given.
pub fn is_clean(path: &str) -> bool {
    let good = |name: &str| !name.is_empty() && !name.starts_with(['.', '_']) && !name.contains(char::is_control);
    path.split('/').all(good)
}

#[cfg(test)]
mod tests;
