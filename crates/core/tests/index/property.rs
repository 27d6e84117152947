//! The property that matters most: whatever happened on disk, and however often the library was closed meanwhile, the index is
//! what a fresh walk finds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use spacedrive_api::IndexMode;

use super::world::World;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Write(usize, u8),
    Append(usize, u8),
    MakeDir(usize),
    Rename(usize, usize),
    Remove(usize),
    Link(usize, usize),
    HardLink(usize, usize),
    Restart,
    /// Time for the watcher, or a rescan.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let place = 0..PLACES;
    prop_oneof![
        6 => (place.clone(), any::<u8>()).prop_map(|(a, b)| Step::Write(a, b)),
        2 => (place.clone(), any::<u8>()).prop_map(|(a, b)| Step::Append(a, b)),
        3 => place.clone().prop_map(Step::MakeDir),
        6 => (place.clone(), place.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        3 => place.clone().prop_map(Step::Remove),
        1 => (place.clone(), place.clone()).prop_map(|(a, b)| Step::Link(a, b)),
        1 => (place.clone(), place).prop_map(|(a, b)| Step::HardLink(a, b)),
        1 => Just(Step::Restart),
        2 => Just(Step::Settle),
    ]
}

/// Names at three levels, so that most steps hit something.
const NAMES: [&str; 4] = ["a", "b", "C ☕", "d\n"];
const PLACES: usize = 4 + 16 + 64;

fn place(root: &Path, n: usize) -> PathBuf {
    match n {
        0..4 => root.join(NAMES[n]),
        4..20 => root.join(NAMES[(n - 4) / 4]).join(NAMES[n % 4]),
        _ => root.join(NAMES[(n - 20) / 16]).join(NAMES[(n - 20) / 4 % 4]).join(NAMES[n % 4]),
    }
}

/// Does a step on disk; one that is not possible does nothing.
fn act(root: &Path, step: &Step) {
    let at = |n: &usize| place(root, *n);
    match step {
        Step::Write(n, byte) => drop(fs::write(at(n), vec![*byte; usize::from(*byte) * 5])),
        Step::Append(n, byte) => {
            if let Ok(mut file) = fs::OpenOptions::new().append(true).open(at(n)) {
                drop(std::io::Write::write_all(&mut file, &[*byte]));
            }
        }
        Step::MakeDir(n) => drop(fs::create_dir(at(n))),
        Step::Rename(a, b) => drop(fs::rename(at(a), at(b))),
        Step::Remove(n) => drop(fs::remove_file(at(n)).or_else(|_| fs::remove_dir_all(at(n)))),
        Step::Link(a, b) => drop(symlink(at(a), at(b))),
        Step::HardLink(a, b) => drop(fs::hard_link(at(a), at(b))),
        Step::Restart | Step::Settle => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// For rescans.
    #[test]
    fn a_rescan_finds_what_a_fresh_walk_finds(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(false);
        world.add(IndexMode::Content);
        for step in &steps {
            act(&world.disk(), step);
            match step {
                Step::Restart => world.restart(),
                Step::Settle => {
                    world.rescan();
                    world.assert_equal();
                }
                _ => {}
            }
        }
        world.rescan();
        world.assert_equal();
        // And nothing is written when nothing changed.
        let message = world.rescan().message;
        prop_assert!(!message.is_empty());
        world.assert_equal();
    }

    /// For the watcher.
    #[test]
    fn the_watcher_follows(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(true);
        world.add(IndexMode::Content);
        for step in &steps {
            act(&world.disk(), step);
            match step {
                Step::Restart => world.restart(),
                Step::Settle => world.await_equal(),
                _ => {}
            }
        }
        world.await_equal();
        // What was followed is what a rescan finds.
        world.rescan();
        world.assert_equal();
    }
}
