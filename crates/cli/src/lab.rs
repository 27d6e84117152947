//! `instance run --ephemeral`: a throw-away lab for the time of one command.
//!
//! A process of its own, the keeper, starts the daemons and takes them down again. It lives as long as the
//! other end of its stdin is open, so whatever ends the command's process ends the lab, SIGKILL too.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use spacedrive_api::instance::InstanceName;
use spacedrive_api::{ApiError, Frame, Result};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::session::Session;

/// How many daemons a lab may have.
const MOST: usize = 50;

#[derive(Debug, Args)]
#[command(
    after_help = "Inside COMMAND, plain `spacedrive` talks to the first instance, and `spacedrive --instance NAME` to the others.\n\nExamples:\n  spacedrive instance run --ephemeral -- spacedrive daemon\n  spacedrive instance run --ephemeral --names alice,bob --paired -- spacedrive network devices"
)]
pub(crate) struct RunArgs {
    /// In a temporary folder, gone with the command
    #[arg(long, required = true)]
    ephemeral: bool,
    /// How many instances, named n1, n2, …
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, conflicts_with = "names")]
    count: usize,
    /// The names of the instances
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    names: Vec<InstanceName>,
    /// Pair every instance with every other one
    #[arg(long)]
    paired: bool,
    /// Keep the files when the command fails, and say where they are
    #[arg(long)]
    keep_on_failure: bool,
    /// The command to run
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct KeeperArgs {
    /// The instances
    #[arg(long, value_delimiter = ',')]
    names: Vec<InstanceName>,
    /// Pair them
    #[arg(long)]
    paired: bool,
}

/// What the keeper reports when the lab stands.
#[derive(Debug, Serialize, Deserialize)]
struct Stands {
    folder: PathBuf,
}

/// What the keeper is told.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// The command runs as this process; end it too when its parent is gone.
    Command(i32),
    /// The command ended; take the lab down.
    Done,
    /// The same, but leave the files.
    Keep,
    /// The parent is gone.
    Gone,
}

