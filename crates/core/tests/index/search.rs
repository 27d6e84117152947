//! The search agrees with a naive one.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;
use spacedrive_api::{IndexMode, Search, SearchKind, SearchSort};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::world::{World, everything, name_of, words, write};

/// Text as names are compared: valid parts converted, the rest as it is.
fn converted(name: &[u8], convert: impl Fn(&str) -> String) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in name.utf8_chunks() {
        out.extend_from_slice(convert(chunk.valid()).as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    part.is_empty() || name.windows(part.len()).any(|window| window == part)
}

/// What a glob means, one character after the other.
fn glob(pattern: &[char], name: &[char]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some('*'), _) => glob(&pattern[1..], name) || !name.is_empty() && glob(pattern, &name[1..]),
        (Some('?'), Some(_)) => glob(&pattern[1..], &name[1..]),
        (Some(p), Some(n)) if p == n => glob(&pattern[1..], &name[1..]),
        _ => false,
    }
}

fn fits(name: &[u8], word: &str, loose: bool) -> bool {
    let exact = |text: &str| text.nfc().collect::<String>();
    let folded = |text: &str| text.nfc().flat_map(char::to_lowercase).collect::<String>();
    let plain = |text: &str| {
        let marks = |c: &char| !is_combining_mark(*c);
        text.nfd().filter(marks).flat_map(char::to_lowercase).filter(marks).collect::<String>()
    };
    let convert: &dyn Fn(&str) -> String = if loose {
        &plain
    } else if word.chars().any(char::is_uppercase) {
        &exact
    } else {
        &folded
    };
    let name = converted(name, convert);
    let word = convert(word);
    if word.contains(['*', '?']) {
        let chars = |text: &str| text.chars().collect::<Vec<char>>();
        return glob(&chars(&word), &chars(std::str::from_utf8(&name).unwrap()));
    }
    contains(&name, word.as_bytes())
}

fn hits(world: &World, query: &Search) -> BTreeSet<Vec<u8>> {
    let found = world.library().index().search(query).unwrap();
    let counted = world.library().index().search(&Search { count: true, ..query.clone() }).unwrap();
    assert_eq!(counted.count, Some(found.entries.len() as u64), "a count is the number of hits");
    found.entries.iter().map(|entry| name_of(&entry.real_path()).to_vec()).collect()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-cA-C]{1,3}[_. -]?[a-cA-C0-1]{0,4}(\\.[a-b]{1,2})?",
        2 => "[aAéÉïiİßæÆñ☕\u{308}]{1,5}",
        1 => "(IMG|img|Img)_[0-1]{1,3}\\.(jpg|JPG)",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_naive_search(
        names in prop::collection::btree_set(name(), 1..40),
        queries in prop::collection::vec((prop::collection::vec(prop_oneof![
            3 => "[a-cA-C01_.]{1,3}", 1 => "[aéïiñ]{1,2}", 1 => "[a-c*?]{1,4}\\*?", 1 => "\\*\\.[a-bj]{1,2}"
        ], 1..3), prop::bool::weighted(0.3)), 1..12),
    ) {
        let world = World::new(false);
        // A name of dots and blanks only is no problem for a file system, but `.` and `..` are.
        let names: Vec<&String> = names.iter().filter(|name| !matches!(name.as_str(), "." | "..")).collect();
        for name in &names {
            write(&world.disk().join(name), b"");
        }
        world.add(IndexMode::Shallow);
        for (query, loose) in queries {
            let expected: BTreeSet<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec())
                .filter(|name| query.iter().all(|word| fits(name, word, loose))).collect();
            let mut asked = words(&query.iter().map(String::as_str).collect::<Vec<_>>());
            asked.loose = loose;
            prop_assert_eq!(hits(&world, &asked), expected, "words {:?}, loose {}", query, loose);
        }
    }
}

fn small_world() -> World {
    let world = World::new(false);
    for (name, size) in [
        ("Photos/IMG_0001.JPG", 3000),
        ("Photos/img_0002.jpg", 100),
        ("notes/report.md", 10),
        ("notes/report final.md", 20),
        ("notes/my-report.txt", 30),
        ("notes/unreported.md", 40),
        ("src/main.rs", 50),
        ("src/naïve.rs", 60),
        ("empty", 0),
    ] {
        write(&world.disk().join(name), vec![1; size]);
    }
    write(&world.disk().join(std::ffi::OsStr::from_bytes(b"bad-\xFF-name.txt")), b"x");
    world.add(IndexMode::Content);
    world
}

