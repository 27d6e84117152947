//! Duplicates agree with a comparison of all bytes, on files made to defeat shortcuts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use proptest::prelude::*;
use spacedrive_api::{Duplicates, DuplicatesFound, IndexMode};
use spacedrive_core::jobs::Task;

use super::world::{World, write};

fn all() -> Duplicates {
    Duplicates { library: String::new(), min_size: None, location: None, path: None }
}

fn find(world: &World, query: &Duplicates) -> DuplicatesFound {
    world.library().index().duplicates(query, &Task::default()).unwrap()
}

/// Groups by their bytes; hard links are one file, empty files none.
fn compared(world: &World) -> BTreeSet<(BTreeSet<PathBuf>, u64)> {
    let mut by_content: BTreeMap<Vec<u8>, Vec<PathBuf>> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(world.disk()) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            by_content.entry(fs::read(entry.path()).unwrap()).or_default().push(entry.into_path());
        }
    }
    let groups = by_content.into_iter().filter_map(|(content, paths)| {
        let inodes: BTreeSet<u64> = paths.iter().map(|path| path.metadata().unwrap().ino()).collect();
        let waste = content.len() as u64 * (inodes.len() as u64 - 1);
        (waste > 0).then(|| (paths.into_iter().collect(), waste))
    });
    groups.collect()
}

fn found(world: &World) -> BTreeSet<(BTreeSet<PathBuf>, u64)> {
    let found = find(world, &all());
    assert!(found.groups.is_sorted_by(|a, b| a.reclaimable >= b.reclaimable), "biggest waste first");
    assert_eq!(found.reclaimable, found.groups.iter().map(|group| group.reclaimable).sum::<u64>());
    found.groups.iter().map(|group| (group.files.iter().map(PathBuf::from).collect(), group.reclaimable)).collect()
}

/// Content by a few numbers: its size, and where it differs from others of that size.
fn content(size: usize, differs: Option<usize>) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    if let Some(at) = differs.filter(|_| size > 0) {
        bytes[at % size] ^= 0xff;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn agree_with_a_comparison_of_bytes(
        files in prop::collection::vec((
            prop_oneof![Just(0usize), Just(1), Just(100), Just(16_384), Just(16_385), Just(200_000), Just(1_048_577)],
            prop_oneof![4 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(8_000)), 1 => Just(Some(usize::MAX)), 1 => any::<usize>().prop_map(Some)],
            prop::bool::weighted(0.15),
        ), 1..20),
        indexed in prop::bool::ANY,
    ) {
        let world = World::new(false);
        let mut last = None;
        for (n, (size, differs, link)) in files.iter().enumerate() {
            let path = world.disk().join(format!("d{}/f{n}", n % 3));
            match (&last, link) {
                (Some(last), true) => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::hard_link::<&PathBuf, &PathBuf>(last, &path).unwrap();
                }
                _ => write(&path, content(*size, *differs)),
            }
            last = Some(path);
        }
        world.add(if indexed { IndexMode::Content } else { IndexMode::Shallow });
        let expected = compared(&world);
        prop_assert_eq!(found(&world), expected.clone());
        // Again, with what was remembered.
        prop_assert_eq!(found(&world), expected);
    }
}

#[test]
fn a_file_that_changed_since_is_in_no_group() {
    let world = World::new(false);
    for name in ["a", "b", "c"] {
        write(&world.disk().join(name), "the same in all");
    }
    world.add(IndexMode::Content);
    assert_eq!(find(&world, &all()).groups[0].files.len(), 3);
    // Of the same size, and not looked at again yet.
    fs::write(world.disk().join("b"), "the same in alL").unwrap();
    let found = find(&world, &all());
    assert_eq!((found.groups[0].files.len(), found.skipped), (2, 1));
}

#[test]
fn conditions_narrow_the_search() {
    let world = World::new(false);
    for (name, size) in [("x/a", 10), ("x/b", 10), ("y/c", 10), ("x/d", 5000), ("y/e", 5000)] {
        write(&world.disk().join(name), vec![7; size]);
    }
    world.add(IndexMode::Shallow);
    assert_eq!(find(&world, &all()).groups.len(), 2);
    assert_eq!(find(&world, &Duplicates { min_size: Some(11), ..all() }).groups.len(), 1);
    let below = find(&world, &Duplicates { path: Some(world.disk().join("x").into()), ..all() });
    assert_eq!((below.groups.len(), below.reclaimable), (1, 10));
    assert_eq!(find(&world, &Duplicates { location: Some("disk".to_owned()), ..all() }).groups.len(), 2);
    assert!(
        world.library().index().duplicates(&Duplicates { location: Some("none".to_owned()), ..all() }, &Task::default()).is_err()
    );
}

#[test]
fn large_files_are_not_equal_by_their_samples() {
    let world = World::new(false);
    let size = (64 << 20) + 4096;
    // Sparse, with one byte that no sample sees.
    for (name, at) in [("a", 5_000_000), ("b", 5_000_001), ("c", 5_000_001)] {
        let file = fs::File::create(world.disk().join(name)).unwrap();
        file.set_len(size).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"!", at).unwrap();
    }
    world.add(IndexMode::Content);
    let entries = world.library().index().search(&super::world::everything()).unwrap().entries;
    let ids: BTreeSet<_> = entries.iter().map(|entry| entry.content_id.clone().unwrap()).collect();
    assert!(ids.len() == 1 && ids.first().unwrap().starts_with('~'), "{ids:?}");
    let groups = find(&world, &all()).groups;
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].files, [world.disk().join("b").to_str().unwrap(), world.disk().join("c").to_str().unwrap()]);
}