/// Runs a command in a lab; the exit code is the command's.
pub(crate) async fn run(session: &Session, args: RunArgs) -> Result<ExitCode> {
    let names = if args.names.is_empty() {
        if !(1..=MOST).contains(&args.count) {
            return Err(ApiError::invalid(format!("-n {}: a lab has 1 to {MOST} instances", args.count)));
        }
        (1..=args.count).map(|n| format!("n{n}").parse()).collect::<Result<Vec<InstanceName>>>()?
    } else {
        args.names
    };
    let mut keeper = Keeper::start(&names, args.paired)?;
    let folder = keeper.wait_until_it_stands()?;
    let result = command(&mut keeper, &folder, &names, &args.command).await;
    let failed = !result.as_ref().is_ok_and(ExitStatus::success);
    let keep = failed && args.keep_on_failure;
    keeper.end(if keep { "keep" } else { "done" })?;
    if keep {
        session
            .output
            .warning(format!("the command failed; the instances are stopped, and their files are in {}", folder.display()));
    }
    let status = result?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Runs the command until it ends. What asks this process to end is passed on to it.
async fn command(keeper: &mut Keeper, folder: &Path, names: &[InstanceName], words: &[OsString]) -> Result<ExitStatus> {
    let listen = |kind| signal(kind).map_err(|e| ApiError::io("cannot listen for signals", &e));
    // The terminal sends an interrupt to the command as well.
    let (mut term, mut hup, mut int) =
        (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?, listen(SignalKind::interrupt())?);
    let name = words[0].display().to_string();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    environment(&mut command, folder, names)?;
    let mut child =
        tokio::process::Command::from(command).spawn().map_err(|e| ApiError::io(format!("`{}`", name.escape_debug()), &e))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        keeper.say(&format!("command {}", pid.as_raw_nonzero()));
    }
    loop {
        let passed_on = tokio::select! {
            status = child.wait() => return status.map_err(|e| ApiError::io(name, &e)),
            _ = term.recv() => Some(Signal::TERM),
            _ = hup.recv() => Some(Signal::HUP),
            _ = int.recv() => None,
        };
        if let (Some(signal), Some(pid)) = (passed_on, pid) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// The environment in which `spacedrive` means the lab's instances.
fn environment(command: &mut Command, folder: &Path, names: &[InstanceName]) -> Result<()> {
    let mut path = folder.join("bin").into_os_string();
    if let Some(old) = std::env::var_os("PATH") {
        path.push(":");
        path.push(old);
    }
    let all: Vec<&str> = names.iter().map(InstanceName::as_str).collect();
    command
        .env("PATH", path)
        .env("XDG_RUNTIME_DIR", folder.join("run"))
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("SPACEDRIVE_DATA_DIR", folder.join("data"))
        .env("SPACEDRIVE_INSTANCE", all.first().copied().unwrap_or_default())
        .env("SPACEDRIVE_LAB", all.join(" "));
    Ok(())
}

/// The keeper, seen from the command's process.
struct Keeper {
    child: Child,
    words: Option<ChildStdin>,
}

impl Keeper {
    fn start(names: &[InstanceName], paired: bool) -> Result<Self> {
        let program = std::env::current_exe().map_err(|e| ApiError::io("this program", &e))?;
        close_fds::set_fds_cloexec(3, &[]);
        let names: Vec<&str> = names.iter().map(InstanceName::as_str).collect();
        let mut command = Command::new(program);
        command.arg("lab").arg("--names").arg(names.join(",")).stdin(Stdio::piped()).stdout(Stdio::piped());
        if paired {
            command.arg("--paired");
        }
        // A group of its own: what the terminal sends to the command does not reach it.
        let mut child = command.process_group(0).spawn().map_err(|e| ApiError::io("the lab cannot be started", &e))?;
        let words = child.stdin.take();
        Ok(Self { child, words })
    }

    fn wait_until_it_stands(&mut self) -> Result<PathBuf> {
        let mut line = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        match serde_json::from_str::<Frame<Stands>>(&line) {
            Ok(Frame::Reply(stands)) => Ok(stands.folder),
            Ok(Frame::Error(error)) => {
                let _ = self.child.wait();
                Err(error)
            }
            _ => Err(ApiError::failed("the lab ended before it stood")),
        }
    }

    fn say(&mut self, word: &str) {
        if let Some(words) = &mut self.words {
            let _ = writeln!(words, "{word}");
        }
    }

    /// Takes the lab down and waits until it is gone.
    fn end(mut self, word: &str) -> Result<()> {
        self.say(word);
        self.words = None;
        let status = self.child.wait().map_err(|e| ApiError::io("the lab", &e))?;
        if status.success() { Ok(()) } else { Err(ApiError::failed(format!("the lab could not be taken down ({status})"))) }
    }
}

/// The hidden command: the keeper.
pub(crate) fn keep(session: &Session, args: &KeeperArgs) -> Result<()> {
    let _ = rustix::process::setsid();
    let words = listen();
    let lab = Lab::new()?;
    let stands = lab.start(&args.names).and_then(|()| if args.paired { lab.pair(&args.names) } else { Ok(()) });
    let mut command = None;
    let mut keep = false;
    match &stands {
        Err(error) => session.output.document(&Frame::<Stands>::Error(error.clone())),
        Ok(()) => {
            session.output.document(&Frame::Reply(Stands { folder: lab.folder.path().to_owned() }));
            loop {
                match words.recv().unwrap_or(Word::Gone) {
                    // A handle, not a number: another process can get the number later.
                    Word::Command(pid) => command = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
                    Word::Done => break,
                    Word::Keep => {
                        keep = true;
                        break;
                    }
                    Word::Gone => {
                        if let Some(command) = &command {
                            let _ = pidfd_send_signal(command, Signal::TERM);
                        }
                        break;
                    }
                }
            }
        }
    }
    lab.take_down(keep)?;
    stands
}

/// What is said on stdin, or asked by a signal, as words.
fn listen() -> mpsc::Receiver<Word> {
    let (sender, words) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let word = match line.as_deref().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
                Ok(("command", pid)) => Word::Command(pid.parse().unwrap_or(0)),
                Ok(("done", _)) => Word::Done,
                Ok(("keep", _)) => Word::Keep,
                _ => break,
            };
            if sender.send(word).is_err() {
                return;
            }
        }
        let _ = sender.send(Word::Gone);
    });
    words
}

