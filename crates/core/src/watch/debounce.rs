//! Putting events together: a burst of changes becomes one look. Pure: time comes in as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::index::row::Eid;
use crate::index::walk::Target;

/// A burst is over when nothing happened for so long …
const QUIET: Duration = Duration::from_millis(30);

/// … or when it has lasted so long.
const LONGEST: Duration = Duration::from_millis(250);

/// A folder with more changed names than this is looked at as a whole.
const NAMES: usize = 512;

/// With more changed folders than this everything is looked at.
const FOLDERS: usize = 20_000;

/// What has happened since the last look.
#[derive(Debug, Default)]
pub(crate) struct Debounce {
    first: Option<Instant>,
    last: Option<Instant>,
    put_off: Option<Instant>,
    folders: BTreeMap<Eid, Dirty>,
    all: bool,
}

#[derive(Debug)]
enum Dirty {
    Names(BTreeSet<Box<[u8]>>),
    Whole,
}

impl Debounce {
    /// Something happened to `name` in a folder.
    pub(crate) fn note(&mut self, now: Instant, folder: Eid, name: &[u8]) {
        self.touch(now);
        if self.all {
            return;
        }
        let dirty = self.folders.entry(folder).or_insert_with(|| Dirty::Names(BTreeSet::new()));
        if let Dirty::Names(names) = dirty {
            if !names.contains(name) {
                names.insert(name.into());
            }
            if names.len() > NAMES {
                *dirty = Dirty::Whole;
            }
        }
        if self.folders.len() > FOLDERS {
            self.note_all(now);
        }
    }

    /// Nobody knows what happened.
    pub(crate) fn note_all(&mut self, now: Instant) {
        self.touch(now);
        self.all = true;
        self.folders.clear();
    }

    fn touch(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
    }

    /// Not before this time.
    pub(crate) fn put_off(&mut self, until: Instant) {
        self.put_off = Some(until);
    }

    /// How long until it is time to look; `None` when there is nothing to look at.
    pub(crate) fn due_in(&self, now: Instant) -> Option<Duration> {
        let due = (self.last? + QUIET).min(self.first? + LONGEST).max(self.put_off.unwrap_or(now));
        Some(due.saturating_duration_since(now))
    }

    /// How long ago the last thing happened that was not looked at yet.
    pub(crate) fn quiet_for(&self, now: Instant) -> Option<Duration> {
        self.last.map(|last| now.saturating_duration_since(last))
    }

    /// What to look at; `root` stands for everything.
    pub(crate) fn take(&mut self, root: Eid) -> Vec<Target> {
        let taken = std::mem::take(self);
        if taken.all {
            return vec![Target::Tree(root)];
        }
        let target = |(eid, dirty)| match dirty {
            Dirty::Names(names) => Target::Names(eid, names.into_iter().collect()),
            Dirty::Whole => Target::Folder { eid, descend: true },
        };
        taken.folders.into_iter().map(target).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nothing that was noted is lost, nothing waits longer than the longest burst, and nothing is looked at twice.
        #[test]
        fn every_note_is_looked_at_in_time(events in prop::collection::vec((0..60u64, 0..4u64, 0..700u32), 0..900)) {
            let start = Instant::now();
            let mut debounce = Debounce::default();
            let mut waiting: BTreeMap<(Eid, Box<[u8]>), Instant> = BTreeMap::new();
            let mut now = start;
            let check = |debounce: &mut Debounce, waiting: &mut BTreeMap<(Eid, Box<[u8]>), Instant>, at: Instant| {
                for target in debounce.take(99) {
                    match target {
                        Target::Names(eid, names) => for name in names {
                            let noted = waiting.remove(&(eid, name)).unwrap();
                            assert!(at - noted <= LONGEST);
                        },
                        Target::Folder { eid, .. } => waiting.retain(|(folder, _), _| *folder != eid),
                        Target::Tree(_) => waiting.clear(),
                    }
                }
                assert!(waiting.is_empty());
            };
            for (wait, folder, name) in events {
                let then = now + Duration::from_millis(wait);
                while let Some(due) = debounce.due_in(now).map(|due| now + due).filter(|due| *due <= then) {
                    check(&mut debounce, &mut waiting, due);
                }
                now = then;
                let name: Box<[u8]> = name.to_string().into_bytes().into();
                waiting.entry((folder, name.clone())).or_insert(now);
                debounce.note(now, folder, &name);
            }
            if let Some(due) = debounce.due_in(now) {
                check(&mut debounce, &mut waiting, now + due);
            }
            prop_assert!(debounce.due_in(now).is_none() && waiting.is_empty());
        }
    }

    #[test]
    fn many_names_make_a_folder_and_many_folders_make_all() {
        let now = Instant::now();
        let mut debounce = Debounce::default();
        for n in 0..=NAMES {
            debounce.note(now, 7, n.to_string().as_bytes());
        }
        assert_eq!(debounce.take(1), [Target::Folder { eid: 7, descend: true }]);
        for n in 0..=FOLDERS {
            debounce.note(now, n as Eid, b"x");
        }
        assert_eq!(debounce.take(1), [Target::Tree(1)]);
    }
}
