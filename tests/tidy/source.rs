//! Source text as the checks want it: comments and literals blanked out, line numbers kept.
//!
//! A small lexer, not a parser. It knows nested block comments, raw and byte strings, and tells a character from a
//! lifetime. It fails by blanking too little, which then shows as a violation with its line.

use std::path::{Path, PathBuf};

/// A Rust file.
pub struct Source {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
    /// `text` with comments and the insides of literals replaced by spaces.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Source { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// `listener` of `src/listener/http.rs` and of `src/listener.rs`; `None` outside `src/`.
    pub fn stage(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next()?.trim_end_matches(".rs"))
    }

    /// How many `super::` lead from this file's module to the crate.
    pub fn depth(&self) -> usize {
        let parts = self.path.trim_end_matches(".rs").split('/').count() - 1;
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    /// A file of tests beside what it tests.
    pub fn is_test(&self) -> bool {
        !self.path.starts_with("src/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    pub fn is_generated(&self) -> bool {
        self.path.contains("/gen/")
    }

    pub fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Where `word` stands in the code as a path or a name of its own: not as a part of a longer name.
    pub fn find(&self, word: &str) -> Vec<usize> {
        let code = self.code.as_bytes();
        let free = |at: Option<usize>| at.and_then(|at| code.get(at)).is_none_or(|byte| !is_name(*byte));
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(|at| {
                free(at.checked_sub(1)) && (!is_name(word.as_bytes()[word.len() - 1]) || free(Some(at + word.len())))
            })
            .collect()
    }
}

pub fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The name that `text` begins with.
pub fn name_at(text: &str) -> &str {
    let end = text.bytes().position(|byte| !is_name(byte)).unwrap_or(text.len());
    &text[..end]
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `dir` (from the root) whose names end so, in order. What is fetched or built is passed over.
pub fn files(dir: &str, suffix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = vec![root().join(dir)];
    while let Some(dir) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.map(|entry| entry.expect("a directory can be listed")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().expect("an entry has a type").is_dir() {
                if !["target", ".git", ".real", "spangate-data"].contains(&name.as_str()) {
                    left.push(entry.path());
                }
            } else if name.ends_with(suffix) {
                let path = entry.path();
                let path = path.strip_prefix(root()).expect("the walk began at the root");
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Our own Rust files: the product, its tests, its benchmarks.
pub fn sources() -> Vec<Source> {
    ["src", "tests", "benches"]
        .iter()
        .flat_map(|dir| files(dir, ".rs"))
        .map(|path| Source::new(&path, &read(&path)))
        .filter(|source| !source.is_generated())
        .collect()
}

/// Comments and the insides of strings and characters become spaces; line ends stay.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match skipped(bytes, at) {
            Some(end) => end.min(bytes.len()),
            None => {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
        };
        out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    String::from_utf8(out).expect("whole characters are blanked")
}

/// The end of the comment or literal that begins at `at`, if one does.
fn skipped(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |line| at + line));
    }
    if rest.starts_with(b"/*") {
        return Some(comment_end(bytes, at));
    }
    let starts_word = at == 0 || !is_name(bytes[at - 1]);
    let prefix =
        if starts_word { rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count() } else { 0 };
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let raw = rest[..prefix].contains(&b'r');
    match rest.get(prefix + hashes) {
        Some(b'"') if raw => {
            let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            let from = at + prefix + hashes + 1;
            let end = bytes[from..].windows(close.len()).position(|window| window == close);
            Some(end.map_or(bytes.len(), |end| from + end + close.len()))
        }
        Some(b'"') if hashes == 0 => Some(quoted_end(bytes, at + prefix + 1, b'"')),
        Some(b'\'') if hashes == 0 && is_character(&rest[prefix..]) => Some(quoted_end(bytes, at + prefix + 1, b'\'')),
        _ => None,
    }
}

/// `'x'` and `'\n'` are characters; `'a` in `&'a str` is a lifetime.
fn is_character(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(byte) if byte.is_ascii() => rest.get(2) == Some(&b'\''),
        // A character of several bytes: no lifetime begins with one in this code.
        Some(_) => true,
        None => false,
    }
}

fn quoted_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn comment_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}