/// The lab, seen from its keeper.
struct Lab {
    folder: TempDir,
    program: PathBuf,
}

impl Lab {
    fn new() -> Result<Self> {
        let program = std::env::current_exe().map_err(|e| ApiError::io("this program", &e))?;
        let folder = TempDir::with_prefix("sd-lab-").map_err(|e| ApiError::io("a temporary folder", &e))?;
        for name in ["run", "state", "data", "bin"] {
            let dir = folder.path().join(name);
            std::fs::create_dir(&dir).map_err(|e| ApiError::io(dir.display(), &e))?;
        }
        let link = folder.path().join("bin/spacedrive");
        std::os::unix::fs::symlink(&program, &link).map_err(|e| ApiError::io(link.display(), &e))?;
        Ok(Self { folder, program })
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.program);
        environment(&mut command, self.folder.path(), &[])?;
        command.args(args).args(["--json", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Starts all instances at once.
    fn start(&self, names: &[InstanceName]) -> Result<()> {
        let mut starting = Vec::new();
        for name in names {
            let mut command = self.command(&["start", "--no-mdns", "--instance", name.as_str()])?;
            starting.push(command.spawn().map_err(|e| ApiError::io("this program", &e)));
        }
        let ended: Vec<Result<String>> = starting.into_iter().map(|child| finish(child?)).collect();
        ended.into_iter().try_for_each(|ended| ended.map(drop))
    }

    /// Pairs every instance with every other one. Their identities live as long as the lab, so they are not sealed.
    fn pair(&self, names: &[InstanceName]) -> Result<()> {
        for name in names {
            self.run(&["network", "init", "--no-password", "--instance", name.as_str()])?;
        }
        for (index, initiator) in names.iter().enumerate() {
            for joiner in &names[index + 1..] {
                let generated = self.run(&["network", "pair", "generate", "--auto-accept", "--instance", initiator.as_str()])?;
                let generated: spacedrive_api::PairGenerated = serde_json::from_str(&generated)
                    .map_err(|e| ApiError::failed(format!("the pairing code cannot be read: {e}")))?;
                let mut command = self.command(&["network", "pair", "join", "-", "--instance", joiner.as_str()])?;
                let mut child = command.stdin(Stdio::piped()).spawn().map_err(|e| ApiError::io("this program", &e))?;
                if let Some(mut stdin) = child.stdin.take() {
                    stdin.write_all(generated.code.expose().as_bytes()).map_err(|e| ApiError::io("this program", &e))?;
                }
                finish(child)?;
            }
        }
        Ok(())
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        finish(self.command(args)?.spawn().map_err(|e| ApiError::io("this program", &e))?)
    }

    /// Stops everything that runs in the lab and removes its files.
    fn take_down(self, keep: bool) -> Result<()> {
        let mut stopped = Ok(String::new());
        for _ in 0..3 {
            stopped = self.run(&["stop", "--all"]);
            if stopped.is_ok() {
                break;
            }
            self.kill_unresponsive();
            std::thread::sleep(Duration::from_millis(100));
        }
        if keep {
            let _ = self.folder.keep();
        } else {
            let path = self.folder.path().to_owned();
            self.folder.close().map_err(|e| ApiError::io(path.display(), &e))?;
        }
        stopped.map(drop)
    }

    /// Ends daemons that do not answer; the kernel says who listens on a socket of the lab.
    fn kill_unresponsive(&self) {
        let Ok(list) = self.run(&["instance", "list"]) else { return };
        let instances: Vec<spacedrive_api::InstanceInfo> = serde_json::from_str(&list).unwrap_or_default();
        for instance in instances.iter().filter(|i| i.status == spacedrive_api::InstanceStatus::Unresponsive) {
            let pid = instance.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
            if let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
    }
}

/// What a child of ours printed, or the error that it told.
fn finish(child: Child) -> Result<String> {
    let output = child.wait_with_output().map_err(|e| ApiError::io("this program", &e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    #[derive(Deserialize)]
    struct Failure {
        error: ApiError,
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let told = text.lines().rev().find_map(|line| serde_json::from_str::<Failure>(line).ok());
    Err(told.map_or_else(|| ApiError::failed(format!("a command of the lab failed ({}): {text}", output.status)), |f| f.error))
}
