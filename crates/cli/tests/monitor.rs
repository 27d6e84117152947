//! `monitor`: once, as a stream, and on a real pseudo-terminal.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a test that cannot go on panics")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use spacedrive_testing::{Guarded, Home, Lab, Outcome};

fn lab(instances: &[&str]) -> Lab {
    Lab::start(env!("CARGO_BIN_EXE_spacedrive"), instances)
}

#[test]
fn once_prints_the_state_and_ends() {
    let lab = lab(&["alice", "bob"]);
    lab.run("--instance alice library create Photos").ok();
    let shown = lab.run("--instance alice monitor --once").ok().stdout;
    assert!(shown.starts_with("Instance `alice` is running\n") && shown.contains("Library: Photos ("), "{shown}");
    let json = lab.run("--instance alice monitor --once --json").ok().json();
    assert_eq!((&json["daemon"]["name"], &json["libraries"][0]["name"]), (&"alice".into(), &"Photos".into()));
    assert!(json["devices"].is_array() && json["network"]["networking"] == "off" && json["pairings"].is_array(), "{json}");
    let all = lab.run("monitor --once --all --json").ok().json();
    let names: Vec<_> = all.as_array().unwrap().iter().map(|one| one["daemon"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alice", "bob"]);
    lab.run("monitor --once").exits(3);
    lab.run("--instance alice monitor").exits(2).says("needs a terminal");
}

#[test]
fn the_stream_tells_each_change_once_and_ends_with_the_daemon() {
    let lab = lab(&["alice"]);
    let child = lab.command(["--instance", "alice", "monitor", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Guarded(child);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut overviews = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let names = |overview: &Value| {
        overview["libraries"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&overviews.next().unwrap()), [""; 0]);
    lab.run("--instance alice library create One").ok();
    assert!(overviews.by_ref().take(2).any(|overview| names(&overview) == ["One"]));
    // What only looks changes nothing, and so tells nothing.
    for _ in 0..5 {
        lab.run("--instance alice library list").ok();
    }
    lab.run("--instance alice library delete One --yes").ok();
    assert_eq!(names(&overviews.next().unwrap()), [""; 0]);
    lab.run("--instance alice network start").ok();
    assert_eq!(overviews.next().unwrap()["network"]["networking"], "uninitialised");
    lab.run("--instance alice stop").ok();
    assert_eq!(overviews.count(), 0);
    child.0.wait().unwrap();
}

/// A program on a pseudo-terminal of its own: a server of tmux that nobody else uses.
struct Screen<'a> {
    home: &'a Home,
}

impl<'a> Screen<'a> {
    /// `None` where there is no tmux.
    fn start(home: &'a Home, line: &str) -> Option<Self> {
        if Outcome::of(&mut home.shell("command -v tmux")).code != 0 {
            assert!(std::env::var_os("CI").is_none(), "tmux is missing");
            eprintln!("skipped: there is no tmux here");
            return None;
        }
        let screen = Self { home };
        let shell = format!("'{}' {line}; echo \"ended with $?\"; read -r", home.program().display());
        let args = ["-f", "/dev/null", "new-session", "-d", "-s", "m", "-x", "100", "-y", "30"];
        Outcome::of(screen.tmux(&args).arg(shell)).ok();
        Some(screen)
    }

    fn tmux(&self, args: &[&str]) -> Command {
        // The program in it has the environment of the home, and a terminal that can draw.
        let mut template = self.home.command([""; 0]);
        template.env("TERM", "screen");
        let mut command = Command::new("tmux");
        command.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
        command.current_dir(self.home.cwd()).stdin(Stdio::null()).arg("-S").arg(self.home.path().join("tmux")).args(args);
        command
    }

    fn press(&self, key: &str) {
        Outcome::of(&mut self.tmux(&["send-keys", "-t", "m", key])).ok();
    }

    #[track_caller]
    fn shows(&self, texts: &[&str]) {
        let begun = std::time::Instant::now();
        loop {
            let last = Outcome::of(&mut self.tmux(&["capture-pane", "-p", "-t", "m"])).ok().stdout;
            if texts.iter().all(|text| last.contains(text)) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{texts:?} never came on the screen:\n{last}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}

#[test]
fn a_person_watches_it_on_a_terminal() {
    let lab = lab(&["alice", "bob"]);
    let Some(screen) = Screen::start(&lab, "--instance alice monitor") else { return };
    screen.shows(&["alice · Overview", "Libraries  0"]);
    // Nobody touches a key, and the screen follows what happens.
    lab.run("--instance alice library create Photos").ok();
    screen.shows(&["Libraries  1"]);
    screen.press("2");
    screen.shows(&["alice · Libraries", "Photos", "open"]);
    lab.run("--instance alice library close Photos").ok();
    screen.shows(&["closed"]);
    let folder = lab.path().join("Pictures");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.txt"), "a").unwrap();
    lab.run("--instance alice library switch Photos").ok();
    lab.run(&format!("--instance alice location add {} --wait", folder.display())).ok();
    screen.press("3");
    screen.shows(&["alice · Locations", "Pictures", "watching"]);
    screen.press("4");
    screen.shows(&["alice · Jobs", "index", "completed"]);
    screen.press("6");
    lab.run("--instance alice network start").ok();
    screen.shows(&["alice · Log", "ready"]);
    screen.press("7");
    screen.shows(&["alice", "bob"]);
    lab.run("instance create carol").ok();
    lab.run("instance start carol").ok();
    screen.shows(&["carol"]);
    screen.press("1");
    screen.press("i");
    screen.shows(&["bob · Overview", "Uptime"]);
    lab.run("instance stop bob").ok();
    screen.shows(&["Instance `bob`: "]);
    lab.run("instance start bob").ok();
    screen.shows(&["bob · Overview", "Uptime"]);
    lab.kill("bob");
    screen.shows(&["Instance `bob`: "]);
    screen.press("a");
    screen.shows(&["All instances", " alice ", " carol "]);
    screen.press("q");
    screen.shows(&["ended with 0"]);
}
