//! What every command works with: which instance, which folders, where to print.

use std::path::PathBuf;

use serde::Serialize;
use spacedrive_api::instance::{InstanceName, Places};
use spacedrive_api::{ApiError, Result};

use crate::args::Global;
use crate::output::Output;

/// Why a command talks to the instance that it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NameOrigin {
    Flag,
    Environment,
    Default,
}

/// One run of the command line.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) name: InstanceName,
    pub(crate) name_origin: NameOrigin,
    pub(crate) places: Places,
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) verbose: u8,
    /// `--color`, if it says more than `auto`.
    pub(crate) color: Option<&'static str>,
    pub(crate) output: Output,
}

impl Session {
    /// Reads flags and environment; an empty `SPACEDRIVE_INSTANCE` counts as unset.
    pub(crate) fn new(global: &Global, output: Output) -> Result<Self> {
        if let Some(protocol) = std::env::var("SPACEDRIVE_PROTOCOL").ok().and_then(|p| p.parse().ok()) {
            spacedrive_api::override_protocol(protocol);
        }
        let places = Places::from_env()?;
        let (name, name_origin) = match (global.instance.first(), &places.instance) {
            (Some(name), _) => (name.parse()?, NameOrigin::Flag),
            (None, Some(name)) => (name.parse()?, NameOrigin::Environment),
            (None, None) => (InstanceName::DEFAULT, NameOrigin::Default),
        };
        Ok(Self {
            name,
            name_origin,
            places,
            data_dir: global.data_dir.clone(),
            verbose: global.verbose,
            color: global.color.word(),
            output,
        })
    }

    /// The same session for another instance.
    pub(crate) fn for_instance(&self, name: InstanceName) -> Self {
        Self {
            name,
            name_origin: NameOrigin::Flag,
            places: self.places.clone(),
            data_dir: self.data_dir.clone(),
            verbose: self.verbose,
            color: self.color,
            output: self.output.clone(),
        }
    }

    /// The failpoint that a test asks for; see `docs/testing.md`.
    pub(crate) fn failpoint(&self) -> Option<String> {
        std::env::var("SPACEDRIVE_FAIL").ok().filter(|spec| !spec.is_empty())
    }

    /// A command line for this instance, to show in a hint.
    pub(crate) fn command(&self, rest: &str) -> String {
        if self.name.is_default() { format!("spacedrive {rest}") } else { format!("spacedrive --instance {} {rest}", self.name) }
    }

    /// An error of the daemon, which does not know how this command came to it: its hints name the instance.
    pub(crate) fn for_this_instance(&self, mut error: ApiError) -> ApiError {
        if let Some(hint) = error.hint.as_mut().filter(|_| !self.name.is_default())
            && !hint.contains("--instance")
            && let Some(rest) = hint.strip_prefix("spacedrive ")
        {
            *hint = self.command(rest);
        }
        error
    }

    /// The error of a command that needs a daemon where there is none.
    pub(crate) fn not_running(&self) -> ApiError {
        ApiError::not_running(format!("instance `{}` is not running", self.name)).hint(self.command("start"))
    }
}

/// Runs a client's future on a runtime of one thread.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| ApiError::io("cannot start", &e))?;
    let value = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(value)
}
