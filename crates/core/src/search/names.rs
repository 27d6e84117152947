//! The names of a library's entries, held in memory for searching and for telling where an entry is.
//!
//! It is built from the table `entries` when the library is opened and follows each committed transaction. A reader takes a
//! [`Snapshot`], which costs nothing and never changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

use rusqlite::Connection;
use spacedrive_api::EntryKind;

use super::block::{BITS, Block, Named};
use crate::db::entry;
use crate::index::row::{Eid, PARKED, kind_of};

/// No path has more parts than this; a chain of parents that is longer is damaged.
const MAX_DEPTH: usize = 100_000;

/// The names of one feed.
#[derive(Debug, Default)]
pub(crate) struct Names {
    blocks: RwLock<Snapshot>,
    loaded: Mutex<bool>,
    loading: Condvar,
}

/// The names as they were at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    blocks: Arc<Vec<Option<Arc<Block>>>>,
}

impl Names {
    /// Reads all names. Nobody changes entries before [`Self::set_loaded`].
    pub(crate) fn load(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut blocks: Vec<Option<Arc<Block>>> = Vec::new();
        let mut text: Vec<u8> = Vec::new();
        let mut pending: Vec<(Eid, Eid, EntryKind, std::ops::Range<usize>)> = Vec::new();
        let mut flush = |text: &mut Vec<u8>, pending: &mut Vec<(Eid, Eid, EntryKind, std::ops::Range<usize>)>| {
            let Some(at) = pending.first().map(|(eid, ..)| (eid >> BITS) as usize) else { return };
            let block = Block::pack(pending.iter().map(|(e, p, k, range)| (*e, *p, *k, &text[range.clone()])));
            blocks.resize(at + 1, None);
            blocks[at] = Some(Arc::new(block));
            pending.clear();
            text.clear();
        };
        entry::names(connection, |eid, parent, kind, name| {
            if pending.first().is_some_and(|(first, ..)| first >> BITS != eid >> BITS) {
                flush(&mut text, &mut pending);
            }
            let start = text.len();
            text.extend_from_slice(name);
            pending.push((eid, parent, kind_of(kind), start..text.len()));
        })?;
        flush(&mut text, &mut pending);
        *self.blocks.write().unwrap_or_else(PoisonError::into_inner) = Snapshot { blocks: Arc::new(blocks) };
        Ok(())
    }

    /// Lets those who wait for the names go on.
    pub(crate) fn set_loaded(&self) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.loading.notify_all();
    }

    /// Waits until the names were read.
    pub(crate) fn wait(&self) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        while !*loaded {
            loaded = self.loading.wait(loaded).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The names as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.blocks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts entries in or takes them out, after the transaction that did the same was committed.
    pub(crate) fn apply(&self, changes: impl IntoIterator<Item = (Eid, Option<Named>)>) {
        let mut by_block: BTreeMap<usize, BTreeMap<Eid, Option<Named>>> = BTreeMap::new();
        for (eid, change) in changes {
            by_block.entry((eid >> BITS) as usize).or_default().insert(eid, change);
        }
        let mut guard = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        let blocks = Arc::make_mut(&mut guard.blocks);
        for (at, changes) in by_block {
            let changes: Vec<(Eid, Option<Named>)> = changes.into_iter().collect();
            if blocks.len() <= at {
                blocks.resize(at + 1, None);
            }
            let block = match &blocks[at] {
                Some(block) => block.with(&changes),
                None => Block::default().with(&changes),
            };
            blocks[at] = (block.len() > 0).then(|| Arc::new(block));
        }
    }
}

impl Snapshot {
    /// The blocks that have entries.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.iter().flatten()
    }

    /// How many entries there are, the roots of locations with them.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.blocks().map(|block| block.len()).sum()
    }

    /// The block and the slot of an entry.
    pub(crate) fn find(&self, eid: Eid) -> Option<(&Block, usize)> {
        let block = self.blocks.get(usize::try_from(eid >> BITS).ok()?)?.as_deref()?;
        Some((block, block.slot_of(eid)?))
    }

    /// The parent of an entry; 0 for the root of a location.
    pub(crate) fn parent(&self, eid: Eid) -> Option<Eid> {
        self.find(eid).map(|(block, slot)| block.parent(slot))
    }

    /// The name and the parent of an entry.
    pub(crate) fn named(&self, eid: Eid) -> Option<Named> {
        let (block, slot) = self.find(eid)?;
        let mut name = Vec::new();
        block.name_into(slot, &mut name);
        let kind = block.kind(slot).unwrap_or(EntryKind::Dir);
        Some(Named { eid, parent: block.parent(slot), kind, name: name.into() })
    }

    /// The root of the location that an entry belongs to, and its path below that, in bytes. `None` when it hangs nowhere.
    pub(crate) fn path(&self, eid: Eid) -> Option<(Eid, Vec<u8>)> {
        let mut chain = Vec::new();
        let mut at = eid;
        loop {
            let (block, slot) = self.find(at)?;
            let parent = block.parent(slot);
            if parent == 0 {
                break;
            }
            chain.push((block, slot));
            if parent == PARKED || chain.len() > MAX_DEPTH {
                return None;
            }
            at = parent;
        }
        let mut path = Vec::new();
        for (block, slot) in chain.into_iter().rev() {
            if !path.is_empty() {
                path.push(b'/');
            }
            block.name_into(slot, &mut path);
        }
        Some((at, path))
    }

    /// Whether `eid` is `folder` or lies below it.
    pub(crate) fn is_below(&self, eid: Eid, folder: Eid) -> bool {
        let mut at = eid;
        for _ in 0..MAX_DEPTH {
            if at == folder {
                return true;
            }
            match self.parent(at) {
                Some(parent) if parent != 0 && parent != PARKED => at = parent,
                _ => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[a-zA-Z0-9._ -]{1,12}".prop_map(String::into_bytes),
            "[a-cA-CéÉ☕ß]{1,6}".prop_map(String::into_bytes),
            prop::collection::vec(1u8..=255, 1..8),
        ]
    }

    proptest! {
        /// After any changes the blocks hold what a plain map holds.
        #[test]
        fn blocks_follow_a_map(
            batches in prop::collection::vec(prop::collection::vec((1u64..10_000, 0u64..5, prop::option::weighted(0.8, name())), 1..60), 1..8)
        ) {
            let names = Names::default();
            let mut map = BTreeMap::new();
            for batch in batches {
                let mut changes = Vec::new();
                for (eid, parent, name) in batch {
                    let named = name.map(|name| Named {
                        eid, parent: parent + 20_000, kind: EntryKind::File, name: name.into(),
                    });
                    match &named {
                        Some(named) => map.insert(eid, named.clone()),
                        None => map.remove(&eid),
                    };
                    changes.push((eid, named));
                }
                names.apply(changes);
            }
            let snapshot = names.snapshot();
            prop_assert_eq!(snapshot.len(), map.len());
            for eid in 1..10_000 {
                prop_assert_eq!(snapshot.named(eid), map.get(&eid).cloned());
            }
        }
    }
}
