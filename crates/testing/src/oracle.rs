//! The oracle: what was acknowledged must be there after a fault, and nothing of the user's may have changed.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{fs, io};

use rusqlite::{Connection, OpenFlags};

use crate::Home;

/// Remembers acknowledged operations: the client of the test tells it *after* a command has succeeded.
/// They are also in `acked.jsonl` in the home, for whoever looks into a failure.
#[derive(Debug)]
pub struct Oracle {
    log: PathBuf,
    libraries: Mutex<BTreeSet<(String, String)>>,
    deleted: Mutex<BTreeSet<(String, String)>>,
}

impl Oracle {
    /// An oracle that writes its log into `home`.
    pub fn new(home: &Home) -> Self {
        Self { log: home.path().join("acked.jsonl"), libraries: Mutex::default(), deleted: Mutex::default() }
    }

    /// Runs `library create NAME` and remembers it if it was acknowledged. Answers whether it was.
    pub fn create_library(&self, home: &Home, instance: &str, name: &str) -> bool {
        let outcome = home.run_args(["--instance", instance, "library", "create", name]);
        if outcome.code == 0 {
            let key = (instance.to_owned(), name.to_owned());
            self.deleted.lock().unwrap().remove(&key);
            self.libraries.lock().unwrap().insert(key);
            self.log("library create", instance, name);
        }
        outcome.code == 0
    }

    /// Runs `library delete NAME` and remembers it if it was acknowledged. Answers whether it was.
    pub fn delete_library(&self, home: &Home, instance: &str, name: &str, purge: bool) -> bool {
        // From here on it may be there or not, until the answer says that it is not.
        let key = (instance.to_owned(), name.to_owned());
        self.libraries.lock().unwrap().remove(&key);
        let how: &[&str] = if purge { &["--yes", "--purge"] } else { &["--yes"] };
        let outcome = home.run_args(["--instance", instance, "library", "delete", name].iter().chain(how));
        if outcome.code == 0 {
            self.deleted.lock().unwrap().insert(key);
            self.log("library delete", instance, name);
        }
        outcome.code == 0
    }

    fn log(&self, operation: &str, instance: &str, name: &str) {
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        writeln!(log, "{}", serde_json::json!({"op": operation, "instance": instance, "name": name})).unwrap();
    }

    /// How many operations were acknowledged whose result is known: libraries that are there, and that are gone.
    pub fn acknowledged(&self) -> usize {
        self.libraries.lock().unwrap().len() + self.deleted.lock().unwrap().len()
    }

    /// Checks a running instance: everything acknowledged is there and open, every database is sound, and no
    /// half-made folder is left.
    #[track_caller]
    pub fn check(&self, home: &Home, instance: &str) {
        let listed = home.run_args(["--instance", instance, "library", "list", "--json"]).ok().json();
        let listed: Vec<_> = listed.as_array().unwrap().iter().collect();
        for (_, name) in self.libraries.lock().unwrap().iter().filter(|(of, _)| of == instance) {
            let library = listed.iter().find(|library| library["name"] == name.as_str());
            let library = library.unwrap_or_else(|| panic!("library {name} of {instance} was acknowledged and is gone"));
            assert_eq!(library["state"], "open", "{library}");
        }
        for (_, name) in self.deleted.lock().unwrap().iter().filter(|(of, _)| of == instance) {
            assert!(!listed.iter().any(|library| library["name"] == name.as_str()), "library {name} was deleted and is back");
        }
        let data_dir = home.data_dir(instance);
        check_database(&data_dir.join("instance.db"));
        for entry in fs::read_dir(data_dir.join("libraries")).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.extension().is_some_and(|e| e == "sdlibrary"), "left behind: {}", path.display());
            check_database(&path.join("library.db"));
        }
    }
}

/// SQLite's own checks of a database, which may be in use.
#[track_caller]
fn check_database(path: &Path) {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "{}", path.display());
    let dangling = connection.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
    assert!(!dangling, "{}: a foreign key leads nowhere", path.display());
}

/// One hash over the names, kinds, and bytes of everything below `root`, but what `leave_out` says.
pub fn tree_hash(root: &Path, leave_out: impl Fn(&Path) -> bool) -> String {
    let mut hasher = blake3::Hasher::new();
    let walk = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(|entry| !leave_out(entry.path()));
    for entry in walk.flatten() {
        hasher.update(entry.path().as_os_str().as_bytes());
        hasher.update(&[0, u8::from(entry.file_type().is_dir())]);
        if entry.file_type().is_file() {
            let mut bytes = Vec::new();
            let read = fs::File::open(entry.path()).and_then(|mut file: fs::File| file.read_to_end(&mut bytes));
            assert!(read.is_ok() || read.is_err_and(|e: io::Error| e.kind() == io::ErrorKind::NotFound));
            hasher.update(&bytes);
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Makes a change in a database of ours that stays in its WAL, and gives the bytes of that WAL.
pub fn change_in_wal(database: &Path) -> Vec<u8> {
    let connection = Connection::open(database).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch("CREATE TABLE foreign_rows (a); INSERT INTO foreign_rows VALUES (zeroblob(9000));").unwrap();
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    fs::read(PathBuf::from(wal)).unwrap()
}
