//! Examples for the help of commands that do not bring their own.

use clap::Command;

/// What begins them.
const HEAD: &str = "Examples:\n";

/// By command, in the order of the help.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "spacedrive start",
            "spacedrive library create Photos",
            "spacedrive --instance alice start",
            "spacedrive instance list",
        ],
    ),
    ("stop", &["spacedrive stop", "spacedrive --instance alice stop", "spacedrive stop --all"]),
    ("daemon", &["spacedrive daemon", "spacedrive --instance alice daemon --json"]),
    ("status", &["spacedrive status", "spacedrive --instance alice status --json"]),
    ("instance", &["spacedrive instance list", "spacedrive instance start alice bob", "spacedrive instance doctor"]),
    ("instance list", &["spacedrive instance list", "spacedrive instance list --json"]),
    ("instance current", &["spacedrive instance current", "SPACEDRIVE_INSTANCE=alice spacedrive instance current"]),
    ("library", &["spacedrive library create Photos", "spacedrive library list", "spacedrive library switch Photos"]),
    ("library create", &["spacedrive library create Photos", "spacedrive library create Photos --path /mnt/disk"]),
    ("library list", &["spacedrive library list", "spacedrive --instance alice library list --json"]),
    ("library open", &["spacedrive library open /mnt/disk/Photos.sdlibrary"]),
    ("library switch", &["spacedrive library switch Photos", "spacedrive library switch 3fa8"]),
    ("library current", &["spacedrive library current", "spacedrive library current --json"]),
    ("library close", &["spacedrive library close", "spacedrive library close Photos"]),
    ("library info", &["spacedrive library info", "spacedrive library info Photos --json"]),
    ("library delete", &["spacedrive library delete Photos", "spacedrive library delete Photos --purge --yes"]),
    ("library restore", &["spacedrive library restore", "spacedrive library restore Photos"]),
    ("library check", &["spacedrive library check", "spacedrive library check Photos"]),
    ("library backup", &["spacedrive library backup", "spacedrive library backup Photos"]),
    ("location", &["spacedrive location add ~/Pictures", "spacedrive location list"]),
    ("location add", &["spacedrive location add ~/Pictures", "spacedrive location add ~/Music --mode deep --wait"]),
    ("location list", &["spacedrive location list", "spacedrive location list --json"]),
    ("location info", &["spacedrive location info ~/Pictures"]),
    ("location remove", &["spacedrive location remove ~/Pictures"]),
    ("location rescan", &["spacedrive location rescan ~/Pictures", "spacedrive location rescan Pictures --force"]),
    ("index", &["spacedrive index quick-scan ~/Downloads", "spacedrive index location ~/Pictures --mode deep"]),
    ("index quick-scan", &["spacedrive index quick-scan ~/Downloads", "spacedrive index quick-scan / --scope current"]),
    ("index browse", &["spacedrive index browse ~/Downloads"]),
    ("index location", &["spacedrive index location ~/Pictures --mode deep"]),
    ("scan", &["spacedrive scan ~/Pictures/2024", "spacedrive scan ~/Pictures --watch"]),
    ("search", &["spacedrive search holiday 2024", "spacedrive search '*.jpg' --limit 10"]),
    ("duplicates", &["spacedrive duplicates", "spacedrive duplicates --min-size 10M"]),
    ("job", &["spacedrive job list", "spacedrive job monitor"]),
    ("job list", &["spacedrive job list --recent", "spacedrive job list --status running --json"]),
    ("job info", &["spacedrive job info 3fa8"]),
    ("job monitor", &["spacedrive job monitor", "spacedrive job monitor --job-id 3fa8"]),
    ("job pause", &["spacedrive job pause 3fa8"]),
    ("job resume", &["spacedrive job resume 3fa8"]),
    ("job cancel", &["spacedrive job cancel 3fa8"]),
    ("network", &["spacedrive network init", "spacedrive network pair generate", "spacedrive network devices"]),
    ("network spacedrop", &["spacedrive network spacedrop bob photo.jpg", "spacedrive network spacedrop bob Photos --wait"]),
    ("network drops", &["spacedrive network drops list", "spacedrive network drops accept 3fa8"]),
    ("network drops list", &["spacedrive network drops list", "spacedrive network drops list --json"]),
    (
        "network drops accept",
        &["spacedrive network drops accept 3fa8", "spacedrive network drops accept 3fa8 --into ~/Downloads"],
    ),
    ("network drops reject", &["spacedrive network drops reject 3fa8"]),
    ("network drops cancel", &["spacedrive network drops cancel 3fa8"]),
    ("network trust", &["spacedrive network trust bob", "spacedrive network trust bob --drops accept"]),
    ("network init", &["spacedrive network init", "spacedrive network init --password-stdin < password.txt"]),
    ("network start", &["spacedrive network start"]),
    ("network stop", &["spacedrive network stop"]),
    ("network status", &["spacedrive network status", "spacedrive --instance alice network status --json"]),
    ("network passwd", &["spacedrive network passwd"]),
    ("network reset", &["spacedrive network reset --yes"]),
    ("network devices", &["spacedrive network devices", "spacedrive network devices --json"]),
    ("network revoke", &["spacedrive network revoke laptop"]),
    ("network pair", &["spacedrive network pair generate --auto-accept", "spacedrive network pair status"]),
    ("network pair generate", &["spacedrive network pair generate", "spacedrive network pair generate --auto-accept --ttl 60"]),
    ("network pair join", &["spacedrive network pair join", "spacedrive network pair join - < code.txt"]),
    ("network pair status", &["spacedrive network pair status", "spacedrive network pair status --json"]),
    ("network pair list-pending", &["spacedrive network pair list-pending"]),
    ("network pair accept", &["spacedrive network pair accept 3fa8"]),
    ("network pair reject", &["spacedrive network pair reject 3fa8"]),
    ("config", &["spacedrive config list --show-origin", "spacedrive config set mdns false"]),
    ("service", &["spacedrive service install --now", "spacedrive service status alice"]),
    ("copy", &["spacedrive copy photos /mnt/disk --wait", "spacedrive copy a.txt b.txt docs --conflict newer --verify"]),
    ("move", &["spacedrive move photos /mnt/disk --wait", "spacedrive move old.txt new.txt --dry-run"]),
    ("delete", &["spacedrive delete old.txt drafts --wait", "spacedrive delete secret.txt --permanent --yes"]),
    ("undo", &["spacedrive undo"]),
    ("demo", &["spacedrive demo"]),
];

