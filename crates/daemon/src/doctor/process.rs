//! Checks of the daemon's process and of what it has in the runtime dir.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use spacedrive_api::instance::MAX_SOCKET_PATH;
use spacedrive_api::{ApiError, VERSION, locate};

use super::{Patient, Said, failure, fixed, ok, warning};

/// An error of the product as a finding.
fn failed(error: ApiError) -> Said {
    failure(error.message, error.hint.unwrap_or_default())
}

pub(super) fn runtime_dir(patient: &Patient) -> Said {
    match locate::check_runtime_dir(&patient.places) {
        Ok(()) => ok(patient.places.runtime.display().to_string()),
        Err(error) => failed(error),
    }
}

pub(super) fn socket_path(patient: &Patient) -> Said {
    match patient.places.runtime_files(&patient.name) {
        Ok(files) => ok(format!("{} of {MAX_SOCKET_PATH} bytes", files.socket.as_os_str().len())),
        Err(error) => failed(error),
    }
}

pub(super) fn process(patient: &Patient) -> Said {
    match (&patient.daemon, patient.alive) {
        (Some(daemon), _) => ok(format!("running, pid {}", daemon.pid)),
        (None, false) => ok("not running"),
        (None, true) => failure(
            "the daemon holds its lock and does not answer",
            "wait a moment; if it stays so, end the process that `instance list` shows",
        ),
    }
}

pub(super) fn socket(patient: &Patient) -> Said {
    let Ok(files) = patient.places.runtime_files(&patient.name) else { return Said::new() };
    let socket = patient.daemon.as_ref().map_or(files.socket, |daemon| daemon.socket.0.clone());
    let at = socket.display();
    let Ok(meta) = fs::symlink_metadata(&socket) else {
        return match patient.alive {
            true => warning(format!("{at} is missing"), "nothing: the daemon puts it back within 5 seconds"),
            false => ok("none, as nothing runs"),
        };
    };
    if !meta.file_type().is_socket() {
        failure(format!("{at} is not a socket"), format!("look at it, and remove it if nobody needs it: rm '{at}'"))
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        failure(format!("{at} belongs to the user with uid {}", meta.uid()), "set XDG_RUNTIME_DIR to a folder of your own")
    } else if meta.mode() & 0o077 != 0 {
        let said = failure(format!("{at}: others can connect (mode {:o})", meta.mode() & 0o777), format!("chmod 600 '{at}'"));
        mend_mode(patient, &socket, 0o600, said)
    } else {
        ok(at.to_string())
    }
}

pub(super) fn mend_mode(patient: &Patient, path: &std::path::Path, mode: u32, said: Said) -> Said {
    use std::os::unix::fs::PermissionsExt;
    if patient.fix && fs::set_permissions(path, fs::Permissions::from_mode(mode)).is_ok() { fixed(said) } else { said }
}

pub(super) fn pid_file(patient: &Patient) -> Said {
    let Ok(files) = patient.places.runtime_files(&patient.name) else { return Said::new() };
    let at = files.pid.display();
    // A daemon of another runtime dir has its files there.
    let Some(daemon) = patient.daemon.as_ref().filter(|daemon| daemon.socket.0 == files.socket) else { return Said::new() };
    match fs::read_to_string(&files.pid) {
        Ok(text) if text.trim() == daemon.pid.to_string() => ok(at.to_string()),
        Ok(_) => warning(
            format!("{at} does not hold the daemon's pid {}", daemon.pid),
            format!("rm '{at}'; the daemon writes it anew"),
        ),
        Err(error) => warning(format!("{at}: {error}"), "nothing: the daemon puts it back within 5 seconds"),
    }
}

pub(super) fn leftovers(patient: &Patient) -> Said {
    let found = match &patient.leftovers {
        Ok(found) => found,
        Err(error) => return failed(error.clone()),
    };
    if found.is_empty() {
        return ok("none");
    }
    let paths = found.iter().map(|c| c.path.to_string_lossy()).collect::<Vec<_>>().join(", ");
    let said = warning(format!("left behind by daemons that are gone: {paths}"), "spacedrive instance clean");
    if patient.fix && found.iter().all(|c| c.removed) { fixed(said) } else { said }
}

pub(super) fn version(patient: &Patient) -> Said {
    match &patient.daemon {
        None => Said::new(),
        Some(daemon) if daemon.protocol != spacedrive_api::protocol() => failure(
            format!(
                "the daemon ({}) speaks protocol {}, this command ({VERSION}) {}",
                daemon.version,
                daemon.protocol,
                spacedrive_api::protocol()
            ),
            format!("spacedrive instance restart {}", patient.name),
        ),
        Some(daemon) if daemon.version != VERSION => warning(
            format!("the daemon has version {}, this command {VERSION}", daemon.version),
            format!("spacedrive instance restart {}", patient.name),
        ),
        Some(daemon) => ok(format!("{} (protocol {})", daemon.version, daemon.protocol)),
    }
}
