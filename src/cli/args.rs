//! Arguments: one flag for each setting of the table, and the commands, noun then verb.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches};

use super::archive;
use super::channel;
use super::dead_letters::Verb;
use super::send;
use crate::config::table::{Scope, Setting, rows};
use crate::config::{CONFIG_VARIABLE, is_switch, value::Kind};
use crate::deadletter::{Class, Filter};

/// Settings given as flags, with the texts of each.
pub type Flags = Vec<(&'static Setting, Vec<String>)>;

/// A command line, read.
#[derive(Debug)]
pub enum Line {
    /// With the gateway's settings.
    Asked(Asked),
    /// `spangate send` has flags of its own: whoever sends may be on another machine than the gateway.
    Send(send::options::Options),
}

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    pub command: Command,
    pub flags: Flags,
    pub config: Option<OsString>,
}

impl Asked {
    /// The archive that is asked for, whatever is configured.
    pub fn url(&self) -> Option<&str> {
        if let Command::Archive(options) = &self.command { options.url.as_deref() } else { None }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Run,
    Check { resolved: bool },
    Channel(channel::Verb),
    DeadLetters { verb: Verb, filter: Filter },
    Archive(Box<archive::options::Options>),
}

/// The flags of `-h`; all others stand in `--help`, under a heading of their own.
const MAIN: [&str; 6] = ["collector", "archive", "data", "scribe.address", "http.address", "admin.address"];

const CLOSING: &str = "\
Every setting has one name: --channel-sync, SPANGATE_CHANNEL_SYNC, [channel] sync. A flag goes \
before a variable, a variable before the file. Lists: repeat the flag, or commas. Drains and \
their sinks are named in the file.
Exit codes: 0 stopped, 1 our own fault, 2 configuration, 3 port or data directory in use, \
4 damage that needs a person.";

/// Reads a command line; the error is a message for a person, of help and version, too.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Line, clap::Error> {
    let matches = program().try_get_matches_from(args)?;
    if let Some(("send", inner)) = matches.subcommand() {
        return send::options::read(inner).map(Line::Send);
    }
    Ok(Line::Asked(match matches.subcommand() {
        None => asked(Command::Run, &matches),
        Some(("run", inner)) => asked(Command::Run, inner),
        Some(("check", inner)) => asked(Command::Check { resolved: inner.get_flag("resolved") }, inner),
        Some(("dead-letters", letters)) => {
            let (verb, inner) = letters.subcommand().expect("clap demands a verb of `dead-letters`");
            asked(letters_command(verb, inner), inner)
        }
        Some(("archive", archive)) => {
            let (verb, inner) = archive.subcommand().expect("clap demands a verb of `archive`");
            asked(Command::Archive(Box::new(archive::options::read(verb, inner)?)), inner)
        }
        Some((_, inner)) => {
            let (verb, inner) = inner.subcommand().expect("clap demands a verb of `channel`");
            asked(Command::Channel(channel_verb(verb, inner)), inner)
        }
    }))
}

fn channel_verb(verb: &str, inner: &ArgMatches) -> channel::Verb {
    let drains = |name: &str| inner.get_many::<String>(name).into_iter().flatten().cloned().collect();
    match verb {
        "inspect" => channel::Verb::Inspect { json: inner.get_flag("json") },
        "verify" => channel::Verb::Verify { json: inner.get_flag("json") },
        "send" => channel::Verb::Send(channel::send::Order {
            to: inner.get_one::<String>("to").expect("clap demands --to").clone(),
            drains: drains("drain"),
            rate: inner.get_one::<u64>("rate").copied().unwrap_or(channel::send::RATE),
        }),
        "repair" => channel::Verb::Repair { drains: drains("drain"), yes: inner.get_flag("yes") },
        _ => {
            let drain = inner.get_one::<String>("drain").expect("clap demands NAME").clone();
            channel::Verb::Forget { drain, yes: inner.get_flag("yes") }
        }
    }
}

fn letters_command(verb: &str, inner: &ArgMatches) -> Command {
    let text = |name: &str| inner.get_one::<String>(name).cloned();
    let filter = Filter {
        class: text("class").and_then(|name| Class::named(&name)),
        drain: text("drain"),
        reason: text("reason"),
        since: text("since"),
        until: text("until"),
        id: text("id"),
        limit: inner.get_one::<u64>("limit").copied(),
    };
    let verb = match verb {
        "list" => Verb::List,
        "show" => Verb::Show,
        "replay" => Verb::Replay,
        _ => Verb::Purge { yes: inner.get_flag("yes") },
    };
    Command::DeadLetters { verb, filter }
}

