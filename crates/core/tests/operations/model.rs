//! Random sequences against a model: the tree is what the model says, nothing that a person had is lost, and undo gives
//! back exactly what was there before.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use spacedrive_api::{Conflict, FileAction};
use spacedrive_core::Error;
use spacedrive_core::names::numbered;

use super::bench::{Bench, no_leftovers, tree, work};

#[derive(Debug, Clone, PartialEq)]
enum Node {
    File(String, u64),
    Dir(BTreeMap<String, Node>),
}

#[derive(Debug, Clone)]
enum Act {
    Write(Vec<u8>, u64),
    Mkdir(Vec<u8>),
    Copy(Vec<Vec<u8>>, Vec<u8>, Conflict),
    Move(Vec<Vec<u8>>, Vec<u8>, Conflict),
    Delete(Vec<Vec<u8>>),
    Undo,
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    (0u8..2, prop::collection::vec(0u8..3, 0..4)).prop_map(|(top, rest)| [vec![top], rest].concat())
}

fn act() -> impl Strategy<Value = Act> {
    let conflict = || prop_oneof![Just(Conflict::Skip), Just(Conflict::Rename), Just(Conflict::Overwrite), Just(Conflict::Newer)];
    let paths = || prop::collection::vec(path(), 1..3);
    prop_oneof![
        1 => (path(), 0u64..10).prop_map(|(p, t)| Act::Write(p, t)),
        1 => path().prop_map(Act::Mkdir),
        3 => (paths(), path(), conflict()).prop_map(|(s, t, c)| Act::Copy(s, t, c)),
        3 => (paths(), path(), conflict()).prop_map(|(s, t, c)| Act::Move(s, t, c)),
        1 => paths().prop_map(Act::Delete),
        4 => Just(Act::Undo),
    ]
}

/// `[0, 1, 2]` is `x/b/c`; the first is one of the two top folders.
fn names(path: &[u8]) -> Vec<String> {
    path.iter().enumerate().map(|(i, n)| char::from(if i == 0 { b'x' } else { b'a' } + n).to_string()).collect()
}

type Entries = BTreeMap<String, Node>;

/// The path as far as it exists, so that most acts have something to act on.
fn nearest(top: &mut Entries, path: &[u8]) -> Vec<String> {
    let mut path = names(path);
    while path.len() > 2 && find(top, &path).is_none() {
        path.pop();
    }
    path
}

/// Something to begin with: in each top folder one of each kind under each name, two levels deep.
fn beginning(bench: &Bench) -> Entries {
    let mut counter = 0;
    let mut file = |path: String| {
        counter += 1;
        let content = format!("first {counter}");
        write(&bench.path(&path), &content, counter);
        Node::File(content, counter)
    };
    let mut tops = Entries::new();
    for (top, kinds) in [("x", [["a", "b"], ["b", "c"]]), ("y", [["b", "c"], ["a", "c"]])] {
        let mut entries = Entries::new();
        for (folder, names) in ["a", "b"].into_iter().zip(kinds) {
            fs::create_dir_all(bench.path(&format!("{top}/{folder}"))).unwrap();
            let files = names.map(|name| (name.to_owned(), file(format!("{top}/{folder}/{name}"))));
            entries.insert(folder.to_owned(), Node::Dir(files.into()));
        }
        entries.insert("c".to_owned(), file(format!("{top}/c")));
        tops.insert(top.to_owned(), Node::Dir(entries));
    }
    tops
}

fn write(path: &Path, content: &str, time: u64) {
    fs::write(path, content).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + time);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn find<'a>(top: &'a mut Entries, path: &[String]) -> Option<&'a mut Node> {
    let (first, rest) = path.split_first()?;
    let node = top.get_mut(first)?;
    match (rest.is_empty(), node) {
        (true, node) => Some(node),
        (false, Node::Dir(entries)) => find(entries, rest),
        (false, Node::File(..)) => None,
    }
}

fn free(entries: &Entries, name: &str) -> String {
    (2..).map(|n| numbered(OsStr::new(name), n).into_string().unwrap()).find(|name| !entries.contains_key(name)).unwrap()
}

/// Puts `node` into `target`; gives back what a move leaves behind.
fn put(target: &mut Entries, name: &str, node: &Node, conflict: Conflict, top: bool) -> Option<Node> {
    let Some(old) = target.get_mut(name) else {
        target.insert(name.to_owned(), node.clone());
        return None;
    };
    let both = matches!((&*old, node), (Node::Dir(_), Node::Dir(_)));
    if conflict == Conflict::Rename && (top || !both) {
        let name = free(target, name);
        target.insert(name, node.clone());
        return None;
    }
    match (old, node) {
        (Node::Dir(old), Node::Dir(new)) => {
            let left: Entries =
                new.iter().filter_map(|(name, node)| Some((name.clone(), put(old, name, node, conflict, false)?))).collect();
            if left.is_empty() { None } else { Some(Node::Dir(left)) }
        }
        (Node::File(_, was), Node::File(_, is))
            if conflict == Conflict::Overwrite || (conflict == Conflict::Newer && is > was) =>
        {
            target.insert(name.to_owned(), node.clone());
            None
        }
        _ => Some(node.clone()),
    }
}

