//! Where a password or a pairing code comes from: an argument, stdin, a file, the environment, or a person at a terminal.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use spacedrive_api::{ApiError, Result, Secret};
use zeroize::Zeroizing;

use crate::session::Session;

/// The longest secret that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// The length from which a password is not called short.
const SHORT: usize = 8;

/// The ways to give the password.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// The password; other users of this machine can see it in the process list
    #[arg(short, long, value_name = "PW", group = "password_source")]
    password: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long, group = "password_source")]
    password_stdin: bool,
    /// Read the password from the first line of a file
    #[arg(long, value_name = "FILE", group = "password_source")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// The password, from the first source that has one: the arguments, `SPACEDRIVE_PASSWORD`,
    /// `$CREDENTIALS_DIRECTORY/spacedrive-password`, a prompt. `None` when there is no source at all.
    pub(crate) fn read(self, session: &Session, prompt: &str, twice: bool) -> Result<Option<Secret>> {
        if let Some(password) = self.password {
            session.output.warning("--password shows the password to every user of this machine; --password-stdin does not");
            return checked(session, Zeroizing::new(password), twice).map(Some);
        }
        if self.password_stdin {
            return checked(session, first_line(std::io::stdin().lock(), "stdin")?, twice).map(Some);
        }
        if let Some(path) = self.password_file {
            return checked(session, from_file(&path)?, twice).map(Some);
        }
        if let Some(password) = from_environment("SPACEDRIVE_PASSWORD")? {
            return checked(session, password, twice).map(Some);
        }
        if let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") {
            let path = Path::new(&dir).join("spacedrive-password");
            if path.exists() {
                return checked(session, from_file(&path)?, twice).map(Some);
            }
        }
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let password = ask(prompt)?;
        if twice && *ask("The same again: ")? != *password {
            return Err(ApiError::invalid("the two passwords differ"));
        }
        checked(session, password, twice).map(Some)
    }
}

/// The error of a command that was given no password.
pub(crate) fn missing() -> ApiError {
    ApiError::invalid("no password was given, and there is no terminal to ask on")
        .hint("--password-stdin, --password-file FILE, or the variable SPACEDRIVE_PASSWORD")
}

/// Asks for a secret without showing it.
pub(crate) fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|e| ApiError::io("the terminal", &e))
}

/// The value of a variable that holds a secret; an empty one counts as unset.
pub(crate) fn from_environment(name: &str) -> Result<Option<Zeroizing<String>>> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(Zeroizing::new(value))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(ApiError::invalid(format!("{name} is not UTF-8"))),
    }
}

/// The first line of a file.
pub(crate) fn from_file(path: &Path) -> Result<Zeroizing<String>> {
    let name = path.display().to_string();
    first_line(File::open(path).map_err(|e| ApiError::io(&name, &e))?, &name)
}

/// The first line of what `source` gives, without its end.
pub(crate) fn first_line(source: impl Read, name: &str) -> Result<Zeroizing<String>> {
    let mut text = all(source, name)?;
    let end = text.find('\n').unwrap_or(text.len());
    let line = Zeroizing::new(text[..end].trim_end_matches('\r').to_owned());
    text.clear();
    Ok(line)
}

/// All that `source` gives.
pub(crate) fn all(source: impl Read, name: &str) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    source.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| ApiError::io(name, &e))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ApiError::invalid(format!("{name}: it is not UTF-8")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn checked(session: &Session, password: Zeroizing<String>, new: bool) -> Result<Secret> {
    if new && !password.is_empty() && password.chars().count() < SHORT {
        session.output.warning(format!("the password is shorter than {SHORT} characters"));
    }
    Ok(Secret::from(password))
}
