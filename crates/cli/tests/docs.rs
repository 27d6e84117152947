//! The command blocks of README and docs, run as they stand: every fenced block marked `sh`.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::{Path, PathBuf};

use spacedrive_testing::{Home, Outcome};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The `sh` blocks of a page, with the line on which each begins.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match &mut open {
            None if line.trim_end() == "```sh" => open = Some((number + 2, String::new())),
            None => {}
            Some(_) if line.starts_with("```") => blocks.extend(open.take()),
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}

/// Runs every block of a page in one home, in order, so that a later block may build on an earlier one.
fn run(page: &Path) {
    let home = Home::new(env!("CARGO_BIN_EXE_spacedrive"));
    for (line, script) in blocks(&fs::read_to_string(page).unwrap()) {
        // Building and testing this very checkout is what is going on already.
        if script.lines().any(|line| line.starts_with("cargo ") || line.starts_with("git clone")) {
            continue;
        }
        // Pages may show tools that a bare machine lacks; CI has them all.
        let missing = ["curl", "python3"].into_iter().find(|tool| script.contains(tool) && !has(&home, tool));
        if let Some(tool) = missing {
            assert!(std::env::var_os("CI").is_none(), "{}:{line} needs {tool}", page.display());
            eprintln!("skipped: {}:{line} needs {tool}", page.display());
            continue;
        }
        let outcome = Outcome::of(&mut home.shell(&format!("set -e\n{script}")));
        assert_eq!(outcome.code, 0, "{}:{line}: {outcome:?}", page.display());
    }
}

fn has(home: &Home, tool: &str) -> bool {
    Outcome::of(&mut home.shell(&format!("command -v {tool}"))).code == 0
}

#[test]
fn the_readme_runs() {
    run(&root().join("README.md"));
}

#[test]
fn the_pages_in_docs_run() {
    let mut pages = 0;
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            run(&path);
            pages += 1;
        }
    }
    assert!(pages >= 5, "the pages are not where they were");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages: Vec<PathBuf> = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    pages.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_file()));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(page.parent().unwrap().join(target).exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}