fn asked(command: Command, matches: &ArgMatches) -> Asked {
    let given = |setting: &'static Setting| {
        // The verbs of `channel` take few of the flags.
        let texts = matches.try_get_many::<String>(setting.key).ok().flatten()?;
        Some((setting, texts.cloned().collect()))
    };
    // The verbs of `channel` take the data directory as it is, too.
    let dir = matches.try_get_one::<String>("dir").ok().flatten().cloned();
    let dir = dir.and_then(|dir| flagged().find(|setting| setting.key == "data").map(|setting| (setting, vec![dir])));
    Asked {
        command,
        flags: flagged().filter_map(given).chain(dir).collect(),
        config: matches.get_one::<OsString>("config").cloned(),
    }
}

/// The rows that have a flag.
fn flagged() -> impl Iterator<Item = &'static Setting> {
    rows(Scope::Shorthand).chain(rows(Scope::Gateway))
}

fn program() -> clap::Command {
    let check = clap::Command::new("check")
        .about("Says what is wrong with a configuration; starts nothing")
        .arg(switch("resolved").help("Print every setting in force and where it came from, as TOML"))
        .args(settings());
    clap::Command::new("spangate")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A gateway for Zipkin spans: Scribe and HTTP in, a durable channel, collectors and an archive out")
        .after_help(CLOSING)
        .args_conflicts_with_subcommands(true)
        .args(settings())
        .subcommand(clap::Command::new("run").about("Runs the gateway (also without this word)").args(settings()))
        .subcommand(check)
        .subcommand(send::options::command())
        .subcommand(dead_letters())
        .subcommand(archive_command())
        .subcommand(channel_verbs())
}

fn channel_verbs() -> clap::Command {
    let verb = |name: &'static str, about: &'static str| {
        let data = flagged().filter(|s| s.key == "data").map(flag);
        let dir =
            Arg::new("dir").value_name("DIR").help("The data directory; else as for a start").conflicts_with("data");
        clap::Command::new(name).about(about).arg(dir).arg(config()).args(data)
    };
    let json = || switch("json").help("Print it as JSON");
    let inspect = verb("inspect", "Prints segments, drains and what was set aside; beside a gateway that runs, too");
    let verify =
        verb("verify", "Reads every byte and says what is damaged, and whose spans are lost; exit code 4 then");
    let repair = verb("repair", "Mends what a start refuses; moves aside and deletes nothing. The gateway is stopped");
    let send =
        verb("send", "Sends what waits in the directory of a dead gateway, and settles it there; may be cut off");
    let to = Arg::new("to").long("to").value_name("URL").required(true);
    let to = to.help("Zipkin or another gateway: http://HOST[:9411], scribe://HOST[:9410]");
    let rate = Arg::new("rate").long("rate").value_name("NUMBER").value_parser(clap::value_parser!(u64).range(1..));
    let rate = rate.help(format!("Spans a second, at most [{}]", channel::send::RATE));
    let drain =
        |help: &'static str| Arg::new("drain").long("drain").value_name("NAME").action(ArgAction::Append).help(help);
    let sent = drain("What waits for this drain; else for each that feeds collectors");
    let had = drain("A drain that the gateway is to have, if the configuration does not name it");
    let yes = |what: &'static str| switch("yes").help(what);
    let name = Arg::new("drain").value_name("NAME").required(true).help("The drain");
    let forget = verb("forget", "Gives up a drain, and what waits for it alone, in a gateway that is stopped");
    clap::Command::new("channel").about("The channel on disk").subcommand_required(true).subcommands([
        inspect.arg(json()),
        verify.arg(json()),
        send.arg(to).arg(sent).arg(rate),
        repair.arg(had).arg(yes("Do it; without this, print what would be done")),
        forget
            .arg(name.index(1))
            .mut_arg("dir", |dir| dir.index(2))
            .arg(yes("Do it; without this, print what would be given up")),
    ])
}

