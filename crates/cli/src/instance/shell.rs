//! Instances in a shell: the environment, one command for several, the prompt.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};
use spacedrive_api::instance;
use spacedrive_api::{ApiError, ErrorKind, Result, WirePath, locate};

use super::{existing, existing_or_current, life};
use crate::session::{NameOrigin, Session};

/// The variables that make an instance the one that commands talk to.
const INSTANCE: &str = "SPACEDRIVE_INSTANCE";
const DATA_DIR: &str = "SPACEDRIVE_DATA_DIR";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// sh, bash, zsh and their kin
    Sh,
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eval \"$(spacedrive instance env alice)\"\n  eval \"$(spacedrive instance env --unset)\"\n  spacedrive instance env alice --shell fish | source"
)]
pub(crate) struct Env {
    /// Its name [default: the current instance]
    name: Option<String>,
    /// The shell to write for [default: that of $SHELL]
    #[arg(long)]
    shell: Option<Shell>,
    /// Write what takes it back
    #[arg(long, conflicts_with = "name")]
    unset: bool,
}

pub(crate) async fn env(session: &Session, args: &Env) -> Result<()> {
    let fish = match args.shell {
        Some(shell) => shell == Shell::Fish,
        None => std::env::var_os("SHELL").is_some_and(|shell| shell.as_bytes().ends_with(b"/fish")),
    };
    if args.unset {
        let nothing = serde_json::json!({ INSTANCE: null, DATA_DIR: null });
        session.output.result(&nothing, || match fish {
            true => format!("set -e {INSTANCE}; set -e {DATA_DIR}"),
            false => format!("unset {INSTANCE} {DATA_DIR}"),
        });
        return Ok(());
    }
    let session = existing_or_current(session, args.name.as_deref(), "env")?;
    let root = data_root(&session).await?;
    let value = serde_json::json!({ INSTANCE: session.name, DATA_DIR: WirePath(root.clone()) });
    session.output.result(&value, || {
        let quoted = root.to_string_lossy();
        if fish {
            let quoted = quoted.replace('\\', "\\\\").replace('\'', "\\'");
            format!("set -gx {INSTANCE} '{}'\nset -gx {DATA_DIR} '{quoted}'", session.name)
        } else {
            let quoted = quoted.replace('\'', "'\\''");
            format!("export {INSTANCE}='{}'\nexport {DATA_DIR}='{quoted}'", session.name)
        }
    });
    Ok(())
}

async fn data_root(session: &Session) -> Result<PathBuf> {
    Ok(instance::data_root(&life::data_dir(session).await?, &session.name))
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  spacedrive instance exec alice bob -- spacedrive library list\n  spacedrive instance exec --all -- sh -c 'echo $SPACEDRIVE_INSTANCE'"
)]
pub(crate) struct Exec {
    /// Their names
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// Every instance of this user
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// The command and its arguments; it finds the instance in its environment
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

/// Runs the command for each instance in turn. Its exit code is the command's own when it runs once, else 10 when
/// only some succeeded.
pub(crate) async fn exec(session: &Session, args: &Exec) -> Result<ExitCode> {
    let sessions = life::sessions(session, &args.names, args.all, "exec")?;
    let mut targets = Vec::new();
    for (one, data_dir) in sessions {
        let root = match data_dir {
            Some(data_dir) => instance::data_root(&data_dir.path, &one.name),
            None => data_root(&existing(session, one.name.as_str(), "exec")?).await?,
        };
        targets.push((one.name, root));
    }
    let [program, arguments @ ..] = args.command.as_slice() else { return Err(ApiError::invalid("there is no command")) };
    // The command that is running is the one that is meant, wherever PATH leads.
    let program = if program == "spacedrive" {
        std::env::current_exe().map_or_else(|_| program.into(), PathBuf::from)
    } else {
        program.into()
    };
    let several = targets.len() > 1;
    let (mut failed, mut last) = (Vec::new(), ExitCode::SUCCESS);
    for (name, root) in &targets {
        if several {
            session.output.note(format!("==> {name} <=="));
        }
        let mut command = Command::new(&program);
        command.args(arguments).env(INSTANCE, name.as_str()).env(DATA_DIR, root);
        let status = command.status().map_err(|e| ApiError::io(program.display(), &e))?;
        if !status.success() {
            use std::os::unix::process::ExitStatusExt;
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            failed.push(format!("{name} ({code})"));
            last = ExitCode::from(u8::try_from(code).unwrap_or(1));
        }
    }
    if several && !failed.is_empty() {
        let kind = if failed.len() == targets.len() { ErrorKind::Failed } else { ErrorKind::Partial };
        return Err(ApiError::new(kind, format!("the command failed for {}", failed.join(", "))));
    }
    Ok(last)
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  spacedrive instance url alice\n  curl --unix-socket \"$(spacedrive instance url alice | cut -c8-)\" http://localhost/v1/status"
)]
pub(crate) struct Url {
    /// Its name [default: the current instance]
    name: Option<String>,
}

pub(crate) fn url(session: &Session, args: &Url) -> Result<()> {
    let session = existing_or_current(session, args.name.as_deref(), "url")?;
    let sockets = locate::sockets(&session.places, &session.name)?;
    let socket = sockets.iter().find(|socket| socket.exists()).unwrap_or(&sockets[0]);
    let url = format!("unix://{}", socket.display());
    let value = serde_json::json!({ "name": session.name, "url": url, "socket": WirePath(socket.clone()) });
    session.output.result(&value, || url);
    Ok(())
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  PS1='$(spacedrive instance prompt) \\w \\$ '\n  spacedrive instance prompt --always")]
pub(crate) struct Prompt {
    /// Print the default instance's name too
    #[arg(long)]
    always: bool,
}

/// Looks at locks only; a shell calls this before each prompt. An instance that does not run has a `!` after its name.
pub(crate) fn prompt(session: &Session, args: &Prompt) -> Result<()> {
    if session.name_origin == NameOrigin::Default && !args.always {
        return Ok(());
    }
    let running = locate::is_alive(&session.places, &session.name);
    let value = serde_json::json!({ "name": session.name, "running": running });
    session.output.result(&value, || format!("{}{}", session.name, if running { "" } else { "!" }));
    Ok(())
}