/// Adds the examples to a program's commands.
pub(crate) fn add(program: Command) -> Command {
    EXAMPLES.iter().fold(program, |program, (path, lines)| {
        let text = format!("{HEAD}  {}", lines.join("\n  "));
        let path: Vec<&str> = path.split_whitespace().collect();
        add_to(program, &path, &text)
    })
}

fn add_to(command: Command, path: &[&str], text: &str) -> Command {
    let Some((name, rest)) = path.split_first() else {
        let own = command.get_after_help().map(ToString::to_string);
        return match own {
            Some(own) if own.contains(HEAD) => command,
            Some(own) => command.after_help(format!("{own}\n\n{text}")),
            None => command.after_help(text.to_owned()),
        };
    };
    // `mut_subcommand` would make one that is not there.
    match command.find_subcommand(name) {
        None => command,
        Some(_) => command.mut_subcommand(name, |subcommand| add_to(subcommand, rest, text)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn without_examples(command: &Command, path: &str, found: &mut Vec<String>) {
        if command.is_hide_set() || command.get_name() == "help" {
            return;
        }
        let has = command.get_after_help().is_some_and(|text| text.to_string().contains(HEAD));
        if !has {
            found.push(path.to_owned());
        }
        for subcommand in command.get_subcommands() {
            without_examples(subcommand, format!("{path} {}", subcommand.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_has_examples() {
        let mut found = Vec::new();
        without_examples(&add(Cli::command()), "", &mut found);
        assert!(found.is_empty(), "add examples to these, in their own file or here: {found:?}");
    }

    #[test]
    fn every_example_parses() {
        fn each(command: &Command, check: &mut impl FnMut(&str)) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            text.lines().filter_map(|line| line.strip_prefix("  spacedrive ")).for_each(&mut *check);
            command.get_subcommands().for_each(|subcommand| each(subcommand, check));
        }
        each(&add(Cli::command()), &mut |line| {
            // What a shell would do to the line is not ours to parse.
            let line = line.split([';', '|', '<', '>', '&']).next().unwrap_or_default();
            if line.contains(['\'', '"', '$']) {
                return;
            }
            let parsed = Cli::command().try_get_matches_from(std::iter::once("spacedrive").chain(line.split_whitespace()));
            assert!(parsed.is_ok(), "`spacedrive {line}`: {parsed:?}");
        });
    }
}