fn names(world: &World, query: &Search) -> Vec<String> {
    let found = world.library().index().search(query).unwrap();
    found.entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn better_hits_come_first() {
    let world = small_world();
    assert_eq!(names(&world, &words(&["report"])), ["report.md", "report final.md", "my-report.txt", "unreported.md"]);
    assert_eq!(names(&world, &Search { limit: Some(1), ..words(&["report"]) }), ["report.md"]);
    assert!(world.library().index().search(&Search { limit: Some(1), ..words(&["report"]) }).unwrap().more);
    assert!(!world.library().index().search(&Search { limit: Some(4), ..words(&["report"]) }).unwrap().more);
}

#[test]
fn case_is_smart() {
    let world = small_world();
    assert_eq!(names(&world, &words(&["img"])).len(), 2);
    assert_eq!(names(&world, &words(&["IMG"])), ["IMG_0001.JPG"]);
    assert_eq!(names(&world, &Search { loose: true, ..words(&["IMG"]) }).len(), 2);
    assert_eq!(names(&world, &words(&["naive"])), Vec::<String>::new());
    assert_eq!(names(&world, &Search { loose: true, ..words(&["naive"]) }), ["naïve.rs"]);
    assert_eq!(names(&world, &words(&["nai\u{308}ve"])), ["naïve.rs"]);
}

#[test]
fn conditions_hold_together() {
    let world = small_world();
    let count = |query: Search| names(&world, &query).len();
    assert_eq!(count(Search { ext: vec!["md".into()], ..everything() }), 3);
    assert_eq!(count(Search { ext: vec![".MD".into(), "rs".into()], ..everything() }), 5);
    assert_eq!(count(Search { kind: Some(SearchKind::Dir), ..everything() }), 3);
    assert_eq!(count(Search { kind: Some(SearchKind::Image), ..everything() }), 2);
    assert_eq!(count(Search { kind: Some(SearchKind::Code), ..words(&["main"]) }), 1);
    assert_eq!(count(Search { min_size: Some(50), kind: Some(SearchKind::File), ..everything() }), 4);
    assert_eq!(count(Search { max_size: Some(0), kind: Some(SearchKind::File), ..everything() }), 1);
    assert_eq!(count(Search { path: Some(world.disk().join("notes").into()), ..everything() }), 4);
    assert_eq!(count(Search { path: Some(std::path::PathBuf::from("NOTES/my").into()), ..everything() }), 1);
    assert_eq!(count(Search { location: Some("disk".into()), ..everything() }), 13);
    let day = jiff::SignedDuration::from_hours(24);
    assert_eq!(count(Search { modified_after: Some(jiff::Timestamp::now() - day), ..words(&["report"]) }), 4);
    assert_eq!(count(Search { modified_before: Some(jiff::Timestamp::now() - day), ..everything() }), 0);
    assert!(world.library().index().search(&Search { location: Some("nowhere".into()), ..everything() }).is_err());
}

#[test]
fn orders_and_patterns() {
    let world = small_world();
    let sorted = |sort, n: usize| {
        let mut all = names(&world, &Search { sort, kind: Some(SearchKind::File), ..everything() });
        all.truncate(n);
        all
    };
    assert_eq!(sorted(SearchSort::Size, 2), ["IMG_0001.JPG", "img_0002.jpg"]);
    assert_eq!(sorted(SearchSort::Name, 2), ["bad-\u{fffd}-name.txt", "empty"]);
    assert_eq!(names(&world, &words(&["*.JPG"])), ["IMG_0001.JPG"]);
    assert_eq!(names(&world, &words(&["img_000?.jpg"])).len(), 2);
    assert_eq!(names(&world, &words(&["bad*"])).len(), 1);
    let regex = |word: &str| world.library().index().search(&Search { regex: true, ..words(&[word]) });
    assert_eq!(regex(r"^report( final)?\.md$").unwrap().entries.len(), 2);
    assert!(regex("(").is_err());
    let bad = world.library().index().search(&words(&["bad-"])).unwrap().entries.remove(0);
    assert!(bad.path_base64.is_some());
    assert_eq!(name_of(&bad.real_path()), b"bad-\xFF-name.txt");
}
