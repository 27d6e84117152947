//! `demo`: shows what this does, on the real thing in a temporary folder.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use clap::Args;
use spacedrive_api::{ApiError, ErrorKind, Result};
use tempfile::TempDir;

use crate::output::Output;
use crate::session::Session;

#[derive(Debug, Args)]
pub(crate) struct Arguments {}

/// A stage: a folder of its own with runtime, state, home and data, in which this program is run.
struct Stage<'a> {
    folder: TempDir,
    program: PathBuf,
    output: &'a Output,
}

pub(crate) fn demo(session: &Session, _args: &Arguments) -> Result<()> {
    let stage = Stage::new(&session.output)?;
    let result = play(&stage);
    // Whatever happened, nothing is left behind.
    let stopped = stage.run("stop --all").map(drop);
    let folder = stage.folder.path().to_owned();
    let removed = stage.folder.close().map_err(|e| ApiError::io(folder.display(), &e));
    result.and(stopped).and(removed)?;
    session.output.line("\nDone: everything was as shown, and nothing is left behind.");
    Ok(())
}

fn play(stage: &Stage<'_>) -> Result<()> {
    stage.say("Two daemons side by side, each with its own socket, data and state");
    stage.run("start --instance alice")?;
    stage.run("start --instance bob")?;
    stage.run("instance list")?.contains("alice")?.contains("bob")?.contains("running")?;

    stage.say("Each has libraries that the other does not have");
    stage.run("--instance alice library create Photos")?;
    stage.run("--instance bob library create Music")?;
    stage.run("--instance alice library list")?.contains("Photos")?.lacks("Music")?;
    stage.run("--instance bob library list")?.contains("Music")?.lacks("Photos")?;

    stage.say("A code of twelve words, and the two know each other");
    stage.run("--instance alice network init --no-password")?;
    stage.run("--instance bob network init --no-password")?;
    let code = stage.run("--instance alice network pair generate --auto-accept")?.after("Pairing code: ")?;
    stage.run(&format!("--instance bob network pair join {code}"))?;
    stage.run("--instance alice network devices")?.contains("bob")?.contains("connected")?;
    stage.run("--instance bob network devices")?.contains("alice")?.contains("connected")?;

    stage.say("A folder is indexed and searched, and what changes in it is found at once");
    stage.write("docs/letters/to-ada.txt", "Dear Ada")?;
    stage.write("docs/photos/IMG_0001.jpg", "not really a photo")?;
    stage.write("docs/photos/copy of IMG_0001.jpg", "not really a photo")?;
    stage.run("--instance alice location add ../docs --wait")?.contains("3 files")?;
    stage.run("--instance alice search to-ada")?.contains("letters/to-ada.txt")?;
    stage.run("--instance alice duplicates")?.contains("copy of IMG_0001.jpg")?;
    stage.write("docs/letters/reply.txt", "Dear friend")?;
    stage.run_until("--instance alice search reply", "letters/reply.txt")?;
    stage.run("--instance bob search to-ada")?.lacks("to-ada.txt")?;

    stage.say("A file goes to the other device, and arrives as it was");
    stage.run("--instance bob network trust alice --drops accept")?;
    stage.run("--instance alice network spacedrop bob ../docs/letters/to-ada.txt --wait")?;
    stage.same("docs/letters/to-ada.txt", "work/data/sd-cli-data/instance-bob/inbox/to-ada.txt")?;

    stage.say("Stopping one leaves the other alone");
    stage.run("instance stop alice")?;
    stage.run("--instance bob daemon")?.contains("running")?;
    stage.run("--instance bob network devices")?.contains("alice")?.contains("offline")?;
    stage.run("instance list")?.contains("stopped")?.contains("running")?;
    stage.run("instance stop bob")?;
    stage.nothing_in_runtime_dir()
}

