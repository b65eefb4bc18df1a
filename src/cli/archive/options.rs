//! The flags of `spangate archive`, and what they mean.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::replay;
use crate::archive::read::{Positions, Selection, Trace};
use crate::clock::{self, Clock};
use crate::config::collector;
use crate::config::value::duration;

/// What is asked of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub verb: Verb,
    /// Which of the configured archives.
    pub drain: Option<String>,
    /// Whatever is configured.
    pub url: Option<String>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub selection: Selection,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    List { json: bool },
    Cat { origin: bool },
    Replay(replay::Options),
}

/// More is no bound.
const RATE_MAX: u64 = 1_000_000;
/// As many as a message of `spangate send`: every default takes it.
const BATCH_MAX: u64 = 10_000;

impl Options {
    /// It is a replay, and another run has left its state.
    pub fn goes_on(&mut self) {
        if let Verb::Replay(replay) = &mut self.verb {
            replay.resumes = true;
        }
    }
}

const CLOSING: &str = "\
Times are of receipt: RFC 3339 or its beginning, UTC unless it has an offset (2026-11-21, 2026-11-21T06:00Z), or ago \
(2h, 30m, 7d). JSON lines do not keep when a span was received: there its own time is taken for it. Positions are those \
of a log line; an object with gaps between them is taken whole.
Exit codes: 0 done, 1 the store or the machine failed, 2 the command line, 4 an object is damaged; the others were read.";

/// The command for the parser; `config`: the flags that say where the configuration is.
pub fn command(config: Vec<Arg>) -> Command {
    let verb = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).after_help(CLOSING).args(config.clone()).args(place()).args(times())
    };
    let list = verb("list", "Prints time, spans, bytes, channel, first and last position and path of each object")
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON, one object a line"));
    let cat = verb("cat", "Prints spans as Zipkin's JSON, one a line").args(rows()).arg(
        Arg::new("origin")
            .long("origin")
            .action(ArgAction::SetTrue)
            .help("Each within an object that says when and where it came in, as far as that is kept"),
    );
    let replay =
        verb("replay", "Sends spans again, to a Zipkin collector or to a gateway").args(rows()).args(sending());
    Command::new("archive")
        .about("What an archive holds: listed, printed, sent again")
        .subcommand_required(true)
        .subcommands([list, cat, replay])
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn place() -> Vec<Arg> {
    vec![
        text("drain", "NAME", "The archive of this drain [the only one]"),
        text("url", "URL", "The archive there, whatever is configured: file:///DIR, s3://BUCKET/PREFIX, gs://, az://")
            .conflicts_with_all(["drain", "config", "data", "archive"]),
        text("endpoint", "URL", "Where the store is, beside --url, if it is not its maker's own").requires("url"),
        text("region", "NAME", "Region of the bucket, beside --url [AWS_REGION]").requires("url"),
    ]
}

fn times() -> Vec<Arg> {
    let position = |name, help| text(name, "POSITION", help).value_parser(value_parser!(u64));
    vec![
        text("from", "TIME", "Received then or later").value_parser(time),
        text("to", "TIME", "Received before then").value_parser(time),
        text("channel", "ID", "From this channel, by its 32 characters"),
        position("first", "From this position of a channel on"),
        position("last", "Up to this position of a channel, and with it"),
    ]
}

fn rows() -> Vec<Arg> {
    let several = |name, value, help| text(name, value, help).action(ArgAction::Append);
    vec![
        several("service", "NAME", "With this local service, * at the end for any rest; repeatable"),
        text("trace-id", "HEX", "Of this trace: 32 digits, or the lower 16 of any")
            .value_parser(|text: &str| Trace::parse(text).ok_or("expected 1 to 32 hexadecimal digits, not all zeros")),
        several("category", "NAME", "That came in by this Scribe category, where that is kept; repeatable"),
        several("label", "KEY=VALUE", "With this label, where they are kept; repeatable"),
    ]
}

fn sending() -> Vec<Arg> {
    let number = |name, value, help, range| text(name, value, help).value_parser(value_parser!(u64).range(range));
    vec![
        text("into", "URL", "The collector http(s)://HOST[:9411], or a gateway, also scribe://HOST:1463")
            .required_unless_present("resume")
            .value_parser(destination),
        number("rate", "SPANS", "Spans a second [2000]", 1..=RATE_MAX).default_value("2000").hide_default_value(true),
        number("batch", "SPANS", "Spans of a request [500]", 1..=BATCH_MAX)
            .default_value("500")
            .hide_default_value(true),
        text("patience", "TIME", "How long nothing may get through before it stops [5m]")
            .value_parser(|text: &str| duration(text).ok_or("expected a time such as 5m"))
            .default_value("5m")
            .hide_default_value(true),
        text("state", "FILE", "Where its progress is kept [spangate-replay.json]")
            .default_value("spangate-replay.json")
            .hide_default_value(true),
        text("resume", "FILE", "Go on with a replay that stopped, by that file; nothing else is to be said")
            .exclusive(true),
    ]
}

