//! What was counted by category, under scribed's names (`<category>:received good`), for fb303,
//! and the metric of entries that go nowhere.
//!
//! Peers choose categories, so only the first [`CATEGORIES_MAX`] have counters of their own; the
//! rest count as `other`.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::metrics::{Counter, Registry};

/// Series that peers can make us keep: a real scribed has a handful of categories.
pub(super) const CATEGORIES_MAX: usize = 100;

/// Bytes of a category in a label, counter name or origin; scribed's own were directory names.
pub(super) const CATEGORY_BYTES_MAX: usize = 100;

const OTHER: &str = "other";

/// One category's counts (scribe_server.cpp, `Log`).
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Entries answered OK and stored.
    pub good: AtomicU64,
    /// Entries that could not be decoded, or whose category is not taken.
    pub bad: AtomicU64,
    /// Entries answered TRY_LATER; a call that was not read counts as one.
    pub denied: AtomicU64,
    /// Entries without a category.
    pub blank: AtomicU64,
}

impl Counts {
    /// scribed's name of each event, and its count.
    fn events(&self) -> [(&'static str, &AtomicU64); 4] {
        [
            ("received good", &self.good),
            ("received bad", &self.bad),
            ("denied for queue size", &self.denied),
            ("received blank category", &self.blank),
        ]
    }
}

pub(super) struct Category {
    pub counts: Counts,
    /// Entries of a category that is not taken.
    pub ignored: Counter,
}

pub(super) struct Categories {
    pub overall: Counts,
    /// Raw bytes to counts; two names that look alike when cut or cleaned share them.
    known: Mutex<Known>,
    other: Arc<Category>,
    registry: Registry,
}

#[derive(Default)]
struct Known {
    by_bytes: HashMap<Box<[u8]>, Arc<Category>>,
    by_name: BTreeMap<String, Arc<Category>>,
}

impl Categories {
    pub fn new(registry: &Registry) -> Self {
        let other = Arc::new(Category::new(OTHER, registry));
        Categories { overall: Counts::default(), known: Mutex::default(), other, registry: registry.clone() }
    }

    /// The counts of a category, or of `other`.
    pub fn get(&self, category: &[u8]) -> Arc<Category> {
        let mut known = self.known.lock().expect("nothing panics while holding it");
        if let Some(found) = known.by_bytes.get(category) {
            return found.clone();
        }
        if known.by_bytes.len() >= CATEGORIES_MAX || category.len() > CATEGORY_BYTES_MAX {
            return self.other.clone();
        }
        let name = clean(category);
        let new = || Arc::new(Category::new(&name, &self.registry));
        let category_of_name = known.by_name.entry(name.clone()).or_insert_with(new).clone();
        known.by_bytes.insert(category.into(), category_of_name.clone());
        category_of_name
    }

    /// Every counter that is not zero, and the overall ones always.
    pub fn counters(&self) -> BTreeMap<String, i64> {
        let mut counters = BTreeMap::new();
        let mut add = |name: &str, counts: &Counts, zeros: bool| {
            for (event, count) in counts.events() {
                let count = count.load(Relaxed);
                if zeros || count > 0 {
                    *counters.entry(format!("{name}:{event}")).or_insert(0) += count.cast_signed();
                }
            }
        };
        add("scribe_overall", &self.overall, true);
        add(OTHER, &self.other.counts, false);
        for (name, category) in &self.known.lock().expect("nothing panics while holding it").by_name {
            add(name, &category.counts, false);
        }
        counters
    }
}

impl Category {
    fn new(name: &str, registry: &Registry) -> Self {
        let ignored = registry.counter("spangate_entries_ignored_total", &[("category", name)]);
        Category { counts: Counts::default(), ignored }
    }
}

/// A category as text for labels, names and origins: printable, `?` for what is not, `blank` for
/// none, cut at [`CATEGORY_BYTES_MAX`].
pub(super) fn clean(category: &[u8]) -> String {
    if category.is_empty() {
        return "blank".to_owned();
    }
    let text = String::from_utf8_lossy(&category[..category.len().min(CATEGORY_BYTES_MAX)]);
    text.chars().map(|c| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_beyond_the_bound_count_as_other() {
        let registry = Registry::new(crate::metrics::TABLE);
        let categories = Categories::new(&registry);
        for i in 0..CATEGORIES_MAX + 50 {
            categories.get(format!("c{i}").as_bytes()).counts.bad.fetch_add(1, Relaxed);
        }
        categories.get(&[b'x'; CATEGORY_BYTES_MAX + 1]).counts.bad.fetch_add(1, Relaxed);
        let counters = categories.counters();
        assert_eq!(counters["other:received bad"], 51);
        assert_eq!(counters["c99:received bad"], 1);
        assert!(!counters.contains_key("c100:received bad"));
        assert_eq!(counters["scribe_overall:received good"], 0);
    }

    #[test]
    fn a_hostile_category_is_harmless_in_a_label() {
        assert_eq!(clean(b"a\"\n\xff"), "a\"??");
        assert_eq!(clean(b""), "blank");
        assert_eq!(clean(&[b'x'; 1 << 20]).len(), CATEGORY_BYTES_MAX);
    }
}
