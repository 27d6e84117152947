//! The line of crates, as a check: an edge that is not on the line fails, with the reason.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate may use of ours.
const LINE: &[(&str, &[&str])] = &[
    ("spacedrive-api", &[]),
    ("spacedrive-core", &["spacedrive-api"]),
    ("spacedrive-net", &["spacedrive-api", "spacedrive-core"]),
    ("spacedrive-daemon", &["spacedrive-api", "spacedrive-core", "spacedrive-net"]),
    ("spacedrive", &["spacedrive-api", "spacedrive-daemon"]),
    // The bench for tests; a shipped crate may use it only as a dev-dependency.
    ("spacedrive-testing", &["spacedrive-api", "spacedrive-core"]),
];

/// Libraries that one crate alone may use, so that what they are for stays in one place.
const OWNED: &[(&str, &str, &str)] = &[
    ("rusqlite", "spacedrive-core", "SQL lives in core only"),
    ("iroh", "spacedrive-net", "other devices are talked to in net only"),
    ("iroh-blobs", "spacedrive-net", "other devices are talked to in net only"),
    ("axum", "spacedrive-daemon", "calls are served by the daemon only"),
    ("clap", "spacedrive", "arguments are the command line's"),
    ("indicatif", "spacedrive", "progress is shown by the command line"),
    ("ratatui", "spacedrive", "screens are drawn by the command line"),
];

fn normal_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO")).args(["metadata", "--format-version=1", "--no-deps", "--offline"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), normal)
        })
        .collect()
}

#[test]
fn crates_stand_in_one_line() {
    let all = normal_dependencies();
    for (name, dependencies) in &all {
        let Some((_, allowed)) = LINE.iter().find(|(crate_name, _)| crate_name == name) else {
            panic!("`{name}` is not in the line of crates: see docs/architecture.md, and add it to LINE if it belongs there");
        };
        for dependency in dependencies.iter().filter(|d| LINE.iter().any(|(crate_name, _)| crate_name == d)) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "`{name}` uses `{dependency}`: the line is cli -> daemon -> net -> core -> api (docs/architecture.md), and `{name}` may use only {allowed:?}"
            );
        }
    }
}

#[test]
fn libraries_stay_in_the_crate_that_they_belong_to() {
    for (name, dependencies) in normal_dependencies() {
        for (library, owner, why) in OWNED {
            assert!(
                name == *owner || name == "spacedrive-testing" || !dependencies.contains(*library),
                "`{name}` uses `{library}`, which only `{owner}` may: {why}"
            );
        }
    }
}