fn archive_command() -> clap::Command {
    let flags = flagged().filter(|s| ["archive", "data"].contains(&s.key)).map(flag);
    archive::options::command(std::iter::once(config()).chain(flags).collect())
}

fn dead_letters() -> clap::Command {
    let verb = |name: &'static str, about: &'static str| {
        let flags = flagged().filter(|s| ["data", "admin.address", "admin.token_file"].contains(&s.key)).map(flag);
        clap::Command::new(name).about(about).args(letter_filter()).arg(config()).args(flags)
    };
    let list = verb("list", "Prints id, time, class, drain and reason of each, oldest first");
    let show = verb("show", "Prints letters as JSON: a span as Zipkin writes it, anything else in base64");
    let replay = verb("replay", "Sends spans again to the drain that refused them, and to no other");
    let purge = verb("purge", "Removes letters for good")
        .arg(switch("yes").help("Do it; without this, print how many would be removed"));
    clap::Command::new("dead-letters")
        .about("What nobody took: looked at, sent again, removed; beside a gateway that runs, or without")
        .subcommand_required(true)
        .subcommands([list, show, replay, purge])
}

/// Which letters; none given: all.
fn letter_filter() -> Vec<Arg> {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        let arg = Arg::new(name).value_name(value).help(help);
        if name == "id" { arg } else { arg.long(name) }
    };
    let class = text("class", "CLASS", "Of this class").value_parser(["refused", "suspect", "undecodable"]);
    let time = "or the beginning of such a time, UTC: 2026-11-21T06:00:00Z, 2026-11-21";
    vec![
        text("id", "ID", "This one, by the id that list prints").index(1),
        class,
        text("drain", "DRAIN", "Given up by this drain"),
        text("reason", "TEXT", "With this in the reason"),
        text("since", "TIME", "Written then or later").long_help(format!("Written then or later, {time}")),
        text("until", "TIME", "Written before then").long_help(format!("Written before then, {time}")),
        text("limit", "NUMBER", "At most so many, the oldest").value_parser(clap::value_parser!(u64)),
    ]
}

fn switch(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn config() -> Arg {
    Arg::new("config")
        .short('c')
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(OsString))
        .help(format!("Configuration file, TOML [{CONFIG_VARIABLE}]"))
}

fn settings() -> Vec<Arg> {
    let (main, rest): (Vec<_>, Vec<_>) = flagged().partition(|s| MAIN.contains(&s.key));
    let rest = rest.into_iter().map(|s| flag(s).help_heading("Settings").hide_short_help(true));
    std::iter::once(config()).chain(main.into_iter().map(flag)).chain(rest).collect()
}

fn flag(setting: &'static Setting) -> Arg {
    let long = setting.flag().expect("only rows with a flag are asked for one");
    let default = setting.default.map(|text| format!(" [{text}]")).unwrap_or_default();
    let arg = Arg::new(setting.key)
        .long(long)
        .value_name(value_name(setting.kind))
        .action(if setting.kind.is_list() { ArgAction::Append } else { ArgAction::Set })
        .help(format!("{}{default}", setting.doc));
    match is_switch(setting) {
        true => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        false => arg,
    }
}

/// What a flag takes, in a word.
fn value_name(kind: Kind) -> String {
    let or = |word: Option<&str>, name: &str| word.map_or(name.to_owned(), |word| format!("{word}|{name}"));
    match kind {
        Kind::Path => "DIR".into(),
        Kind::File => "FILE|none".into(),
        Kind::Addresses => "IP:PORT".into(),
        Kind::Words | Kind::Listeners | Kind::Services => "WORDS".into(),
        Kind::Labels => "KEY=VALUE".into(),
        Kind::Share => "0.0-1.0".into(),
        Kind::Filter => "LEVEL".into(),
        Kind::Name => "NAME".into(),
        Kind::Bytes { or: word, .. } => or(word, "SIZE"),
        Kind::Count { or: word, .. } => or(word, "NUMBER"),
        Kind::Time { or: word, .. } => or(word, "TIME"),
        Kind::Choice(words) => words.join("|"),
        Kind::Bool => "true|false".into(),
        Kind::Collector | Kind::Collectors => "URL".into(),
        Kind::Archive => "builtin|URL|none".into(),
        Kind::Endpoint => "URL|none".into(),
        Kind::Template => "PATH".into(),
        Kind::Zone => "UTC|+HH:MM".into(),
    }
}