/// A collector's URL, of one destination.
fn destination(url: &str) -> Result<String, String> {
    match collector::normalise(url) {
        Ok(url) if !url.starts_with("dns+") => Ok(url),
        _ => Err("expected http(s)://HOST[:9411] or scribe://HOST:PORT".to_owned()),
    }
}

/// A moment, microseconds since the epoch; of `2h`: so long ago.
fn time(text: &str) -> Result<u64, String> {
    let ago = || {
        let us = u64::try_from(duration(text)?.as_micros()).ok()?;
        Clock::system().now_us().checked_sub(us)
    };
    let expected = "expected a time such as 2026-11-21, 2026-11-21T06:00Z, or one ago such as 2h or 7d";
    clock::parse_rfc3339(text).or_else(ago).ok_or_else(|| expected.to_owned())
}

/// Reads the command of a verb.
pub fn read(verb: &str, matches: &ArgMatches) -> Result<Options, clap::Error> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let verb = match verb {
        "list" => Verb::List { json: matches.get_flag("json") },
        "cat" => Verb::Cat { origin: matches.get_flag("origin") },
        _ => Verb::Replay(sent(matches)),
    };
    Ok(Options {
        verb,
        drain: text("drain"),
        url: text("url"),
        endpoint: text("endpoint"),
        region: text("region"),
        selection: selection(matches)?,
    })
}

fn sent(matches: &ArgMatches) -> replay::Options {
    let number = |name: &str| *matches.get_one::<u64>(name).expect("it has a default");
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let resumed = text("resume");
    replay::Options {
        into: text("into").unwrap_or_default(),
        rate: number("rate"),
        batch: usize::try_from(number("batch")).expect("it is bounded"),
        patience: *matches.get_one("patience").expect("it has a default"),
        resumes: resumed.is_some(),
        state: resumed.or_else(|| text("state")).expect("it has a default").into(),
        arguments: arguments(matches),
    }
}

/// What was typed, with times that will mean the same later.
fn arguments(matches: &ArgMatches) -> Vec<String> {
    let typed = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let names = matches.ids().map(clap::Id::as_str).filter(|name| *name != "state");
    let mut arguments = Vec::new();
    for name in names.filter(typed) {
        if let Ok(Some(us)) = matches.try_get_one::<u64>(name)
            && ["from", "to"].contains(&name)
        {
            arguments.push(format!("--{name}={}", clock::rfc3339(*us)));
            continue;
        }
        let values = matches.get_raw(name).into_iter().flatten();
        arguments.extend(values.map(|value| format!("--{name}={}", value.to_string_lossy())));
    }
    arguments
}

fn selection(matches: &ArgMatches) -> Result<Selection, clap::Error> {
    let wrong = |what: String| clap::Error::raw(clap::error::ErrorKind::ValueValidation, what + "\n");
    // `list` asks no rows.
    let words = |name: &str| -> Vec<String> {
        let found = matches.try_get_many::<String>(name).ok().flatten();
        found.into_iter().flatten().cloned().collect()
    };
    let time = |name: &str| matches.get_one::<u64>(name).copied();
    let (from_us, to_us) = (time("from"), time("to"));
    if from_us.zip(to_us).is_some_and(|(from, to)| from >= to) {
        return Err(wrong("--to is not later than --from".to_owned()));
    }
    let (first, last) = (time("first"), time("last"));
    let (least, most) = (first.unwrap_or(0), last.unwrap_or(u64::MAX));
    if least > most {
        return Err(wrong("--last is less than --first".to_owned()));
    }
    let channel = matches.get_one::<String>("channel").cloned();
    let positions = Positions { channel, range: least..=most };
    let any = positions.channel.is_none() && first.is_none() && last.is_none();
    let services = words("service").iter().map(|service| service.to_lowercase()).collect();
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("--label: expected KEY=VALUE".to_owned()))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    Ok(Selection {
        from_us,
        to_us,
        services,
        trace: matches.try_get_one::<Trace>("trace-id").ok().flatten().copied(),
        positions: (!any).then_some(positions),
        categories: words("category"),
        labels: words("label").iter().map(pair).collect::<Result<_, clap::Error>>()?,
    })
}

#[cfg(test)]
mod tests;