impl<'a> Stage<'a> {
    fn new(output: &'a Output) -> Result<Self> {
        let program = std::env::current_exe().map_err(|e| ApiError::io("this program", &e))?;
        let folder = TempDir::with_prefix("spacedrive-demo-").map_err(|e| ApiError::io("a temporary folder", &e))?;
        for name in ["run", "state", "home", "work"] {
            let dir = folder.path().join(name);
            std::fs::create_dir(&dir).map_err(|e| ApiError::io(dir.display(), &e))?;
        }
        Ok(Self { folder, program, output })
    }

    fn say(&self, text: &str) {
        self.output.line(format!("\n# {text}"));
    }

    /// Writes a file below the stage's folder.
    fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|e| ApiError::io(path.display(), &e))?;
        self.output.line(format!("$ echo '{content}' > '{name}'"));
        Ok(())
    }

    /// Runs a command again and again, at most ten seconds long, until it prints `word`.
    fn run_until(&self, line: &str, word: &str) -> Result<()> {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !self.execute(line)?.0.text.contains(word) && std::time::Instant::now() < until {
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        self.run(line)?.contains(word).map(drop)
    }

    /// Runs one command line of this program (words are split at blanks), shows it and what came of it.
    fn run(&self, line: &str) -> Result<Shown> {
        self.output.line(format!("$ spacedrive {line}"));
        let (shown, status) = self.execute(line)?;
        if !shown.text.is_empty() {
            self.output.line(&shown.text);
        }
        if status.success() {
            return Ok(shown);
        }
        Err(ApiError::new(ErrorKind::Failed, format!("`spacedrive {line}` failed ({status})")))
    }

    /// Runs one command line and answers what it printed.
    fn execute(&self, line: &str) -> Result<(Shown, ExitStatus)> {
        let folder = self.folder.path();
        let run = Command::new(&self.program)
            .args(line.split_whitespace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.join("home"))
            .env("XDG_RUNTIME_DIR", folder.join("run"))
            .env("XDG_STATE_HOME", folder.join("state"))
            .current_dir(folder.join("work"))
            .stdin(Stdio::null())
            .output()
            .map_err(|e| ApiError::io("this program", &e))?;
        let text = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).trim_end().to_owned();
        Ok((Shown { line: line.to_owned(), text }, run.status))
    }

    /// Compares two files of the stage byte for byte.
    fn same(&self, one: &str, other: &str) -> Result<()> {
        self.output.line(format!("$ cmp {one} {other}"));
        let read = |name: &str| {
            let path = self.folder.path().join(name);
            std::fs::read(&path).map_err(|e| ApiError::io(path.display(), &e))
        };
        if read(one)? == read(other)? { Ok(()) } else { Err(ApiError::failed(format!("{other} is not the same as {one}"))) }
    }

    fn nothing_in_runtime_dir(&self) -> Result<()> {
        let dir = self.folder.path().join("run");
        let left: Vec<_> =
            std::fs::read_dir(&dir).map_err(|e| ApiError::io(dir.display(), &e))?.flatten().map(|e| e.file_name()).collect();
        if left.is_empty() { Ok(()) } else { Err(ApiError::failed(format!("left behind in the runtime dir: {left:?}"))) }
    }
}

/// What a command printed, to be compared with what the demo claims.
struct Shown {
    line: String,
    text: String,
}

impl Shown {
    fn contains(self, word: &str) -> Result<Self> {
        if self.text.contains(word) { Ok(self) } else { Err(self.unlike(&format!("`{word}` is not in what it printed"))) }
    }

    fn lacks(self, word: &str) -> Result<Self> {
        if self.text.contains(word) { Err(self.unlike(&format!("`{word}` is in what it printed"))) } else { Ok(self) }
    }

    /// The rest of the line that begins with `start`.
    fn after(&self, start: &str) -> Result<String> {
        let rest = self.text.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned);
        rest.ok_or_else(|| self.unlike(&format!("no line of what it printed begins with `{start}`")))
    }

    fn unlike(&self, why: &str) -> ApiError {
        ApiError::failed(format!("`spacedrive {}` was not as shown: {why}", self.line))
    }
}
