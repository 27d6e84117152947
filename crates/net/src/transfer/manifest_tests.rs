#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

use proptest::prelude::*;

use super::*;

fn file(depth: u16, name: &[u8], size: u64) -> Entry {
    Entry { depth, name: name.to_vec(), mode: 0o644, modified: (0, 0), kind: Kind::File { size, stored: size } }
}

fn folder(depth: u16, name: &[u8]) -> Entry {
    Entry { kind: Kind::Folder, ..file(depth, name, 0) }
}

fn link(depth: u16, name: &[u8], target: &[u8]) -> Entry {
    Entry { kind: Kind::Symlink { target: target.to_vec() }, ..file(depth, name, 0) }
}

fn offer(files: u64, others: u64, bytes: u64) -> Offer {
    Offer { id: [0; 16], sender: String::new(), message: None, files, others, bytes, stored: bytes, tops: Vec::new() }
}

fn check(entries: &[Entry]) -> Result<()> {
    let limits = Limits::default();
    let offer = offer(100, 100, u64::MAX);
    let mut checker = Checker::new(&limits, &offer);
    entries.iter().try_for_each(|entry| checker.check(entry))
}

#[test]
fn a_walk_is_taken() {
    let entries = [
        folder(0, b"a"),
        folder(1, b"b"),
        file(2, b"-rf", 1),
        file(2, b"new\nline", 1),
        file(1, b"c", 1),
        file(1, b"\xff\xfe", 1),
        file(0, b"b", 1),
    ];
    check(&entries).unwrap();
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = [b'x'; 256];
    for name in [b"".as_slice(), b".", b"..", b"/", b"a/b", b"../x", b"/etc/x", b"a\0b", b"./a", b"a/", &long] {
        assert!(matches!(check(&[file(0, name, 1)]), Err(TransferError::UnsafeName { .. })), "{}", name.escape_ascii());
    }
}

#[test]
fn an_entry_belongs_to_a_folder_and_is_there_once() {
    for wrong in [
        vec![file(1, b"a", 1)],
        vec![file(0, b"a", 1), file(1, b"b", 1)],
        vec![folder(0, b"a"), file(2, b"b", 1)],
        vec![file(0, b"a", 1), file(0, b"a", 1)],
        vec![folder(0, b"a"), file(0, b"a", 1)],
        vec![file(0, b"b", 1), file(0, b"a", 1)],
        vec![link(0, b"a", b"x")],
        vec![folder(0, b"a"), folder(1, b"b"), file(0, b"a", 1)],
    ] {
        assert!(check(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn links_stay_inside() {
    for (target, depth, inner) in [
        (b"b".as_slice(), 1, true),
        (b"./b/c", 1, true),
        (b"../b", 2, true),
        (b"..", 2, true),
        (b"..", 1, false),
        (b"../../b", 2, false),
        (b"b/../c", 2, false),
        (b"/etc/passwd", 5, false),
        (b"", 2, false),
        (b"a\0", 2, false),
        (b"b", 0, false),
    ] {
        assert_eq!(is_inner_link(target, depth), inner, "{} at {depth}", target.escape_ascii());
    }
}

#[test]
fn bombs_are_refused_while_they_are_read() {
    let mut deep: Vec<Entry> = (0..300).map(|depth| folder(depth, b"d")).collect();
    assert!(matches!(check(&deep), Err(TransferError::TooMuch { .. })));
    deep = (0..20).map(|depth| folder(depth, &[b'd'; 255])).collect();
    assert!(matches!(check(&deep), Err(TransferError::TooMuch { .. })));
    assert!(matches!(check(&[file(0, b"a", u64::MAX), file(0, b"b", 1)]), Err(TransferError::TooMuch { .. })));
    let limits = Limits::default();
    for bomb in [offer(1_000_001, 0, 0), offer(u64::MAX, 1, 0), offer(1, 0, 1 << 63), offer(0, u64::MAX, 0)] {
        assert!(limits.check_offer(&bomb).is_err(), "{bomb:?}");
    }
    let small = offer(1, 0, 10);
    let mut checker = Checker::new(&limits, &small);
    checker.check(&file(0, b"a", 10)).unwrap();
    assert!(checker.check(&file(0, b"b", 0)).is_err());
    assert!(Checker::new(&limits, &small).end().is_err());
}

proptest! {
    /// Whatever is taken makes paths that are all different and all stay where they belong.
    #[test]
    fn what_is_taken_is_a_tree(raw in prop::collection::vec((0_u16..4, "[a-c./]{0,2}", 0..3), 0..40)) {
        let limits = Limits::default();
        let all = offer(100, 100, u64::MAX);
        let mut checker = Checker::new(&limits, &all);
        let mut paths = std::collections::BTreeMap::new();
        let mut current: Vec<String> = Vec::new();
        for (depth, name, kind) in raw {
            let entry = match kind {
                0 => folder(depth, name.as_bytes()),
                1 => link(depth, name.as_bytes(), b"x"),
                _ => file(depth, name.as_bytes(), 1),
            };
            if checker.check(&entry).is_err() {
                break;
            }
            current.truncate(depth.into());
            prop_assert_eq!(current.len(), usize::from(depth));
            if depth > 0 {
                prop_assert_eq!(paths.get(&current.join("/")), Some(&0));
            }
            prop_assert!(!name.contains('/') && name != "." && name != ".." && !name.is_empty());
            current.push(name);
            prop_assert!(paths.insert(current.join("/"), kind).is_none());
        }
    }

    /// No frame makes the decoder panic.
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = crate::transfer::frame::decode::<crate::transfer::ToReceiver>(&bytes);
        let _ = crate::transfer::frame::decode::<crate::transfer::ToSender>(&bytes);
    }
}
