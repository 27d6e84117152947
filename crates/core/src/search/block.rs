//! 4,096 numbers of entries with their names, packed for searching.

use spacedrive_api::EntryKind;

use super::fold;
use crate::index::row::{Eid, kind_number, kind_of};

/// How many bits of an eid tell its place in a block.
pub(crate) const BITS: u32 = 12;

/// The number that stands for the root of a location: it has no name and is never found.
const ROOT: u8 = 9;

/// What the search knows of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) eid: Eid,
    pub(crate) parent: Eid,
    pub(crate) kind: EntryKind,
    pub(crate) name: Box<[u8]>,
}

/// A name whose bytes do not follow from its folded form and the capitals.
#[derive(Debug, Clone)]
struct Odd {
    slot: u16,
    original: Box<[u8]>,
    loose: Box<[u8]>,
}

/// Names of neighbouring entries, each once folded, in one piece of memory with a NUL before and after each.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The lowest number that belongs here.
    first: Eid,
    /// Which numbers there are, ascending, less `first`.
    numbers: Box<[u16]>,
    /// Where each folded name begins in `text`, and one more for the end.
    starts: Box<[u32]>,
    text: Box<[u8]>,
    /// One bit for each byte of `text`: it was a capital letter of ASCII.
    capitals: Box<[u8]>,
    odd: Box<[Odd]>,
    /// The parent from this slot on.
    parents: Box<[(u16, Eid)]>,
    kinds: Box<[u8]>,
}