/// What the copy or move does to the model; false when it is refused.
fn apply(top: &mut Entries, sources: &[Vec<String>], target: &[String], conflict: Conflict, moving: bool) -> bool {
    if sources.iter().any(|source| find(top, source).is_none() || source.len() < 2) {
        return false;
    }
    let (folder, chosen) = match find(top, target) {
        Some(Node::Dir(_)) => (target.to_vec(), None),
        _ if sources.len() == 1 && target.len() > 1 => (target[..target.len() - 1].to_vec(), target.last().cloned()),
        _ => return false,
    };
    if !matches!(find(top, &folder), Some(Node::Dir(_))) {
        return false;
    }
    let dirs: Vec<bool> = sources.iter().map(|source| matches!(find(top, source), Some(Node::Dir(_)))).collect();
    if sources.iter().zip(dirs).any(|(source, dir)| dir && folder.starts_with(source)) {
        return false;
    }
    for source in sources {
        let Some(node) = find(top, source).cloned() else { continue };
        let own = source.last().unwrap().clone();
        let name = chosen.clone().unwrap_or_else(|| own.clone());
        let itself = source[..source.len() - 1] == folder[..] && name == own;
        if itself && (moving || conflict != Conflict::Rename) {
            // Its folder merged with itself, or refused.
            continue;
        }
        let Some(Node::Dir(entries)) = find(top, &folder) else { continue };
        let left = put(entries, &name, &node, conflict, true);
        if moving {
            let Some(Node::Dir(above)) = find(top, &source[..source.len() - 1]) else { continue };
            match left {
                Some(left) => drop(above.insert(own, left)),
                None => drop(above.remove(&own)),
            }
        }
    }
    true
}

fn real(bench: &Bench, path: &[String]) -> std::path::PathBuf {
    bench.path(&path.join("/"))
}

fn check(bench: &Bench, model: &Entries) {
    fn flatten(entries: &Entries, above: &str, flat: &mut BTreeMap<String, Option<String>>) {
        for (name, node) in entries {
            let path = format!("{above}{name}");
            match node {
                Node::File(content, _) => drop(flat.insert(path, Some(content.clone()))),
                Node::Dir(entries) => {
                    flat.insert(path.clone(), None);
                    flatten(entries, &format!("{path}/"), flat);
                }
            }
        }
    }
    let mut expected = BTreeMap::new();
    flatten(model, "", &mut expected);
    let mut found = BTreeMap::new();
    for top in ["x", "y"] {
        for entry in walkdir::WalkDir::new(bench.path(top)) {
            let entry = entry.unwrap();
            if entry.path().components().any(|c| c.as_os_str().to_string_lossy().starts_with(".Trash")) {
                continue;
            }
            let content = entry.file_type().is_file().then(|| fs::read_to_string(entry.path()).unwrap());
            found.insert(entry.path().strip_prefix(&bench.root).unwrap().to_str().unwrap().to_owned(), content);
        }
    }
    assert_eq!(found, expected);
}

/// Every content that is anywhere: in the folders or in a trash.
fn contents(bench: &Bench) -> BTreeSet<String> {
    ["x", "y", "home/Trash/files"]
        .iter()
        .flat_map(|top| walkdir::WalkDir::new(bench.path(top)).into_iter().flatten())
        .filter(|entry| entry.file_type().is_file() && !entry.path().to_string_lossy().ends_with(".trashinfo"))
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .collect()
}

