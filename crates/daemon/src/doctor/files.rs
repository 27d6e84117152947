//! Checks of what is stored.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use spacedrive_api::instance::DataFiles;
use spacedrive_api::locate;
use spacedrive_api::record::Record;
use spacedrive_core::config::{Config, backup};
use spacedrive_core::health::{self, Health};

use super::process::mend_mode;
use super::{Patient, Said, failure, fixed, ok, warning};
use crate::boot::remember;

/// A WAL of this size is moved into its database at the next quiet moment; one that is larger hints at a reader that never ends.
const LARGE_WAL: u64 = 64 << 20;

pub(super) fn record(patient: &Patient) -> Said {
    let Some(path) = patient.places.record(&patient.name) else {
        return warning(
            "there is no home folder to keep it in: the instance is found in its own folder only",
            "set HOME or XDG_STATE_HOME",
        );
    };
    let Some(data) = &patient.data else { return Said::new() };
    let at = path.display();
    match Record::read(&patient.places, &patient.name) {
        Some(record) if record.data_dir.0 == data.dir => ok(at.to_string()),
        other => {
            let why = other
                .map_or("it is missing or damaged".to_owned(), |record| format!("it leads to {}", record.data_dir.0.display()));
            let said = warning(format!("{at}: {why}"), format!("spacedrive instance doctor {} --fix", patient.name));
            let socket = patient.places.runtime_files(&patient.name).map(|files| files.socket);
            let Ok(socket) = socket else { return said };
            if !patient.fix {
                return said;
            }
            remember(&patient.places, &patient.name, data, &socket);
            if path.exists() { fixed(said) } else { said }
        }
    }
}

pub(super) fn data_dir(patient: &Patient) -> Said {
    let Some(data) = &patient.data else {
        return failure("it is not there", "mount its disk, or remove what is left: spacedrive instance clean");
    };
    let at = data.dir.display();
    match fs::metadata(&data.dir) {
        Err(error) => failure(format!("{at}: {error}"), "look at the folder"),
        Ok(meta) if meta.uid() != rustix::process::geteuid().as_raw() => {
            failure(format!("{at} belongs to the user with uid {}", meta.uid()), "start the instance as that user")
        }
        Ok(_) if !patient.may_look() => warning(format!("{at} is locked by another process"), "wait until it is done"),
        Ok(_) => ok(at.to_string()),
    }
}

/// Nothing in a data dir is for others to read, and certainly not to write.
pub(super) fn permissions(patient: &Patient) -> Said {
    let Some(data) = &patient.data else { return Said::new() };
    let mut said = Said::new();
    let secret = [(&data.dir, 0o700), (&data.config, 0o600), (&data.database, 0o600), (&data.identity, 0o600)];
    for (path, mode) in secret {
        let Ok(meta) = fs::metadata(path) else { continue };
        if meta.mode() & 0o077 != 0 {
            let at = path.display();
            let open = warning(
                format!("{at}: others can look into it (mode {:o})", meta.mode() & 0o777),
                format!("chmod {mode:o} '{at}'"),
            );
            said.extend(mend_mode(patient, path, mode, open));
        }
    }
    if said.is_empty() { ok("nobody else can look in") } else { said }
}

pub(super) fn configuration(patient: &Patient) -> Said {
    let Some(data) = &patient.data else { return Said::new() };
    let at = data.config.display();
    let copy = backup(&data.config);
    let mend = if copy.exists() { format!("cp '{}' '{at}'", copy.display()) } else { "mend it by hand".to_owned() };
    match Config::read(&data.config) {
        Ok(Some(_)) => ok(at.to_string()),
        Ok(None) => failure(format!("{at} is missing"), mend),
        Err(error) => failure(error.to_string(), mend),
    }
}

/// A data dir that was copied by hand is the same device twice, which confuses everyone who is paired with it.
pub(super) fn identity(patient: &Patient) -> Said {
    let own = |data: &DataFiles| Config::read(&data.config).ok().flatten().map(|config| config.id);
    let Some(id) = patient.data.as_ref().and_then(own) else { return Said::new() };
    let twins: Vec<String> = locate::known(&patient.places)
        .into_iter()
        .filter(|(name, dir)| *name != patient.name && dir.as_ref().is_some_and(|dir| own(&DataFiles::new(dir)) == Some(id)))
        .map(|(name, _)| name.to_string())
        .collect();
    if twins.is_empty() {
        return ok(id.to_string());
    }
    failure(
        format!("instance `{}` has the same identity as {}: one is a copy of the other's folder", patient.name, twins.join(", ")),
        format!("keep one, and copy it again with: spacedrive instance clone {} NAME", patient.name),
    )
}

pub(super) fn databases(patient: &Patient) -> Said {
    let Some(data) = patient.data.as_ref().filter(|_| patient.may_look()) else { return Said::new() };
    let mut said = Said::new();
    let mut sound = 0;
    let mut note = |path: &Path, health: spacedrive_core::Result<Health>| match health {
        Ok(health) => match unsound(patient, &health) {
            None => sound += 1,
            Some(finding) => said.extend(finding),
        },
        Err(error) => said.extend(failure(format!("{}: {error}", path.display()), "restore it from a backup")),
    };
    if data.database.exists() {
        note(&data.database, health::of_instance(&data.database));
    }
    match spacedrive_core::clone::libraries_of(data) {
        Ok(libraries) => libraries.iter().filter(|dir| dir.is_dir()).for_each(|dir| note(dir, health::of_library(dir))),
        Err(error) => note(&data.database, Err(error)),
    }
    if said.is_empty() { ok(format!("{sound} sound")) } else { said }
}

fn unsound(patient: &Patient, health: &Health) -> Option<Said> {
    let at = health.path.display();
    if let Some(problem) = &health.problem {
        Some(failure(format!("{at} is damaged: {problem}"), "restore it from a backup"))
    } else if health.schema > health.known {
        Some(failure(
            format!("{at} was written by a newer version (schema {}; this one knows {})", health.schema, health.known),
            "install the newer version of spacedrive",
        ))
    } else if health.schema < health.known {
        let restart = format!("spacedrive instance restart {}", patient.name);
        Some(warning(format!("{at} has schema {}; the next start brings it to {}", health.schema, health.known), restart))
    } else if health.wal_bytes > LARGE_WAL {
        let restart = format!("spacedrive instance restart {}", patient.name);
        Some(warning(format!("{at}: its journal has {} MB", health.wal_bytes >> 20), restart))
    } else {
        None
    }
}

pub(super) fn log(patient: &Patient) -> Said {
    let Some(data) = &patient.data else { return Said::new() };
    let path = data.log();
    let Ok(bytes) = fs::read(&path) else { return Said::new() };
    let text = String::from_utf8_lossy(&bytes);
    match text.lines().rfind(|line| line.contains(" panicked: ")) {
        None => ok(path.display().to_string()),
        Some(line) => {
            let mend = format!("report it, with: spacedrive instance logs {} --level error", patient.name);
            warning(format!("the daemon hit a fault of its own: {}", line.escape_debug()), mend)
        }
    }
}
