//! The arguments. The doc comment of an argument is its help text.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use spacedrive_api::ApiError;

use crate::output::Output;
use crate::{
    completions, config, demo, duplicates, examples, file, index, instance, job, lab, library, location, man, monitor, network,
    search, serve, service, start, stop,
};

/// Index files into libraries, find them, and move them between your devices, with any number of instances side by side.
#[derive(Debug, Parser)]
#[command(name = "spacedrive", version, propagate_version = true, max_term_width = 100, subcommand_required = true)]
#[command(arg_required_else_help = true, infer_long_args = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes, before it or after it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The instance to talk to [env: SPACEDRIVE_INSTANCE] [default: default]
    // Append, so that the same name twice is no error; different names are refused in `parse`.
    #[arg(long, global = true, value_name = "NAME", action = clap::ArgAction::Append, allow_hyphen_values = true)]
    pub(crate) instance: Vec<String>,
    /// The data root; an instance lives in DIR or DIR/instance-NAME [env: SPACEDRIVE_DATA_DIR]
    #[arg(short, long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Log more (a tracing filter in SPACEDRIVE_LOG says exactly what)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print JSON on stdout: one document, or one a line for streams
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only what was asked for, no notes
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// What was asked for, if anything was.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Always => Some("always"),
            Self::Never => Some("never"),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the instance's daemon
    Start(start::Arguments),
    /// Stop the instance's daemon
    Stop(stop::Arguments),
    /// Tell whether the daemon runs (exit 3 if it does not)
    Daemon,
    /// Show the daemon, its libraries, locations, jobs and devices
    Status,
    /// Watch an instance, or all of them, live on the whole screen
    Monitor(monitor::Arguments),
    /// Manage the instances on this machine
    #[command(subcommand)]
    Instance(instance::Command),
    /// Manage the libraries of the instance
    #[command(subcommand)]
    Library(library::Command),
    /// This device's identity, its paired devices, and pairing
    #[command(subcommand)]
    Network(network::Command),
    /// Manage the folders that the current library indexes
    #[command(subcommand)]
    Location(location::Command),
    /// Index again, or look at folders without indexing them
    #[command(subcommand)]
    Index(index::Command),
    /// Index a path now
    Scan(index::Scan),
    /// Manage background jobs
    #[command(subcommand)]
    Job(job::Command),
    /// Find files and folders by name
    Search(search::Arguments),
    /// Find files with equal content
    Duplicates(duplicates::Arguments),
    /// Copy files and folders
    Copy(file::TransferArguments),
    /// Move files and folders
    Move(file::TransferArguments),
    /// Delete files and folders: to the trash, unless --permanent
    Delete(file::DeleteArguments),
    /// Undo the last copy, move or deletion
    Undo,
    /// Show what this does, in a temporary folder
    Demo(demo::Arguments),
    /// Show and change settings
    #[command(subcommand)]
    Config(config::Command),
    /// Run instances under systemd
    #[command(subcommand)]
    Service(service::Command),
    /// Print the script that makes a shell complete commands, names and paths
    Completions(completions::Arguments),
    /// Show or write the manual pages
    Man(man::Arguments),
    /// The daemon itself, as `start` runs it
    #[command(hide = true)]
    Serve(serve::Arguments),
    /// The keeper of a lab, as `instance run` starts it
    #[command(hide = true)]
    Lab(lab::KeeperArgs),
}

/// Parses the command line. What is wrong with it is printed here, with the exit code 2; help and the version with 0.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let output = |global: &Global| Output::new(global);
    let raw: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let cli = try_parse(&raw).map_err(|error| {
        use clap::error::ErrorKind as Clap;
        let help =
            matches!(error.kind(), Clap::DisplayHelp | Clap::DisplayVersion | Clap::DisplayHelpOnMissingArgumentOrSubcommand);
        let json = raw.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
        if help || !json {
            return Output::clap(&error);
        }
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        output(&Global { json, ..Global::default() }).error(&ApiError::invalid(message).hint("spacedrive --help"))
    })?;
    let mut names = instance_flags(&raw);
    names.sort_unstable();
    names.dedup();
    if names.len() > 1 {
        let message = format!("`--instance` is given twice, with different names: {}", names.join(", ").escape_debug());
        return Err(output(&cli.global).error(&ApiError::invalid(message)));
    }
    Ok(cli)
}

/// Examples are in the help only, so they are added only when it is asked for.
fn try_parse(raw: &[String]) -> Result<Cli, clap::Error> {
    let asks = |arg: &String| matches!(arg.as_str(), "--help" | "-h" | "help");
    let program = if raw.len() < 2 || raw.iter().any(asks) { examples::add(Cli::command()) } else { Cli::command() };
    let matches = program.try_get_matches()?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut Cli::command()))
}

/// Every value of `--instance` on the command line. Clap itself keeps only the ones at one level of subcommands.
fn instance_flags(raw: &[String]) -> Vec<&str> {
    let mut values = Vec::new();
    let mut arguments = raw.iter().skip(1).take_while(|arg| *arg != "--");
    while let Some(argument) = arguments.next() {
        if let Some(value) = argument.strip_prefix("--instance=") {
            values.push(value);
        } else if argument == "--instance" {
            values.extend(arguments.next().map(String::as_str));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_instance_flag_is_seen_at_every_level() {
        let raw: Vec<String> =
            ["spacedrive", "--instance", "a", "start", "--instance=b", "--", "--instance", "c"].map(Into::into).into();
        assert_eq!(super::instance_flags(&raw), ["a", "b"]);
    }
}