fn run(bench: &Bench, acts: Vec<Act>, one_file_system: bool) {
    let mut moved_back = false;
    let mut model = beginning(bench);
    // The model before each operation that can be undone; `None` once a person has changed something since.
    let mut history: Vec<Option<Entries>> = Vec::new();
    for (number, act) in acts.into_iter().enumerate() {
        let had = contents(bench);
        match act {
            Act::Write(path, time) => {
                let path = names(&path);
                let real = real(bench, &path);
                let content = format!("{number}");
                let (above, name) = (&path[..path.len() - 1], path.last().unwrap().clone());
                // A new content never replaces one, so that the contents can be told apart.
                if let Some(Node::Dir(entries)) = find(&mut model, above)
                    && !entries.contains_key(&name)
                {
                    entries.insert(name, Node::File(content.clone(), time));
                    write(&real, &content, time);
                    history.iter_mut().for_each(|before| *before = None);
                }
            }
            Act::Mkdir(path) => {
                let path = names(&path);
                if let Some(Node::Dir(entries)) = find(&mut model, &path[..path.len() - 1])
                    && !entries.contains_key(path.last().unwrap())
                {
                    entries.insert(path.last().unwrap().clone(), Node::Dir(Entries::new()));
                    fs::create_dir(real(bench, &path)).unwrap();
                    history.iter_mut().for_each(|before| *before = None);
                }
            }
            Act::Copy(sources, target, conflict) => {
                transfer(bench, &mut model, &mut history, FileAction::Copy, &sources, &target, conflict);
            }
            Act::Move(sources, target, conflict) => {
                transfer(bench, &mut model, &mut history, FileAction::Move, &sources, &target, conflict);
            }
            Act::Delete(sources) => {
                let sources: Vec<Vec<String>> = sources.iter().map(|path| nearest(&mut model, path)).collect();
                let before = model.clone();
                let possible = sources.iter().all(|source| source.len() > 1 && find(&mut model, source).is_some());
                let paths: Vec<_> = sources.iter().map(|source| real(bench, source)).collect();
                let paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
                // The top folders may be mounts, which nobody can delete.
                if sources.iter().any(|source| source.len() < 2) {
                    continue;
                }
                let result = bench.run(&work(FileAction::Delete, &paths, None));
                assert_eq!(result.is_ok(), possible, "{result:?}");
                if possible {
                    for source in &sources {
                        if let Some(Node::Dir(above)) = find(&mut model, &source[..source.len() - 1]) {
                            above.remove(source.last().unwrap());
                        }
                    }
                    history.push(Some(before));
                }
            }
            Act::Undo => {
                let before = [tree(&bench.path("x")), tree(&bench.path("y"))];
                match (bench.undo(), history.last().cloned()) {
                    (Err(Error::NothingToUndo), None) => {}
                    (Ok(undone), Some(Some(snapshot))) => {
                        assert!(undone.report.errors.is_empty(), "{undone:?}");
                        model = snapshot;
                        history.pop();
                        moved_back = true;
                    }
                    // What was moved back from another file system is another file: an older undo does not take it for its own.
                    (Err(Error::CannotUndo { .. }), Some(before_it))
                        if before_it.is_none() || (moved_back && !one_file_system) =>
                    {
                        assert_eq!(before, [tree(&bench.path("x")), tree(&bench.path("y"))], "a refused undo changed something");
                        // The way back ends here.
                        break;
                    }
                    // What a person changed since did not stand in the way; the model does not know the outcome.
                    (Ok(_), Some(None)) => break,
                    (result, history) => panic!("{result:?} with {history:?}"),
                }
            }
        }
        check(bench, &model);
        no_leftovers(&bench.root);
        let lost: Vec<_> = had.difference(&contents(bench)).cloned().collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
}

fn transfer(
    bench: &Bench,
    model: &mut Entries,
    history: &mut Vec<Option<Entries>>,
    action: FileAction,
    sources: &[Vec<u8>],
    target: &[u8],
    conflict: Conflict,
) {
    let sources: Vec<Vec<String>> = sources.iter().map(|path| nearest(model, path)).collect();
    if sources.iter().any(|source| source.len() < 2) {
        return;
    }
    let target = names(target);
    let before = model.clone();
    let paths: Vec<_> = sources.iter().map(|source| real(bench, source)).collect();
    let paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
    let mut request = work(action, &paths, Some(&real(bench, &target)));
    request.conflict = conflict;
    let possible = apply(model, &sources, &target, conflict, action == FileAction::Move);
    let result = bench.run(&request);
    assert_eq!(result.is_ok(), possible, "{request:?}: {result:?}");
    let recorded = spacedrive_core::operation::list(&bench.store).unwrap();
    if possible && spacedrive_core::operation::has_steps(&bench.store, recorded[0].id).unwrap() {
        history.push(Some(before));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_is_what_the_model_says(acts in prop::collection::vec(act(), 1..24)) {
        run(&Bench::new(), acts, true);
    }
}

#[test]
fn the_tree_is_what_the_model_says_across_file_systems() {
    if !spacedrive_testing::root_or_skip("it mounts a file system") {
        return;
    }
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 40, ..ProptestConfig::default() });
    let acts = prop::collection::vec(act(), 1..24);
    let result = runner.run(&acts, |acts| {
        let bench = Bench::new();
        let _mounted = bench.tmpfs("y", "size=16m");
        run(&bench, acts, false);
        Ok(())
    });
    result.unwrap();
}
