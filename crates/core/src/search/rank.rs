//! The best hits, without keeping all of them.

use std::collections::BinaryHeap;

use spacedrive_api::SearchSort;

use super::block::Block;
use crate::index::row::Eid;

/// How well a name fits; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// 0: the whole name, or all of it before the extension; 1: its beginning; 2: the beginning of a word; 3: elsewhere.
    class: u8,
    length: u16,
}

impl Rank {
    /// The rank of a hit that begins at `position` of the name and is `word` bytes long.
    pub(crate) fn of(block: &Block, slot: usize, position: usize, word: usize) -> Self {
        let range = block.range(slot);
        let length = range.len();
        let text = block.text();
        let class = if position == 0 {
            let end = text[range.start + word.min(length)];
            if word >= length || end == b'.' && memchr::memrchr(b'.', &text[range.clone()]) == Some(word) { 0 } else { 1 }
        } else {
            let before = text.get(range.start + position - 1).copied().unwrap_or(0);
            if before.is_ascii_alphanumeric() || before >= 0x80 { 3 } else { 2 }
        };
        Self { class, length: u16::try_from(length).unwrap_or(u16::MAX) }
    }
}

/// What hits are compared by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Rank(Rank, Eid),
    Name(Box<[u8]>, Eid),
}

/// Keeps the best `limit` hits that it is offered.
pub(crate) struct Best {
    limit: usize,
    by_name: bool,
    more: bool,
    /// The worst one on top.
    heap: BinaryHeap<Key>,
}

impl Best {
    /// For `limit` hits in the order `sort`, which is by name or by relevance.
    pub(crate) fn new(limit: usize, sort: SearchSort) -> Self {
        Self { limit, by_name: sort == SearchSort::Name, more: false, heap: BinaryHeap::new() }
    }

    /// Takes a hit, or leaves it when there are enough better ones.
    pub(crate) fn offer(&mut self, block: &Block, slot: usize, rank: Rank) {
        if self.heap.len() >= self.limit {
            self.more = true;
            let worse = match self.heap.peek() {
                None => true,
                Some(Key::Rank(worst, eid)) => (rank, block.eid(slot)) >= (*worst, *eid),
                Some(Key::Name(worst, eid)) => (block.folded(slot), block.eid(slot)) >= (&**worst, *eid),
            };
            if worse {
                return;
            }
            self.heap.pop();
        }
        let eid = block.eid(slot);
        self.heap.push(if self.by_name { Key::Name(block.folded(slot).into(), eid) } else { Key::Rank(rank, eid) });
    }

    /// The hits in order, and whether others were left.
    pub(crate) fn finish(self) -> (Vec<Eid>, bool) {
        let eids = self.heap.into_sorted_vec().into_iter().map(|key| match key {
            Key::Rank(_, eid) | Key::Name(_, eid) => eid,
        });
        (eids.collect(), self.more)
    }
}
