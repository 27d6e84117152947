//! What the words of a query mean, and finding the names that fit all of them.

use std::ops::ControlFlow;

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::block::Block;
use super::fold;
use crate::{Error, Result};

/// The words of a query, ready to be looked for.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// What every name that fits contains in its folded form: the longest certain part, which is looked for first.
    anchor: Option<Finder<'static>>,
    words: Vec<Word>,
    loose: bool,
    /// The anchor says all there is to say.
    anchor_only: bool,
}

#[derive(Debug)]
enum Word {
    /// Part of the folded (or loose) name.
    Folded(Finder<'static>),
    /// Part of the name as it is written.
    Exact(Finder<'static>),
    /// An expression on the name as it is written (or on the loose one).
    Expression(Regex),
    /// A pattern of the whole name as it is written.
    ExactGlob(Glob),
    /// A pattern of the folded (or loose) name.
    FoldedGlob(Glob),
}

/// A pattern, for names that are UTF-8 and for others.
#[derive(Debug)]
struct Glob {
    text: Regex,
    bytes: Regex,
}

impl Glob {
    /// `*` is any run of characters, `?` is one of them, or one byte that belongs to none.
    fn new(word: &str, pattern: &[u8]) -> Result<Self> {
        let pattern = String::from_utf8_lossy(pattern);
        let compile = |one| expression(word, &glob(&pattern, one), false);
        Ok(Self { text: compile(".")?, bytes: compile(r"(?:.|(?-u:[\x80-\xFF]))")? })
    }

    fn is_match(&self, name: &[u8]) -> bool {
        if std::str::from_utf8(name).is_ok() { self.text.is_match(name) } else { self.bytes.is_match(name) }
    }
}

impl Matcher {
    /// Prepares `words`: each is a part of the name, with `*` or `?` a pattern of the whole name, or with `regex` an
    /// expression. A word with a capital letter respects case, unless `loose`.
    pub(crate) fn new(words: &[String], regex: bool, loose: bool) -> Result<Self> {
        let fold = |text: &str| if loose { fold::loose(text.as_bytes()) } else { fold::folded(text.as_bytes()) };
        let mut anchor: Vec<u8> = Vec::new();
        let mut suggest = |candidate: Vec<u8>| {
            if candidate.len() > anchor.len() {
                anchor = candidate;
            }
        };
        let mut compiled = Vec::new();
        for word in words {
            let exact = !loose && fold::has_capital(word);
            if regex {
                compiled.push(Word::Expression(expression(word, word, !exact)?));
            } else if word.contains(['*', '?']) {
                compiled.push(if exact {
                    Word::ExactGlob(Glob::new(word, &fold::exact(word.as_bytes()))?)
                } else {
                    Word::FoldedGlob(Glob::new(word, &fold(word))?)
                });
                // A part between two wildcards must be in the name. With letters beyond ASCII, case has more forms than one.
                word.split(['*', '?']).filter(|part| part.is_ascii()).for_each(|part| suggest(fold(part)));
            } else if exact {
                compiled.push(Word::Exact(Finder::new(&fold::exact(word.as_bytes())).into_owned()));
                suggest(fold(word));
            } else {
                compiled.push(Word::Folded(Finder::new(&fold(word)).into_owned()));
                suggest(fold(word));
            }
        }
        let anchor_only = matches!(compiled.as_slice(), [Word::Folded(_)]);
        let anchor = (!anchor.is_empty()).then(|| Finder::new(&anchor).into_owned());
        Ok(Self { anchor, words: compiled, loose, anchor_only })
    }

    /// How long the part is whose place [`Self::search`] tells.
    pub(crate) fn anchor_len(&self) -> usize {
        self.anchor.as_ref().map_or(0, |anchor| anchor.needle().len())
    }

    /// Calls `hit` with each slot of the block that fits, and with where in the name the longest part of a word begins.
    pub(crate) fn search(&self, block: &Block, mut hit: impl FnMut(usize, usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut buffer = Vec::new();
        let Some(anchor) = &self.anchor else {
            for slot in 0..block.len() {
                if self.fits(block, slot, &mut buffer) {
                    hit(slot, 0)?;
                }
            }
            return ControlFlow::Continue(());
        };
        let text = block.text();
        let (mut from, mut slot) = (0, 0);
        while let Some(found) = anchor.find(&text[from..]) {
            let position = from + found;
            slot = block.slot_at(slot, position);
            let range = block.range(slot);
            // The loose form of an odd name is not in the text: those come below.
            if !(self.loose && block.is_odd(slot)) && (self.anchor_only || self.fits(block, slot, &mut buffer)) {
                hit(slot, position - range.start)?;
            }
            from = range.end;
        }
        if self.loose {
            for slot in block.odd_slots() {
                if let Some(position) = anchor.find(block.loose(slot))
                    && self.fits(block, slot, &mut buffer)
                {
                    hit(slot, position)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether all words fit the name in a slot.
    fn fits(&self, block: &Block, slot: usize, buffer: &mut Vec<u8>) -> bool {
        let mut written = false;
        self.words.iter().all(|word| match word {
            Word::Folded(finder) if self.loose => finder.find(block.loose(slot)).is_some(),
            Word::Folded(finder) => finder.find(block.folded(slot)).is_some(),
            Word::Expression(expression) if self.loose => expression.is_match(block.loose(slot)),
            Word::FoldedGlob(glob) if self.loose => glob.is_match(block.loose(slot)),
            Word::FoldedGlob(glob) => glob.is_match(block.folded(slot)),
            Word::Exact(_) | Word::ExactGlob(_) | Word::Expression(_) => {
                if !written {
                    buffer.clear();
                    block.name_into(slot, buffer);
                    if !buffer.is_ascii() {
                        *buffer = fold::exact(buffer);
                    }
                    written = true;
                }
                match word {
                    Word::Exact(finder) => finder.find(buffer).is_some(),
                    Word::ExactGlob(glob) => glob.is_match(buffer),
                    Word::Expression(expression) => expression.is_match(buffer),
                    Word::Folded(_) | Word::FoldedGlob(_) => true,
                }
            }
        })
    }
}

fn expression(word: &str, pattern: &str, insensitive: bool) -> Result<Regex> {
    RegexBuilder::new(pattern)
        .case_insensitive(insensitive)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| Error::BadPattern { pattern: word.to_owned(), why: reason(&error) })
}

/// The last line of the text, which says what is wrong; the lines before it draw the place.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or(&text).trim_start_matches("error: ").to_owned()
}

/// The expression of a pattern for the whole name: `*` is any run of characters, `?` is one, which is `one` as an expression.
fn glob(pattern: &str, one: &str) -> String {
    let mut out = String::from(r"(?s)\A");
    for c in pattern.chars() {
        match c {
            // Any byte, so that names that are not UTF-8 fit too.
            '*' => out.push_str(r"(?-u:.)*"),
            '?' => out.push_str(one),
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push_str(r"\z");
    out
}
