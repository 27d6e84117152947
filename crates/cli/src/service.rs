//! `service`: instances under systemd's user manager, by one template unit and a drop-in an instance.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use clap::{Args, Subcommand};
use serde::Serialize;
use spacedrive_api::instance::{self, InstanceName};
use spacedrive_api::{ApiError, Result, WirePath, locate, record};

use crate::output::printable;
use crate::session::Session;

/// The template: `spacedrive@alice.service` is instance `alice`.
const TEMPLATE: &str = "spacedrive@.service";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let systemd start an instance at login and keep it running
    Install(Install),
    /// Take an instance from systemd again; its data stay
    #[command(after_help = "Examples:\n  spacedrive service uninstall\n  spacedrive service uninstall alice")]
    Uninstall {
        /// Its name [default: the current instance]
        name: Option<String>,
    },
    /// Tell how an instance stands with systemd
    #[command(after_help = "Examples:\n  spacedrive service status\n  spacedrive service status alice --json")]
    Status {
        /// Its name [default: the current instance]
        name: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  spacedrive service install\n  spacedrive service install alice --now\n  spacedrive service install alice --password-file ~/.config/spacedrive/alice.password"
)]
pub(crate) struct Install {
    /// Its name [default: the current instance]
    name: Option<String>,
    /// Start it at once
    #[arg(long)]
    now: bool,
    /// Unlock the device's identity with the password in this file, handed over as a systemd credential
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// How an instance stands with systemd.
#[derive(Serialize)]
struct Status {
    name: InstanceName,
    unit: String,
    installed: bool,
    /// What `systemctl is-enabled` says; nothing when there is no systemd to ask.
    enabled: Option<String>,
    /// What `systemctl is-active` says.
    active: Option<String>,
    file: WirePath,
}

pub(crate) fn run(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::Install(args) => install(session, &args),
        Command::Uninstall { name } => uninstall(session, name.as_deref()),
        Command::Status { name } => {
            let units = Units::of(session, name.as_deref())?;
            let status = units.status();
            let installed = status.installed;
            session.output.result(&status, || units.text(&status));
            if installed { Ok(()) } else { Err(units.not_installed()) }
        }
    }
}

/// The units of one instance.
struct Units {
    session: Session,
    /// `~/.config/systemd/user`.
    dir: PathBuf,
    unit: String,
}

impl Units {
    fn of(session: &Session, name: Option<&str>) -> Result<Self> {
        let session = match name {
            Some(name) => session.for_instance(name.parse()?),
            None => session.for_instance(session.name.clone()),
        };
        let unit = format!("spacedrive@{}.service", session.name);
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
        let config = config.ok_or_else(|| ApiError::invalid("there is no home folder for the unit").hint("set HOME"))?;
        Ok(Self { session, dir: config.join("systemd/user"), unit })
    }

    fn template(&self) -> PathBuf {
        self.dir.join(TEMPLATE)
    }

    /// What is this instance's own: where its data are, and its password.
    fn drop_in(&self) -> PathBuf {
        self.dir.join(format!("{}.d/instance.conf", self.unit))
    }

    fn status(&self) -> Status {
        let ask = |verb: &str| systemctl(&[verb, &self.unit]).ok().map(|answer| answer.text);
        Status {
            name: self.session.name.clone(),
            unit: self.unit.clone(),
            installed: self.drop_in().exists() && self.template().exists(),
            enabled: ask("is-enabled"),
            active: ask("is-active"),
            file: WirePath(self.template()),
        }
    }

    fn text(&self, status: &Status) -> String {
        let word = |answer: &Option<String>| answer.clone().unwrap_or_else(|| "unknown: no systemd answers".to_owned());
        let installed = if status.installed { "installed" } else { "not installed" };
        format!(
            "Unit: {} ({installed})\nEnabled: {}\nActive: {}\nFile: {}",
            self.unit,
            word(&status.enabled),
            word(&status.active),
            printable(&status.file.to_string_lossy())
        )
    }

    fn not_installed(&self) -> ApiError {
        ApiError::not_found(format!("instance `{}` is not installed as a service", self.session.name))
            .hint(format!("spacedrive service install {}", self.session.name))
    }
}

