//! `completions SHELL`, and what it makes the shell ask: the words that fit, with live values. Never slower than
//! [`PATIENCE`], never an error.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use spacedrive_api::client::Client;
use spacedrive_api::instance::InstanceName;
use spacedrive_api::{ApiError, DeviceList, JobList, LibraryList, LibraryTrash, LocationList, PairList, Request, Result, locate};

use crate::args::{Cli, Global};
use crate::cli_state::CliState;
use crate::output::Output;
use crate::session::{Session, block_on};

/// The variable by which a shell asks for words; its value is the shell's name.
const VARIABLE: &str = "SPACEDRIVE_COMPLETE";

/// How long a shell may have to wait for words.
const PATIENCE: Duration = Duration::from_millis(180);

/// How long a daemon may take to answer a question for words.
const ANSWER: Duration = Duration::from_millis(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  source <(spacedrive completions bash)\n  spacedrive completions bash > ~/.local/share/bash-completion/completions/spacedrive\n  spacedrive completions zsh > ~/.zfunc/_spacedrive\n  spacedrive completions fish > ~/.config/fish/completions/spacedrive.fish"
)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script that a shell loads; from then on the shell asks this program for words.
pub(crate) fn completions(session: &Session, args: &Arguments) -> Result<()> {
    let name = match args.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let shells = Shells::builtins();
    let shell = shells.completer(name).ok_or_else(|| ApiError::invalid(format!("no completions for {name}")))?;
    let mut script = Vec::new();
    let written = shell.write_registration(VARIABLE, "spacedrive", "spacedrive", "spacedrive", &mut script);
    written.map_err(|e| ApiError::io("the script", &e))?;
    session.output.line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

/// When a shell asks for words, answers it; `None` for an ordinary run.
pub(crate) fn answer() -> Option<ExitCode> {
    std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty() && shell != "0")?;
    // Whatever happens, a shell's line is no place for an error.
    std::panic::set_hook(Box::new(|_| {}));
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let current = std::env::current_dir().ok();
        let env = CompleteEnv::with_factory(|| live(Cli::command(), &mut Vec::new())).var(VARIABLE).completer("spacedrive");
        let _ = env.try_complete(std::env::args_os(), current.as_deref());
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(PATIENCE);
    Some(ExitCode::SUCCESS)
}

/// Gives every argument that names something its live values.
fn live(command: Command, path: &mut Vec<String>) -> Command {
    let command = command.mut_args(|arg| match values(path, arg.get_id().as_str()) {
        Some(values) => arg.add(ArgValueCandidates::new(move || candidates(values()))),
        None => arg,
    });
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(&name, |subcommand| {
            path.push(name.clone());
            let subcommand = live(subcommand, path);
            path.pop();
            subcommand
        })
    })
}

/// Where the values of an argument come from, by the command that it belongs to and its name.
fn values(path: &[String], argument: &str) -> Option<fn() -> Vec<String>> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (path.as_slice(), argument) {
        (_, "instance") => Some(instances),
        (["instance", "restore"], "name") => Some(removed_instances),
        (["instance", "create"], _) => None,
        (["instance", _] | ["service", _], "name" | "names" | "old" | "source") => Some(instances),
        (["network", ..], "device") => Some(devices),
        (["network", "pair", "accept" | "reject"], "id") => Some(pending_pairings),
        (["library", "restore"], "name") => Some(deleted_libraries),
        (["library", _], "library") => Some(libraries),
        (["location", _] | ["index", "location"], "location") => Some(locations),
        (["job", _], "job" | "job_id") => Some(jobs),
        _ => None,
    }
}

fn candidates(mut values: Vec<String>) -> Vec<CompletionCandidate> {
    // What would act on the terminal or break the line is not offered.
    values.retain(|value| !value.chars().any(char::is_control));
    // bash takes a candidate as it stands; the other shells quote it themselves.
    if std::env::var_os("_CLAP_COMPLETE_COMP_TYPE").is_some() {
        values.iter_mut().for_each(|value| *value = escaped(value));
    }
    values.into_iter().map(CompletionCandidate::new).collect()
}

/// A word for bash, with a backslash before everything that it would take apart.
fn escaped(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '%' | '+' | ',');
    word.chars().flat_map(|c| (!is_plain(c)).then_some('\\').into_iter().chain([c])).collect()
}

