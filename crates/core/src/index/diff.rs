//! What changed in one folder: a pure function of what was scanned and what is stored.

use spacedrive_api::EntryKind;

use super::row::{Scanned, Stored, flags};

/// What became of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// It is new.
    Created(&'a Scanned),
    /// It is as it was.
    Same(&'a Stored, &'a Scanned),
    /// It is the same thing with another size, time or inode.
    Changed(&'a Stored, &'a Scanned),
    /// Another thing has its name now: a file became a folder, or a folder gave way to another one.
    Replaced(&'a Stored, &'a Scanned),
    /// It is gone.
    Vanished(&'a Stored),
    /// It is there and cannot be looked at, or it is on a disk that is not mounted: nothing is known, so nothing changes.
    Unknown(&'a Stored),
}

/// Compares the two sides of one folder, both sorted by name and each name once.
///
/// A file that another file took the place of keeps its entry (programs save so); a folder is known by its inode.
pub(crate) fn diff<'a>(stored: &'a [Stored], scanned: &'a [Scanned], mut each: impl FnMut(Step<'a>)) {
    let (mut stored, mut scanned) = (stored.iter().peekable(), scanned.iter().peekable());
    loop {
        match (stored.peek(), scanned.peek()) {
            (None, None) => return,
            (Some(old), None) => {
                each(Step::Vanished(old));
                stored.next();
            }
            (None, Some(new)) => {
                created(new, &mut each);
                scanned.next();
            }
            (Some(old), Some(new)) => match old.name.cmp(&new.name) {
                std::cmp::Ordering::Less => {
                    each(Step::Vanished(old));
                    stored.next();
                }
                std::cmp::Ordering::Greater => {
                    created(new, &mut each);
                    scanned.next();
                }
                std::cmp::Ordering::Equal => {
                    each(compare(old, new));
                    stored.next();
                    scanned.next();
                }
            },
        }
    }
}

fn created<'a>(new: &'a Scanned, each: &mut impl FnMut(Step<'a>)) {
    // What could not be looked at is not made up.
    if new.facts.is_some() {
        each(Step::Created(new));
    }
}

fn compare<'a>(old: &'a Stored, new: &'a Scanned) -> Step<'a> {
    let Some(facts) = new.facts else { return Step::Unknown(old) };
    if old.kind != facts.kind {
        return Step::Replaced(old, new);
    }
    let same_inode = old.inode == facts.inode;
    if facts.kind == EntryKind::Dir {
        let was_mount = old.flags & flags::MOUNT != 0;
        return match (was_mount, facts.mount) {
            // The folder below a disk that was unmounted: what is stored belongs to the disk.
            (true, false) => Step::Unknown(old),
            (false, false) if !same_inode => Step::Replaced(old, new),
            (false, true) => Step::Changed(old, new),
            _ if same_inode && old.mtime == facts.mtime => Step::Same(old, new),
            _ => Step::Changed(old, new),
        };
    }
    if same_inode && old.size == facts.size && old.mtime == facts.mtime { Step::Same(old, new) } else { Step::Changed(old, new) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::index::row::Facts;

    fn kind() -> impl Strategy<Value = EntryKind> {
        prop_oneof![Just(EntryKind::File), Just(EntryKind::Dir), Just(EntryKind::Symlink)]
    }

    fn facts() -> impl Strategy<Value = Facts> {
        (kind(), 0..3u64, 0..3i64, 0..4u64, prop::bool::weighted(0.1)).prop_map(|(kind, size, mtime, inode, mount)| Facts {
            kind,
            size,
            mtime,
            inode,
            mount,
        })
    }

    fn names<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = BTreeMap<Box<[u8]>, T>> {
        prop::collection::btree_map("[a-e]{1,2}".prop_map(|s| s.into_bytes().into_boxed_slice()), value, 0..8)
    }

    proptest! {
        /// Following the steps turns the stored side into the scanned one, except for what is not known.
        #[test]
        fn steps_lead_from_stored_to_scanned(
            before in names((facts(), prop::bool::weighted(0.2))),
            after in names(prop::option::weighted(0.9, facts())),
        ) {
            let stored: Vec<Stored> = before.iter().enumerate().map(|(n, (name, (f, mount)))| Stored {
                eid: n as u64 + 1, name: name.clone(), kind: f.kind, size: f.size, mtime: f.mtime, inode: f.inode,
                flags: if *mount && f.kind == EntryKind::Dir { flags::MOUNT } else { 0 }, hashed: false,
            }).collect();
            let scanned: Vec<Scanned> =
                after.iter().map(|(name, facts)| Scanned { name: name.clone(), facts: *facts }).collect();
            let mut result: BTreeMap<Box<[u8]>, Facts> = before.iter().map(|(n, (f, _))| (n.clone(), *f)).collect();
            let mut unknown = Vec::new();
            let mut seen = Vec::new();
            diff(&stored, &scanned, |step| match step {
                Step::Created(new) => {
                    assert!(result.insert(new.name.clone(), new.facts.unwrap()).is_none());
                    seen.push(new.name.clone());
                }
                Step::Same(old, new) => {
                    let f = new.facts.unwrap();
                    assert_eq!((old.kind, old.mtime, old.inode), (f.kind, f.mtime, f.inode));
                    assert!(old.size == f.size || f.kind == EntryKind::Dir);
                    result.insert(old.name.clone(), f);
                    seen.push(old.name.clone());
                }
                Step::Changed(old, new) => {
                    let f = new.facts.unwrap();
                    assert_eq!(old.kind, f.kind);
                    result.insert(old.name.clone(), f);
                    seen.push(old.name.clone());
                }
                Step::Replaced(old, new) => {
                    let f = new.facts.unwrap();
                    assert!(old.kind != f.kind || (f.kind == EntryKind::Dir && old.inode != f.inode));
                    result.insert(old.name.clone(), f);
                    seen.push(old.name.clone());
                }
                Step::Vanished(old) => {
                    result.remove(&old.name).unwrap();
                    seen.push(old.name.clone());
                }
                Step::Unknown(old) => {
                    unknown.push(old.name.clone());
                    seen.push(old.name.clone());
                }
            });
            let mut once = seen.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), seen.len());
            for (name, facts) in &after {
                match facts {
                    Some(facts) if !unknown.contains(name) => prop_assert_eq!(result.get(name), Some(facts)),
                    Some(facts) => prop_assert!(!facts.mount && facts.kind == EntryKind::Dir),
                    None => prop_assert_eq!(unknown.contains(name), before.contains_key(name)),
                }
            }
            for name in result.keys() {
                prop_assert!(after.contains_key(name));
            }
        }
    }
}
