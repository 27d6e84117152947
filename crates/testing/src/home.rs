//! A home of its own for one test: runtime, state, home and working folders, and nothing of the caller's environment.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A hermetic environment for the real binary. When it is dropped, its daemons are stopped and its files are gone.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
    program: PathBuf,
    /// The user that the commands run as, when that is not the one of the test.
    user: Option<u32>,
}

impl Home {
    /// A fresh home for the binary `program`: `Home::new(env!("CARGO_BIN_EXE_spacedrive"))`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let folder = TempDir::with_prefix("sd-").unwrap();
        for name in ["run", "state", "home", "cwd"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        // Made by root for a test that becomes another user, it must be passable; its content stays private.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        Self { folder, program: program.into(), user: None }
    }

    /// A home of another user, which needs root.
    pub fn of_user(program: impl Into<PathBuf>, user: u32) -> Self {
        let mut home = Self::new(program);
        for entry in walkdir::WalkDir::new(home.path()) {
            std::os::unix::fs::chown(entry.unwrap().path(), Some(user), Some(user)).unwrap();
        }
        home.user = Some(user);
        home
    }

    /// Lets other users pass through the home, though not into what is private in it.
    pub fn let_others_pass(&self) {
        use std::os::unix::fs::PermissionsExt;
        for folder in [self.path().to_owned(), self.run_dir(), self.cwd()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).unwrap();
        }
    }

    /// The binary.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The whole home.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `$XDG_RUNTIME_DIR`.
    pub fn run_dir(&self) -> PathBuf {
        self.path().join("run")
    }

    /// The folder that commands are run in.
    pub fn cwd(&self) -> PathBuf {
        self.path().join("cwd")
    }

    /// The data dir of an instance that was started here without further ado.
    pub fn data_dir(&self, instance: &str) -> PathBuf {
        let root = self.cwd().join("data/sd-cli-data");
        if instance == "default" { root } else { root.join(format!("instance-{instance}")) }
    }

    /// The socket of an instance.
    pub fn socket(&self, instance: &str) -> PathBuf {
        let name = if instance == "default" { "spacedrive.sock".to_owned() } else { format!("spacedrive-{instance}.sock") };
        self.run_dir().join(name)
    }

    /// The pid in the pid file of an instance.
    pub fn pid(&self, instance: &str) -> u32 {
        let path = self.socket(instance).with_extension("pid");
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().parse().unwrap()
    }

    /// A command of this home, ready to be changed and run.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path().join("home"))
            .env("XDG_RUNTIME_DIR", self.run_dir())
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .current_dir(self.cwd())
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt;
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs a command line, split at blanks.
    #[track_caller]
    pub fn run(&self, line: &str) -> Outcome {
        self.run_args(line.split_whitespace())
    }

    /// Runs a command with these arguments.
    #[track_caller]
    pub fn run_args<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        Outcome::of(&mut self.command(args))
    }

    /// Starts a shell script in this home, with `spacedrive` on its PATH.
    pub fn shell(&self, script: &str) -> Command {
        let bin = self.path().join("bin");
        if !bin.exists() {
            fs::create_dir(&bin).unwrap();
            std::os::unix::fs::symlink(&self.program, bin.join("spacedrive")).unwrap();
        }
        let mut template = self.command([""; 0]);
        let mut command = Command::new("bash");
        command.args(["-u", "-c", script]).env_clear();
        for (name, value) in template.envs(Vec::<(String, String)>::new()).get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", bin.display())).current_dir(self.cwd()).stdin(Stdio::null());
        command
    }

    /// Starts an instance in the foreground, as a child that the test may kill.
    pub fn spawn_foreground(&self, instance: &str) -> Child {
        self.command(["start", "--foreground", "--instance", instance])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Everything that the daemon of an instance logged.
    pub fn log(&self, instance: &str) -> String {
        fs::read_to_string(self.data_dir(instance).join("logs/daemon.log")).unwrap_or_default()
    }

    /// Every file below the home that is not a log, with its size, sorted: to see that nothing was made or changed.
    pub fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = walkdir::WalkDir::new(self.path())
            .into_iter()
            .flatten()
            .filter(|entry| entry.path().extension().is_none_or(|e| e != "log"))
            .map(|entry| entry.path().display().to_string())
            .collect();
        files.sort();
        files
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for instance in self.run("instance list --json").try_json().as_ref().and_then(Value::as_array).into_iter().flatten() {
            // A daemon that a test froze goes on before it is told to stop; its pid is the kernel's, by its socket.
            if let (Some("unresponsive"), Some(pid)) = (instance["status"].as_str(), instance["pid"].as_i64()) {
                let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
                let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::CONT));
            }
        }
        let stopped = self.run("stop --all");
        if !std::thread::panicking() {
            assert_eq!(stopped.code, 0, "a daemon could not be stopped: {stopped:?}");
            for entry in fs::read_dir(self.data_dir("default")).into_iter().flatten().flatten() {
                let log = fs::read_to_string(entry.path().join("logs/daemon.log")).unwrap_or_default();
                assert!(!log.contains("panicked"), "a daemon panicked: {log}");
            }
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

impl Outcome {
    /// Runs `command` and waits for its end.
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Fails unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Fails unless the command ended with this exit code, and with one line of error when that is not 0.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// Fails unless the error says this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected `{text}` in {self:?}");
        self
    }

    /// stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.try_json().unwrap_or_else(|| panic!("not JSON: {self:?}"))
    }

    /// stdout as JSON lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    fn try_json(&self) -> Option<Value> {
        serde_json::from_str(&self.stdout).ok()
    }
}