fn instances() -> Vec<String> {
    let Some(session) = session() else { return Vec::new() };
    locate::known(&session.places).into_keys().map(|name| name.to_string()).collect()
}

fn removed_instances() -> Vec<String> {
    session().map_or_else(Vec::new, |session| crate::instance::removed_names(&session))
}

fn libraries() -> Vec<String> {
    ask(LibraryList {}).map_or_else(Vec::new, |all| all.into_iter().map(|library| library.name).collect())
}

fn deleted_libraries() -> Vec<String> {
    ask(LibraryTrash {}).map_or_else(Vec::new, |all| all.into_iter().map(|library| library.name).collect())
}

/// The names of the current library's locations; a path completes as a path does.
fn locations() -> Vec<String> {
    let all = current_library().and_then(|library| ask(LocationList { library }));
    all.map_or_else(Vec::new, |all| all.into_iter().map(|location| location.name).collect())
}

/// The jobs of the current library and of none that have not ended.
fn jobs() -> Vec<String> {
    let all = ask(JobList { library: current_library(), status: None });
    let waiting = all.into_iter().flatten().filter(|job| !job.status.ended());
    // Whole: ids begin with the time, so the jobs of one minute share their first characters.
    waiting.map(|job| job.id.to_string()).collect()
}

fn current_library() -> Option<String> {
    let session = session()?;
    let dir = locate::data_dir_of(&session.places, &session.name, session.data_dir.as_deref()).ok()?;
    CliState::read(&session, &dir).current_library.map(|id| id.to_string())
}

fn devices() -> Vec<String> {
    ask(DeviceList {}).map_or_else(Vec::new, |all| all.into_iter().map(|device| device.name).collect())
}

fn pending_pairings() -> Vec<String> {
    ask(PairList { pending: true }).map_or_else(Vec::new, |all| all.into_iter().map(|session| session.id.to_string()).collect())
}

/// The session of the command line that is being written.
fn session() -> Option<Session> {
    let global = Global { instance: instance_in(std::env::args_os()).into_iter().collect(), ..Global::default() };
    let output = Output::new(&Global { quiet: true, ..Global::default() });
    Session::new(&global, output).ok()
}

/// The instance that the words of an unfinished command line name.
fn instance_in(words: impl Iterator<Item = OsString>) -> Option<String> {
    let words: Vec<OsString> = words.skip_while(|word| word != OsStr::new("--")).skip(1).collect();
    let valid = |name: &str| name.parse::<InstanceName>().is_ok().then(|| name.to_owned());
    let pairs = words.windows(2).filter(|pair| pair[0] == "--instance").filter_map(|pair| valid(pair[1].to_str()?));
    let joined = words.iter().filter_map(|word| valid(word.to_str()?.strip_prefix("--instance=")?));
    pairs.chain(joined).next()
}

/// Asks the instance's daemon, if it runs and answers at once.
fn ask<R: Request>(request: R) -> Option<R::Reply> {
    let session = session()?;
    let sockets = locate::sockets(&session.places, &session.name).ok()?;
    let asked = async move {
        for socket in sockets {
            if let Ok(mut client) = Client::connect(&socket).await {
                return client.call(request).await.ok();
            }
        }
        None
    };
    block_on(async { tokio::time::timeout(ANSWER, asked).await }).ok()?.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_is_taken_from_the_words_so_far() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>().into_iter();
        assert_eq!(instance_in(words("spacedrive -- spacedrive --instance alice library switch")).as_deref(), Some("alice"));
        assert_eq!(instance_in(words("spacedrive -- spacedrive library switch --instance=bob")).as_deref(), Some("bob"));
        assert_eq!(instance_in(words("spacedrive -- spacedrive --instance ../x library")), None);
        assert_eq!(instance_in(words("spacedrive --instance alice")), None);
    }

    #[test]
    fn what_bash_would_take_apart_is_escaped() {
        assert_eq!(escaped("Bob's Library"), "Bob\\'s\\ Library");
        assert_eq!(escaped("Fotos-2024_ü"), "Fotos-2024_ü");
        assert_eq!(escaped("$(rm)"), "\\$\\(rm\\)");
    }

    #[test]
    fn giving_live_values_keeps_the_arguments_consistent() {
        live(Cli::command(), &mut Vec::new()).debug_assert();
    }
}