fn install(session: &Session, args: &Install) -> Result<()> {
    let mut units = Units::of(session, args.name.as_deref())?;
    units.session.data_dir.clone_from(&session.data_dir);
    let of = &units.session;
    if !locate::was_started(&of.places, &of.name) && session.data_dir.is_none() {
        return Err(locate::no_such_instance(&of.places, &of.name));
    }
    let data_dir = locate::data_dir_of(&of.places, &of.name, of.data_dir.as_deref())?;
    let password = args.password_file.as_ref().map(|file| of.places.current.join(file));
    if let Some(file) = password.as_ref().filter(|file| !file.is_file()) {
        return Err(ApiError::not_found(format!("password file {}: there is no such file", file.display())));
    }
    let program = std::env::current_exe().map_err(|e| ApiError::io("this program", &e))?;
    let write =
        |path: &Path, text: String| record::replace_file(path, text.as_bytes()).map_err(|e| ApiError::io(path.display(), &e));
    write(&units.template(), template(&program)?)?;
    let root = instance::data_root(&data_dir, &of.name);
    write(&units.drop_in(), drop_in(&program, &root, password.as_deref())?)?;

    let mut enable = vec!["enable", units.unit.as_str()];
    if args.now {
        enable.insert(1, "--now");
    }
    let failed = [&["daemon-reload"][..], &enable].into_iter().find_map(|arguments| {
        let why = match systemctl(arguments) {
            Ok(answer) if answer.success => return None,
            Ok(answer) => answer.text,
            Err(error) => error.message,
        };
        Some((arguments.join(" "), why))
    });
    let status = units.status();
    session.output.result(&status, || format!("Installed {} ({})", units.unit, printable(&status.file.to_string_lossy())));
    if let Some((command, why)) = failed {
        let next = format!("systemctl --user daemon-reload && systemctl --user {}", enable.join(" "));
        return Err(
            ApiError::unreachable(format!("the unit is written, but `systemctl --user {command}` failed: {why}")).hint(next)
        );
    }
    session.output.note("To keep it running while you are not logged in: loginctl enable-linger");
    Ok(())
}

fn uninstall(session: &Session, name: Option<&str>) -> Result<()> {
    let units = Units::of(session, name)?;
    if !units.drop_in().exists() {
        return Err(units.not_installed());
    }
    // Without a systemd there is nothing to stop either.
    let _ = systemctl(&["disable", "--now", &units.unit]);
    let folder = units.drop_in().with_file_name("");
    fs::remove_dir_all(&folder).map_err(|e| ApiError::io(folder.display(), &e))?;
    let is_ours = |name: &str| name.starts_with("spacedrive@") && name.ends_with(".service.d");
    let others = fs::read_dir(&units.dir).map_err(|e| ApiError::io(units.dir.display(), &e))?;
    let others = others.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_ours));
    if !others {
        let template = units.template();
        fs::remove_file(&template).map_err(|e| ApiError::io(template.display(), &e))?;
    }
    let _ = systemctl(&["daemon-reload"]);
    let status = units.status();
    session.output.result(&status, || format!("Uninstalled {}; the data of the instance stay", units.unit));
    Ok(())
}

/// The unit of any instance; the Debian package has the same one, for its own program.
fn template(program: &Path) -> Result<String> {
    let unit = include_str!("spacedrive@.service").replace("@PROGRAM@", &command(program)?);
    Ok(format!("# Written by `spacedrive service install`.\n{unit}"))
}

/// What is one instance's own.
fn drop_in(program: &Path, root: &Path, password: Option<&Path>) -> Result<String> {
    let mut assignment = std::ffi::OsString::from("SPACEDRIVE_DATA_DIR=");
    assignment.push(root);
    let mut text =
        format!("# Written by `spacedrive service install`.\n[Service]\nEnvironment={}\n", quoted(Path::new(&assignment))?);
    if let Some(file) = password {
        let mut credential = std::ffi::OsString::from("password:");
        credential.push(file);
        text.push_str(&format!(
            "LoadCredential={}\nExecStartPost={} --instance %i network init --password-file %d/password\n",
            quoted(Path::new(&credential))?,
            command(program)?
        ));
    }
    Ok(text)
}

/// A path as one word of a unit file.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(|| {
        ApiError::invalid(format!(
            "{}: a unit file cannot name this path",
            printable(&String::from_utf8_lossy(path.as_os_str().as_bytes()))
        ))
    })?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")))
}

/// The same for a command line, in which systemd puts variables in.
fn command(program: &Path) -> Result<String> {
    quoted(program).map(|text| text.replace('$', "$$"))
}

/// What systemd answered.
struct Answer {
    success: bool,
    text: String,
}

/// Asks the user's systemd.
fn systemctl(arguments: &[&str]) -> Result<Answer> {
    let output = Process::new("systemctl").arg("--user").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| ApiError::io("systemctl", &e))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_owned();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    // `is-active` fails with a word on stdout; without one nobody answered.
    if said.is_empty() && !output.status.success() && arguments.first().is_some_and(|verb| verb.starts_with("is-")) {
        return Err(ApiError::unreachable(complained));
    }
    Ok(Answer { success: output.status.success(), text: if said.is_empty() { complained } else { said } })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted(Path::new("/a b/100%/\"q\"/$HOME/\\")).unwrap(), r#""/a b/100%%/\"q\"/$HOME/\\""#);
        assert!(quoted(Path::new("/a\nExecStart=/bin/evil")).is_err());
    }
}
