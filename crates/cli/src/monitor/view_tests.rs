#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;
use spacedrive_api::JobOrder;

use super::*;
use crate::monitor::feed::Message;
use crate::monitor::{Do, press};

/// The screen of this size, line by line.
fn screen(model: &Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn overview(name: &str, library: &str) -> Overview {
    serde_json::from_value(json!({
        "daemon": {
            "name": name, "id": "00000000-0000-4000-8000-000000000001", "pid": 4711, "version": "0.1.0", "protocol": 1,
            "uptime_s": 3661, "data_dir": "/data/instance", "socket": "/run/s.sock", "networking": "on", "libraries": 1
        },
        "libraries": [{
            "id": "00000000-0000-4000-8000-000000000002", "name": library, "path": "/data/Photos.sdlibrary", "state": "open",
            "bytes": 8192
        }],
        "locations": [{
            "library": library, "library_id": "00000000-0000-4000-8000-000000000002",
            "id": "00000000-0000-4000-8000-000000000003", "name": "Pictures", "path": "/home/me/Pictures", "mode": "content",
            "state": "watching", "files": 1234, "dirs": 5, "bytes": 6, "errors": 0,
            "rules": { "system": true, "hidden": false, "vcs": false, "gitignore": false }
        }],
        "jobs": [{
            "library": library, "library_id": "00000000-0000-4000-8000-000000000002",
            "id": "3fa85f64-0000-4000-8000-000000000004", "kind": "index", "status": "running", "done": 25, "total": 100,
            "unit": "files", "message": "hashing", "started_at": null, "finished_at": null, "errors": 0
        }],
        "network": {
            "networking": "on", "id": null, "name": name, "addresses": ["127.0.0.1:4000"], "discovery": "same-host"
        },
        "devices": [{
            "id": "ab".repeat(32), "name": "laptop", "status": "connected", "paired_at": "2030-01-31T12:00:00Z",
            "last_seen": "2030-01-31T12:00:00Z"
        }],
        "pairings": []
    }))
    .unwrap()
}

fn instances() -> Vec<spacedrive_api::InstanceInfo> {
    ["alice", "bob"]
        .map(|name| {
            serde_json::from_value(json!({
                "name": name, "status": "running", "pid": 4711, "uptime_s": 1, "version": "0.1.0", "networking": "on",
                "data_dir": "/data", "socket": "/run/s.sock"
            }))
            .unwrap()
        })
        .into()
}

fn model() -> Model {
    let mut model = Model::new("alice", false);
    model.take(Message::Instances(instances()));
    model.take(Message::Overview("alice".into(), Box::new(overview("alice", "Photos"))));
    model.take(Message::Log("alice".into(), vec!["first line".into(), "last line".into()]));
    model
}

fn key(model: &mut Model, code: KeyCode) -> Do {
    press(model, KeyEvent::new(code, KeyModifiers::NONE))
}

#[track_caller]
fn shows(model: &Model, texts: &[&str]) {
    let screen = screen(model, 100, 20).join("\n");
    for text in texts {
        assert!(screen.contains(text), "`{text}` is not on the screen:\n{screen}");
    }
}

#[test]
fn each_panel_shows_what_it_is_for() {
    let mut model = model();
    shows(&model, &["alice · Overview", "Uptime     1h 1m", "Devices    1 of 1 connected", "127.0.0.1:4000"]);
    let panels: [(char, &[&str]); 6] = [
        ('2', &["alice · Libraries", "Photos", "open", "8 kB"]),
        ('3', &["alice · Locations", "Pictures", "watching", "1234", "/home/me/Pictures"]),
        ('4', &["alice · Jobs", "3fa85f64", "running", "25% of 100 files", "hashing", "p pause"]),
        ('5', &["alice · Devices", "laptop", "connected", "abababababababab"]),
        ('6', &["alice · Log", "first line", "last line"]),
        ('7', &["alice · Instances", "alice", "bob", "running"]),
    ];
    for (digit, texts) in panels {
        assert_eq!(key(&mut model, KeyCode::Char(digit)), Do::Nothing);
        shows(&model, texts);
    }
    key(&mut model, KeyCode::Tab);
    shows(&model, &["alice · Overview"]);
    assert_eq!(key(&mut model, KeyCode::Char('q')), Do::Leave);
}

#[test]
fn the_next_instance_has_its_own_log_and_state() {
    let mut model = model();
    key(&mut model, KeyCode::Char('i'));
    shows(&model, &["bob · Overview", "waiting for its daemon"]);
    model.take(Message::Log("alice".into(), vec!["hers".into()]));
    assert!(model.log.is_empty(), "another instance's log is not shown");
    model.take(Message::Overview("bob".into(), Box::new(overview("bob", "Music"))));
    key(&mut model, KeyCode::Char('2'));
    shows(&model, &["bob · Libraries", "Music"]);
    model.take(Message::Gone("bob".into(), "it is not running".into()));
    shows(&model, &["Instance `bob`: it is not running", "spacedrive instance start bob"]);
    key(&mut model, KeyCode::Char('a'));
    shows(&model, &["All instances", " alice ", " bob ", "Pid        4711"]);
    key(&mut model, KeyCode::Char('i'));
    key(&mut model, KeyCode::Char('1'));
    shows(&model, &["alice · Overview"]);
}

#[test]
fn keys_give_orders_to_the_job_that_is_shown_first() {
    let mut model = model();
    assert_eq!(key(&mut model, KeyCode::Char('p')), Do::Nothing, "no job is shown");
    key(&mut model, KeyCode::Char('4'));
    for (letter, order) in [('p', JobOrder::Pause), ('r', JobOrder::Resume), ('c', JobOrder::Cancel)] {
        assert_eq!(key(&mut model, KeyCode::Char(letter)), Do::Order(order));
    }
    assert_eq!(press(&mut model, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Do::Leave);
    model.take(Message::Note("no job `3fa8`".into()));
    shows(&model, &["no job `3fa8`"]);
}

#[test]
fn the_log_is_read_from_its_end() {
    let mut model = model();
    model.take(Message::Log("alice".into(), (0..600).map(|n| format!("line {n}.")).collect()));
    key(&mut model, KeyCode::Char('6'));
    shows(&model, &["line 599."]);
    key(&mut model, KeyCode::PageUp);
    let text = screen(&model, 100, 20).join("\n");
    assert!(text.contains("line 589.") && !text.contains("line 590."), "{text}");
    for _ in 0..100 {
        key(&mut model, KeyCode::PageUp);
    }
    shows(&model, &["line 100."]);
}

#[test]
fn any_size_of_terminal_will_do() {
    let mut model = model();
    for all in [false, true] {
        model.all = all;
        for panel in Panel::ALL {
            model.panel = panel;
            for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 12), (80, 24), (300, 100)] {
                screen(&model, width, height);
            }
        }
    }
    (model.all, model.panel) = (false, Panel::Libraries);
    assert!(screen(&model, 40, 12).join("\n").contains("Photos"));
}

#[test]
fn a_hostile_name_does_nothing_to_the_terminal() {
    let mut model = model();
    model.take(Message::Overview("alice".into(), Box::new(overview("alice", "a\u{1b}[31m\u{202e}b"))));
    key(&mut model, KeyCode::Char('2'));
    let text = screen(&model, 300, 20).join("\n");
    assert!(text.contains("a\\u{1b}[31m\\u{202e}b"), "{text}");
    assert!(!super::text(&overview("alice", "a\u{1b}b")).contains('\u{1b}'));
}
