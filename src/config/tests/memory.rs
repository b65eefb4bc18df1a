//! The memory channel: its defaults, and what it refuses.

use super::{Case, origin};
use crate::channel::Sync;
use crate::config::ChannelKind;

#[test]
fn a_memory_channel_has_a_capacity_of_its_own_and_asks_nothing_of_the_disk() {
    for case in [
        Case::file("channel.kind = \"memory\""),
        Case::default().variable("SPANGATE_CHANNEL_KIND", "memory"),
        Case::file("channel.kind = \"file\"").flag("channel.kind", &["memory"]),
    ] {
        let settings = case.understood().settings;
        assert_eq!(settings.channel_kind, ChannelKind::Memory);
        assert_eq!((settings.channel.capacity_bytes, settings.channel.free_min_bytes), (256 << 20, Some(0)));
        assert_eq!(settings.channel.sync, Sync::Always);
        assert_eq!(settings.dead_letters.free_min_bytes, None, "they are on the disk still");
    }
    let file = Case::default().understood().settings;
    assert_eq!((file.channel_kind, file.channel.capacity_bytes), (ChannelKind::File, 10 << 30));
}

#[test]
fn what_is_set_of_a_memory_channel_is_taken_as_it_is() {
    let text = "[channel]\nkind = \"memory\"\ncapacity = \"1GiB\"\ncapacity_spans = 7\nfree_min = \"2GiB\"\n";
    let settings = Case::file(text).understood().settings;
    assert_eq!((settings.channel.capacity_bytes, settings.channel.capacity_spans), (1 << 30, Some(7)));
    assert_eq!(settings.channel.free_min_bytes, Some(0));
    assert_eq!(settings.dead_letters.free_min_bytes, Some(1 << 30), "half of it is theirs");
}

#[test]
fn a_sync_of_what_is_in_memory_is_refused_wherever_it_is_set() {
    let expected = "channel.sync: is for a channel of files alone, and channel.kind is \"memory\", which syncs nothing: \
        take it away, or set channel.kind to \"file\"";
    let in_file = Case::file("[channel]\nkind = \"memory\"\nsync = \"always\"\n");
    assert_eq!(in_file.problems(), [format!("spangate.toml:3:8: {expected}")]);
    let in_layers = Case::file("channel.kind = \"memory\"").flag("channel.sync", &["5s"]);
    assert_eq!(in_layers.problems(), [format!("flag --channel-sync: {expected}")]);
    let misread = Case::file("channel.kind = \"memory\"").flag("channel.sync", &["soon"]);
    assert_eq!(misread.problems().len(), 1, "what is not understood is one problem");
}

#[test]
fn another_kind_of_channel_is_refused_with_those_there_are() {
    let problems = Case::file("channel.kind = \"disk\"").problems();
    assert_eq!(problems, ["spangate.toml:1:16: channel.kind: found \"disk\", expected \"file\" or \"memory\""]);
}

#[test]
fn what_is_printed_of_a_memory_channel_gives_the_same_settings_again() {
    let understood = Case::file("channel.kind = \"memory\"").understood();
    let printed = understood.resolved.to_string();
    assert!(!printed.contains("channel.sync"), "{printed}");
    assert!(printed.contains("channel.capacity = \"256MiB\""), "{printed}");
    assert_eq!(origin(&understood, "channel.capacity"), "default");
    assert_eq!(super::told(&Case::file(&printed).understood()), super::told(&understood));
}
