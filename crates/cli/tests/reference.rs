//! The command line reference in `docs/cli.md` is what the program says of itself.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::path::Path;

use spacedrive_testing::Home;

/// The help of every command, in the order in which the program lists them.
fn reference(home: &Home) -> String {
    let mut text =
        "# The command line\n\nWritten by `just reference` from the program's own help; a test compares the two.\n".to_owned();
    describe(home, &[], &mut text);
    text
}

fn describe(home: &Home, path: &[&str], text: &mut String) {
    let help = home.run_args(path.iter().copied().chain(["--help"])).ok().stdout;
    let title = ["spacedrive"].iter().chain(path).copied().collect::<Vec<_>>().join(" ");
    let level = "#".repeat(2 + path.len().min(2));
    let own = without_global_options(&help, path.is_empty());
    text.push_str(&format!("\n{level} `{title}`\n\n```text\n{own}```\n"));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  "));
    let names = commands.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        let deeper: Vec<&str> = path.iter().copied().chain([name]).collect();
        describe(home, &deeper, text);
    }
}

/// The flags that every command takes are shown once, with the program itself; `--help` and `--version` go without saying.
fn without_global_options(help: &str, top: bool) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let (mut global, mut obvious) = (false, false);
    for line in help.lines().map(str::trim_end) {
        if !line.is_empty() && !line.starts_with(' ') {
            global = line == "Global options:";
            obvious = false;
        } else if line.starts_with("  -") || line.starts_with("      --") {
            obvious = line.contains("--help") || line.contains("--version");
        }
        if top || !(global || obvious) {
            kept.push(line);
        }
    }
    let text = kept.join("\n").replace("\nOptions:\n\n", "\n");
    let text = text.trim_end().trim_end_matches("Options:").trim_end();
    format!("{text}\n")
}

#[test]
fn the_reference_is_up_to_date() {
    let home = Home::new(env!("CARGO_BIN_EXE_spacedrive"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let now = reference(&home);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == now, "docs/cli.md is not what the program says of itself: run `just reference` and look at the change");
}