impl Block {
    /// Packs entries, which are sorted by eid and belong into one block.
    pub(crate) fn pack<'a>(entries: impl Iterator<Item = (Eid, Eid, EntryKind, &'a [u8])>) -> Self {
        let mut first = None;
        let (mut numbers, mut starts, mut text, mut capitals) = (Vec::new(), Vec::new(), vec![0], vec![0u8]);
        let (mut odd, mut parents, mut kinds) = (Vec::new(), Vec::<(u16, Eid)>::new(), Vec::new());
        for (eid, parent, kind, name) in entries {
            let base = *first.get_or_insert(eid >> BITS << BITS);
            let slot = numbers.len() as u16;
            numbers.push((eid - base) as u16);
            starts.push(text.len() as u32);
            if parents.last().is_none_or(|(_, last)| *last != parent) {
                parents.push((slot, parent));
            }
            if parent == 0 {
                kinds.push(ROOT);
            } else {
                kinds.push(kind_number(kind) as u8);
                if name.is_ascii() {
                    for &byte in name {
                        let at = text.len();
                        text.push(byte.to_ascii_lowercase());
                        if capitals.len() * 8 <= at {
                            capitals.push(0);
                        }
                        if byte.is_ascii_uppercase() {
                            capitals[at / 8] |= 1 << (at % 8);
                        }
                    }
                } else {
                    text.extend_from_slice(&fold::folded(name));
                    odd.push(Odd { slot, original: name.into(), loose: fold::loose(name).into() });
                }
            }
            text.push(0);
            capitals.resize(text.len().div_ceil(8), 0);
        }
        starts.push(text.len() as u32);
        Self {
            first: first.unwrap_or(0),
            numbers: numbers.into(),
            starts: starts.into(),
            text: text.into(),
            capitals: capitals.into(),
            odd: odd.into(),
            parents: parents.into(),
            kinds: kinds.into(),
        }
    }

    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// All folded names, with NULs between.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The slot of the entry `eid`.
    pub(crate) fn slot_of(&self, eid: Eid) -> Option<usize> {
        self.numbers.binary_search(&((eid - self.first) as u16)).ok()
    }

    /// The entry in a slot.
    pub(crate) fn eid(&self, slot: usize) -> Eid {
        self.first + Eid::from(self.numbers[slot])
    }

    /// Where the folded name of a slot lies in `text`.
    pub(crate) fn range(&self, slot: usize) -> std::ops::Range<usize> {
        self.starts[slot] as usize..self.starts[slot + 1] as usize - 1
    }

    /// The folded name of a slot.
    pub(crate) fn folded(&self, slot: usize) -> &[u8] {
        &self.text[self.range(slot)]
    }

    /// The first slot at or after `from` whose name reaches beyond `position` of `text`.
    pub(crate) fn slot_at(&self, from: usize, position: usize) -> usize {
        let position = position as u32;
        let mut slot = from;
        for _ in 0..8 {
            if self.starts[slot + 1] > position {
                return slot;
            }
            slot += 1;
        }
        slot + self.starts[slot + 1..].partition_point(|&start| start <= position)
    }

    fn odd(&self, slot: usize) -> Option<&Odd> {
        if self.odd.is_empty() {
            return None;
        }
        self.odd.binary_search_by_key(&(slot as u16), |odd| odd.slot).ok().map(|n| &self.odd[n])
    }

    /// Whether the name of a slot has letters beyond ASCII, or bytes that are no letters.
    pub(crate) fn is_odd(&self, slot: usize) -> bool {
        self.odd(slot).is_some()
    }

    /// The slots of such names.
    pub(crate) fn odd_slots(&self) -> impl Iterator<Item = usize> {
        self.odd.iter().map(|odd| odd.slot.into())
    }

    /// The name of a slot, byte for byte, at the end of `out`.
    pub(crate) fn name_into(&self, slot: usize, out: &mut Vec<u8>) {
        if let Some(odd) = self.odd(slot) {
            out.extend_from_slice(&odd.original);
            return;
        }
        out.extend(self.range(slot).map(|at| {
            let byte = self.text[at];
            if self.capitals[at / 8] & (1 << (at % 8)) != 0 { byte.to_ascii_uppercase() } else { byte }
        }));
    }

    /// The name of a slot without accents and capitals.
    pub(crate) fn loose(&self, slot: usize) -> &[u8] {
        self.odd(slot).map_or_else(|| self.folded(slot), |odd| &odd.loose)
    }

    /// The parent of a slot.
    pub(crate) fn parent(&self, slot: usize) -> Eid {
        let run = self.parents.partition_point(|(first, _)| usize::from(*first) <= slot);
        self.parents[run - 1].1
    }

    /// The kind of a slot; `None` for the root of a location.
    pub(crate) fn kind(&self, slot: usize) -> Option<EntryKind> {
        (self.kinds[slot] != ROOT).then(|| kind_of(self.kinds[slot].into()))
    }

    /// The block with some entries put in or taken out; sorted by eid, each once.
    pub(crate) fn with(&self, changes: &[(Eid, Option<Named>)]) -> Self {
        // Everything is unpacked and packed again: 4,096 short names take some ten microseconds.
        let mut names = Vec::with_capacity(self.text.len());
        let mut spans = Vec::with_capacity(self.len() + changes.len());
        let mut slots = (0..self.len()).peekable();
        let mut changes = changes.iter().peekable();
        let old = |slot: usize, names: &mut Vec<u8>| {
            let start = names.len();
            self.name_into(slot, names);
            let kind = self.kind(slot).unwrap_or(EntryKind::Dir);
            (self.eid(slot), self.parent(slot), kind, start..names.len())
        };
        loop {
            let next_old = slots.peek().map(|&slot| self.eid(slot));
            let next_new = changes.peek().map(|(eid, _)| *eid);
            match (next_old, next_new) {
                (None, None) => break,
                (Some(a), b) if b.is_none_or(|b| a < b) => {
                    let slot = slots.next().unwrap_or_default();
                    spans.push(old(slot, &mut names));
                }
                (a, _) => {
                    if a == next_new {
                        slots.next();
                    }
                    if let Some((_, Some(named))) = changes.next() {
                        let start = names.len();
                        names.extend_from_slice(&named.name);
                        spans.push((named.eid, named.parent, named.kind, start..names.len()));
                    }
                }
            }
        }
        Self::pack(spans.into_iter().map(|(eid, parent, kind, range)| (eid, parent, kind, &names[range])))
    }
}
