//! A `Log` call: entries by category, each decoded on its own.
//!
//! Entries of other categories are counted and gone; an entry that cannot be decoded is set
//! aside with its reason, and costs none of its neighbours.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Settings;
use super::categories::{CATEGORIES_MAX, CATEGORY_BYTES_MAX, Categories, Category, clean};
use crate::channel::Origin;
use crate::listener::intake::{Group, Message};
use crate::wire::scribe::Entry;
use crate::wire::{Limits, replay, v1};

/// Decodes the calls of one connection; what it has learnt of its categories is kept for the next.
pub(super) struct Decoder {
    /// What the origins of all categories begin with.
    origin: Vec<(String, String)>,
    origins: HashMap<Box<[u8]>, Known>,
    scratch: v1::Scratch,
    limits: Limits,
}

/// A category that is taken.
#[derive(Clone)]
struct Known {
    origin: Arc<Origin>,
    category: Arc<Category>,
}

/// A decoded call.
#[derive(Default)]
pub(super) struct Call {
    pub message: Message,
    /// Entries decoded, by category.
    pub good: Vec<(Arc<Category>, u64)>,
    /// Entries set aside, with the last one's reason for the log.
    pub bad: u64,
    pub bad_reason: Option<String>,
}

impl Call {
    pub fn is_empty(&self) -> bool {
        self.message.groups.is_empty()
    }

    /// Counts the answer under scribed's names.
    pub fn count(good: &[(Arc<Category>, u64)], categories: &Categories, accepted: bool) {
        for (category, entries) in good {
            for counts in [&category.counts, &categories.overall] {
                if accepted { &counts.good } else { &counts.denied }.fetch_add(*entries, Relaxed);
            }
        }
    }
}

impl Decoder {
    pub fn new(peer: SocketAddr, settings: &Settings) -> Self {
        let own = [("listener", "scribe".to_owned()), ("peer", peer.ip().to_canonical().to_string())];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        Decoder {
            origin: own.chain(settings.labels.iter().cloned()).collect(),
            origins: HashMap::new(),
            scratch: v1::Scratch::default(),
            limits: Limits::default(),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn decode<'a>(
        &mut self,
        entries: impl IntoIterator<Item = Entry<'a>>,
        settings: &Settings,
        categories: &Categories,
    ) -> Call {
        let mut call = Call::default();
        let options = v1::Options { keep_binary_annotations: settings.keep_binary_annotations };
        // The group of each category; a call has one as a rule, so the last is tried first.
        let mut groups: HashMap<&[u8], usize> = HashMap::new();
        let mut last: Option<(&[u8], usize)> = None;
        let mut entries = entries.into_iter().peekable();
        // One with a message is an entry like any other: nothing of it may be gone unseen.
        let is_mark = |entry: &Entry| entry.category == replay::CATEGORY.as_bytes() && entry.message.is_empty();
        let marked = entries.next_if(is_mark).is_some();
        let replayed = marked && settings.replay_mark;
        for Entry { category, message } in entries {
            if category.is_empty() || !settings.takes(category) {
                ignore(category, categories);
                continue;
            }
            let group = match last {
                Some((same, group)) if same == category => group,
                // Beyond the bound a category stands with the last one that has a group.
                _ if groups.len() >= CATEGORIES_MAX => *groups.get(category).unwrap_or(&(CATEGORIES_MAX - 1)),
                _ => *groups.entry(category).or_insert_with(|| self.group(category, replayed, &mut call, categories)),
            };
            last = Some((category, group));
            self.entry(message, &options, group, &mut call, categories);
        }
        call
    }

    fn entry(&mut self, message: &[u8], options: &v1::Options, group: usize, call: &mut Call, categories: &Categories) {
        let Call { message: decoded, good, bad, bad_reason } = call;
        let Group { batch, aside, .. } = &mut decoded.groups[group];
        // Four characters are three bytes; the line breaks of MIME make this a little too much.
        decoded.decoded_bytes += message.len() / 4 * 3;
        match v1::decode_entry(message, &self.limits, options, &mut self.scratch, batch) {
            Ok(_spans) => good[group].1 += 1,
            Err(error) => {
                aside.push(&error.reason, message);
                (*bad, *bad_reason) = (*bad + 1, Some(error.reason));
                for counts in [&good[group].0.counts, &categories.overall] {
                    counts.bad.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// A new group for a category.
    fn group(&mut self, category: &[u8], replayed: bool, call: &mut Call, categories: &Categories) -> usize {
        let next = call.good.len();
        let known = self.known(category, categories);
        call.good.push((known.category, 0));
        let origin = if replayed { Arc::new(known.origin.replayed()) } else { known.origin };
        call.message.groups.push(Group { origin, ..Group::default() });
        next
    }

    fn known(&mut self, category: &[u8], categories: &Categories) -> Known {
        if let Some(known) = self.origins.get(category) {
            return known.clone();
        }
        let own = self.origin.iter().cloned();
        let origin = Arc::new(Origin(own.chain([("category".to_owned(), clean(category))]).collect()));
        let known = Known { origin, category: categories.get(category) };
        if self.origins.len() < CATEGORIES_MAX && category.len() <= CATEGORY_BYTES_MAX {
            self.origins.insert(category.into(), known.clone());
        }
        known
    }
}

/// An entry whose category is not taken: answered OK, counted, gone (as scribed without a default store).
fn ignore(category: &[u8], categories: &Categories) {
    let known = categories.get(category);
    known.ignored.increment(1);
    for counts in [&known.counts, &categories.overall] {
        if category.is_empty() { &counts.blank } else { &counts.bad }.fetch_add(1, Relaxed);
    }
}
