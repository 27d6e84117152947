//! A daemon in a cgroup with little memory: it stays within it, or is killed and comes back with everything.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::{Path, PathBuf};

use spacedrive_testing::{Home, Oracle, root_or_skip};

/// A memory cgroup (version 1) of this test's own; gone when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Option<Self> {
        let dir = Path::new("/sys/fs/cgroup/memory").join(format!("{name}-{}", std::process::id()));
        if !Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() || fs::create_dir(&dir).is_err() {
            eprintln!("skipped: there is no memory cgroup of version 1 to be made here");
            return None;
        }
        Some(Self(dir))
    }

    fn limit(&self, bytes: u64) {
        fs::write(self.0.join("memory.limit_in_bytes"), bytes.to_string()).unwrap();
    }

    fn take(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever still lives in it goes back to the root.
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write("/sys/fs/cgroup/memory/cgroup.procs", pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn many_files(home: &Home, folders: usize, files: usize) {
    for folder in 0..folders {
        let dir = home.cwd().join(format!("many/{folder:04}"));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..files {
            fs::write(dir.join(format!("file-{file:04}.txt")), b"x").unwrap();
        }
    }
}

fn count(home: &Home) -> String {
    home.run("--instance a search file- --count").ok().stdout.trim().to_owned()
}

#[test]
fn indexing_stays_within_little_memory() {
    if !root_or_skip("it makes a cgroup") {
        return;
    }
    let Some(cgroup) = Cgroup::new("sd-little") else { return };
    let home = Home::new(env!("CARGO_BIN_EXE_spacedrive"));
    many_files(&home, 200, 100);
    home.run("start --instance a").ok();
    home.run("--instance a library create One").ok();
    cgroup.limit(64 << 20);
    cgroup.take(home.pid("a"));
    home.run("--instance a location add many --mode shallow --wait").ok();
    assert_eq!(count(&home), "20000");
}

#[test]
fn a_daemon_that_is_killed_for_its_memory_comes_back_whole() {
    if !root_or_skip("it makes a cgroup") {
        return;
    }
    let Some(cgroup) = Cgroup::new("sd-killed") else { return };
    let home = Home::new(env!("CARGO_BIN_EXE_spacedrive"));
    let oracle = Oracle::new(&home);
    many_files(&home, 100, 100);
    home.run("start --instance a").ok();
    assert!(oracle.create_library(&home, "a", "One"));
    cgroup.limit(1 << 20);
    cgroup.take(home.pid("a"));
    let added = home.run("--instance a location add many --wait");
    assert!([3, 8].contains(&added.code), "the daemon was killed while it worked: {added:?}");
    home.run("--instance a daemon").exits(3);
    home.run("start --instance a").ok();
    oracle.check(&home, "a");
    // The location may have been accepted before the kill; its job then goes on by itself.
    if home.run("--instance a location list --json").ok().json() == serde_json::json!([]) {
        home.run("--instance a location add many --wait").ok();
    } else {
        home.run("--instance a location rescan many --wait").ok();
    }
    assert_eq!(count(&home), "10000");
}
