//! Killed at any moment, the library opens again and comes to what is on disk.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use spacedrive_api::{IndexMode, LocationAdd, Rules};
use spacedrive_core::{Library, failpoint};

use super::world::{PATIENCE, World, again, write};

/// What the child is told by.
const VARIABLE: &str = "SD_TEST_KILL";

/// Not a test of its own: the process that is killed. Indexes the folder until the failpoint comes.
#[test]
#[ignore = "run by the tests in this file"]
fn child() {
    let Ok(told) = std::env::var(VARIABLE) else { return };
    let (folder, spec) = told.split_once('|').unwrap();
    assert!(failpoint::arm(spec));
    let folder = PathBuf::from(folder);
    let library = Library::open(&folder.join("data/L.sdlibrary"), &Default::default()).unwrap();
    library.start().unwrap();
    if library.index().locations().is_empty() {
        let request = LocationAdd {
            library: String::new(),
            path: folder.join("disk").into(),
            name: None,
            mode: IndexMode::Content,
            rules: Rules::default(),
        };
        library.add_location(&request).unwrap();
    } else {
        library.index_location(&again("disk")).unwrap();
    }
    for job in library.jobs().list(None).unwrap() {
        library.jobs().wait_for_end(job.id, PATIENCE).unwrap();
    }
}

/// Runs the child until it dies by the failpoint; false when it ended by itself.
fn run(world: &World, spec: &str) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture"])
        .env(VARIABLE, format!("{}|{spec}", world.dir.path().display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success() || status.signal() == Some(9), "{status}");
    status.signal() == Some(9)
}

#[test]
fn at_every_failpoint() {
    let mut world = World::new(false);
    let mut killed = 0;
    for (round, point) in ["index.write.before", "index.write.after", "job.add.done"].iter().enumerate() {
        for nth in 1..=4 {
            world.close();
            let base = world.disk();
            for n in 0..300 {
                let name = format!("r{}/d{}/f{n}", (round + nth) % 3, n % 17);
                if (n + nth) % 5 == 0 {
                    let _ = std::fs::remove_file(base.join(name));
                } else {
                    write(&base.join(name), format!("{round} {nth} {}", n % 40));
                }
            }
            if nth >= 3 {
                let _ = std::fs::remove_dir_all(base.join("moved"));
                std::fs::rename(base.join(format!("r{}", (round + nth) % 3)), base.join("moved")).unwrap();
            }
            killed += usize::from(run(&world, &format!("{point}:{nth}")));
            world.reopen();
            if world.library().index().locations().is_empty() {
                // It died before the location was accepted.
                world.add(IndexMode::Content);
            }
            world.rescan();
            world.assert_equal();
        }
    }
    assert!(killed >= 6, "only {killed} of 12 runs were killed");
}

#[test]
fn at_random_moments() {
    let mut world = World::new(false);
    for n in 0..2000 {
        write(&world.disk().join(format!("d{}/e{}/f{n}", n % 11, n % 53)), format!("content {}", n % 300));
    }
    for round in 0..8u64 {
        world.close();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(VARIABLE, format!("{}|none:1", world.dir.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // How far it comes is what is random here.
        std::thread::park_timeout(std::time::Duration::from_millis(20 + round * 37));
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::rename(world.disk().join(format!("d{round}")), world.disk().join(format!("d{round} moved"))).unwrap();
        world.reopen();
        assert_eq!(world.library().check(true).unwrap().problems, Vec::<String>::new());
        if world.library().index().locations().is_empty() {
            continue;
        }
        world.rescan();
        world.assert_equal();
    }
    if world.library().index().locations().is_empty() {
        world.add(IndexMode::Content);
    }
    world.assert_equal();
}
