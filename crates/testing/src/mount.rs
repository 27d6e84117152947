//! Mounts that a test makes, for disks that are full or read-only. They need root, and are undone on drop.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mount at a folder, undone when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// A file system in memory with these options, such as `size=2m`.
    pub fn tmpfs(at: &Path, options: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run(&["-t", "tmpfs", "-o", options, "tmpfs"], at);
        Self { at: at.to_owned() }
    }

    /// The folder itself, read-only.
    pub fn read_only(at: &Path) -> Self {
        run(&["--bind", at.to_str().unwrap()], at);
        let mount = Self { at: at.to_owned() };
        run(&["-o", "remount,bind,ro"], at);
        mount
    }

    /// The file system in the file `image`, through a loop device.
    pub fn image(image: &Path, at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run(&["-o", "loop", image.to_str().unwrap()], at);
        Self { at: at.to_owned() }
    }

    /// Mounts it again with other options, such as `size=64m`.
    pub fn remount(&self, options: &str) {
        run(&["-o", &format!("remount,{options}")], &self.at);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, so that a daemon that still uses it cannot keep it there.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn run(arguments: &[&str], at: &Path) {
    let status = Command::new("mount").args(arguments).arg(at).status().unwrap();
    assert!(status.success(), "mount {arguments:?} {}", at.display());
}
