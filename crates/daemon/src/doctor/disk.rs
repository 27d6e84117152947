//! Checks of the machine.

use std::fs;

use spacedrive_core::config::Config;

use super::{Patient, Said, failure, ok, warning};

/// Free space below which things soon stop, and below which they do, in bytes.
const LITTLE: u64 = 1 << 30;
const TOO_LITTLE: u64 = 64 << 20;

pub(super) fn space(patient: &Patient) -> Said {
    let Some(data) = &patient.data else { return Said::new() };
    let at = data.dir.display();
    match rustix::fs::statvfs(&data.dir) {
        Err(error) => failure(format!("{at}: {error}"), "look at the disk"),
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let text = format!("{} MB free at {at}", free >> 20);
            let inodes = disk.f_files > 0 && disk.f_favail < 1_000;
            if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
                failure(format!("{at} is on a read-only file system"), "mount it writable")
            } else if free < TOO_LITTLE {
                failure(text, "free some space")
            } else if inodes {
                warning(format!("only {} more files fit at {at}", disk.f_favail), "remove files that nobody needs")
            } else if free < LITTLE {
                warning(text, "free some space")
            } else {
                ok(text)
            }
        }
    }
}

/// The kernel's limits on watched folders, against what this instance has. Each watched folder takes one watch, each
/// library one queue.
pub(super) fn watches(patient: &Patient) -> Said {
    let limit = |name: &str| fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse::<u64>().ok();
    let (Some(watches), Some(queues)) = (limit("max_user_watches"), limit("max_user_instances")) else { return Said::new() };
    let folders = patient.told.folders;
    let need = folders.map_or(String::new(), |folders| format!("{folders} to watch here; "));
    let text = format!("{need}the limit is {watches} folders and {queues} queues a user");
    // Other programs of the user watch folders too.
    let needed = folders.unwrap_or(0).saturating_mul(4) / 3;
    if watches < needed.max(8_192) || queues < 16 {
        let enough = needed.next_power_of_two().max(524_288);
        let mend = format!("sudo sysctl fs.inotify.max_user_watches={enough} fs.inotify.max_user_instances={}", queues.max(512));
        warning(format!("the limit is low: {text}"), mend)
    } else {
        ok(text)
    }
}

pub(super) fn clock(patient: &Patient) -> Said {
    let now = jiff::Timestamp::now();
    let made = patient.data.as_ref().and_then(|data| Config::read(&data.config).ok().flatten()).map(|config| config.created_at);
    match made {
        Some(made) if made > now => warning(
            format!("it says {now}, which is before the instance was made ({made})"),
            "set the clock: timedatectl set-ntp true",
        ),
        _ => ok(now.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
    }
}
