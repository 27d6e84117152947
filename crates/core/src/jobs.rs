//! Jobs: work that goes on in the background, is durable from the moment it is accepted, and can be paused, resumed and
//! cancelled.
//!
//! To add a kind of job:
//! 1. write `jobs/NAME.rs` with a `KIND`, serde arguments and a type that implements [`Handler`];
//! 2. hand it to `Jobs::open` where the library is opened (`library.rs`), or to [`Jobs::register`] from another crate;
//! 3. call [`Jobs::add`] with the arguments and a lane: jobs of one lane run one after the other, others side by side.
//!
//! What a handler must keep to: it may be run again from its last checkpoint, or from the beginning, after a kill at any
//! moment, and must come to the same result; it asks [`Task::check`] at least ten times a second and passes its error on; items
//! that cannot be done are told with [`Task::problem`], and only what ends the whole job is returned as an error.

pub(crate) mod file;
pub mod index;
mod task;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use spacedrive_api::{JobInfo, JobOrder, JobStatus};
use uuid::Uuid;

pub use self::task::{Order, Task};
use crate::db::job::{self as table, JobRow};
use crate::db::{Database, Durability};
use crate::{Error, Result, failpoint};

/// How many jobs run at once.
const AT_ONCE: usize = 3;

/// How many ended jobs are kept, and for how long.
const KEEP: u64 = 500;
const KEEP_FOR: Duration = Duration::from_secs(30 * 86_400);

/// How often the progress of a running job is stored.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// How many problems are shown of one job.
const SHOWN_PROBLEMS: u64 = 1000;

/// Does the jobs of one kind.
pub trait Handler: Send + Sync {
    /// The name of the kind.
    fn kind(&self) -> &'static str;

    /// Does the job, or what is left of it after the checkpoint of `task`; `args` are those it was added with. Answers the
    /// message that is left behind.
    fn run(&self, args: &serde_json::Value, task: &Task) -> Result<String>;

    /// Told when a job has ended, in whatever way, and will not run again.
    fn ended(&self, args: &serde_json::Value) {
        let _ = args;
    }
}

/// The jobs of one library.
pub struct Jobs {
    db: Arc<Database>,
    handlers: RwLock<HashMap<&'static str, Arc<dyn Handler>>>,
    running: Mutex<Running>,
    /// Told at every change of a job.
    changed: Condvar,
    closing: AtomicBool,
    me: Weak<Self>,
}

#[derive(Default)]
struct Running {
    jobs: HashMap<Uuid, Active>,
    threads: Vec<JoinHandle<()>>,
    /// Counts changes of any job.
    version: u64,
}

struct Active {
    row: JobRow,
    task: Arc<Task>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl Jobs {
    /// Opens the jobs of a library. What ran when the process ended runs again once [`Jobs::start`] is called.
    pub(crate) fn open(db: Arc<Database>, handlers: Vec<Arc<dyn Handler>>) -> Result<Arc<Self>> {
        db.write(Durability::Full, table::requeue)?;
        let handlers = handlers.into_iter().map(|handler| (handler.kind(), handler)).collect();
        Ok(Arc::new_cyclic(|me| Self {
            db,
            handlers: RwLock::new(handlers),
            running: Mutex::default(),
            changed: Condvar::new(),
            closing: AtomicBool::new(false),
            me: me.clone(),
        }))
    }

    /// Adds a kind.
    pub fn register(&self, handler: Arc<dyn Handler>) {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).insert(handler.kind(), handler);
        self.start();
    }

    /// The jobs of a kind that have not ended: id, arguments, and whether it will run by itself.
    pub(crate) fn unfinished(&self, kind: &str) -> Result<Vec<(Uuid, serde_json::Value, bool)>> {
        let rows = self.db.read(table::all)?;
        let mine = rows.into_iter().filter(|row| row.kind == kind && !row.status.ended());
        let goes_on = |row: &JobRow| row.status != JobStatus::Paused;
        Ok(mine.map(|row| (row.id, serde_json::from_str(&row.args).unwrap_or_default(), goes_on(&row))).collect())
    }

    /// Accepts a job: once this answers, it is durable.
    pub fn add(&self, kind: &str, args: &impl Serialize, lane: &str) -> Result<Uuid> {
        self.add_as(Uuid::now_v7(), kind, args, lane)
    }

    /// The same, with an id that was chosen elsewhere.
    pub(crate) fn add_as(&self, id: Uuid, kind: &str, args: &impl Serialize, lane: &str) -> Result<Uuid> {
        let args = serde_json::to_string(args).map_err(|e| Error::BadJob { kind: kind.to_owned(), why: e.to_string() })?;
        let row = JobRow {
            id,
            kind: kind.to_owned(),
            args,
            lane: lane.to_owned(),
            status: JobStatus::Queued,
            checkpoint: None,
            done: 0,
            total: None,
            unit: String::new(),
            message: String::new(),
            started: None,
            finished: None,
            errors: 0,
        };
        let now = now();
        self.db.write(Durability::Full, |t| {
            table::insert(t, &row, now)?;
            table::prune(t, KEEP, now - KEEP_FOR.as_millis() as i64)
        })?;
        failpoint::hit("job.add.done").map_err(Error::io(self.db.path()))?;
        self.start();
        Ok(id)
    }

    /// Starts queued jobs as far as there is room.
    pub fn start(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.start_some(&mut running);
        running.version += 1;
        self.changed.notify_all();
    }

    fn start_some(&self, running: &mut Running) {
        if self.closing.load(Ordering::SeqCst) {
            return;
        }
        running.threads.retain(|thread| !thread.is_finished());
        let queued = match self.db.read(table::queued) {
            Ok(queued) => queued,
            Err(error) => return tracing::error!(%error, "the queued jobs cannot be read"),
        };
        for mut row in queued {
            if running.jobs.len() >= AT_ONCE {
                break;
            }
            let taken = running.jobs.contains_key(&row.id) || running.jobs.values().any(|active| active.row.lane == row.lane);
            let handler = self.handlers.read().unwrap_or_else(PoisonError::into_inner).get(row.kind.as_str()).cloned();
            let (false, Some(handler)) = (taken, handler) else { continue };
            row.status = JobStatus::Running;
            row.started.get_or_insert_with(now);
            if let Err(error) = self.db.write(Durability::Normal, |t| table::set_status(t, &row)) {
                return tracing::error!(%error, "a job cannot be started");
            }
            let checkpoint = row.checkpoint.as_ref().and_then(|text| serde_json::from_str(text).ok());
            let task = Arc::new(Task::new(checkpoint, row.errors));
            let id = row.id;
            let args = serde_json::from_str(&row.args).unwrap_or_default();
            running.jobs.insert(id, Active { row, task: Arc::clone(&task) });
            let Some(me) = self.me.upgrade() else { return };
            let thread = std::thread::Builder::new().name("job".to_owned()).spawn(move || me.run(id, &args, &task, &*handler));
            match thread {
                Ok(thread) => running.threads.push(thread),
                Err(error) => {
                    tracing::error!(%error, "no thread for a job");
                    running.jobs.remove(&id);
                }
            }
        }
    }

    /// The thread of one job.
    fn run(&self, id: Uuid, args: &serde_json::Value, task: &Arc<Task>, handler: &dyn Handler) {
        let ended = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            scope.spawn(|| self.keep_stored(id, task, &ended));
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| handler.run(args, task)));
            ended.store(true, Ordering::SeqCst);
            self.bump();
            result
        });
        let result =
            result.unwrap_or_else(|_| Err(Error::BadJob { kind: handler.kind().to_owned(), why: "it panicked".to_owned() }));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(active) = running.jobs.get(&id) else { return };
        let mut row = current(&active.row, task);
        (row.status, row.message) = match (result, task.order()) {
            (Ok(message), _) => (JobStatus::Completed, message),
            (Err(Error::Interrupted), Order::Cancel) => (JobStatus::Cancelled, String::new()),
            (Err(Error::Interrupted), Order::Pause) => (JobStatus::Paused, row.message),
            // Not told to stop by a person: it goes on at the next start.
            (Err(Error::Interrupted), _) if self.closing.load(Ordering::SeqCst) => (JobStatus::Queued, row.message),
            (Err(error), _) => (JobStatus::Failed, error.to_string()),
        };
        if row.status.ended() {
            row.finished = Some(now());
        }
        let problems = task.take_problems();
        let stored = self.db.write(Durability::Full, |t| {
            table::add_problems(t, id, &problems)?;
            table::set_status(t, &row)
        });
        if let Err(error) = stored {
            tracing::error!(%error, "the end of a job cannot be stored");
        }
        if row.status.ended() {
            handler.ended(args);
        }
        running.jobs.remove(&id);
        self.start_some(&mut running);
        running.version += 1;
        self.changed.notify_all();
    }

    /// Stores progress and checkpoint of a running job now and then.
    fn keep_stored(&self, id: Uuid, task: &Task, ended: &AtomicBool) {
        let (mut stored_at, mut stored, mut told) = (Instant::now(), 0, 0);
        loop {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let version = task.version();
            if version != told {
                told = version;
                running.version += 1;
                self.changed.notify_all();
            }
            if ended.load(Ordering::SeqCst) {
                return;
            }
            let row = running.jobs.get(&id).map(|active| active.row.clone());
            let wait = Duration::from_millis(100);
            let (guard, _) = self.changed.wait_timeout(running, wait).unwrap_or_else(PoisonError::into_inner);
            drop(guard);
            if ended.load(Ordering::SeqCst) {
                return;
            }
            if stored_at.elapsed() < STORE_EVERY || version == stored {
                continue;
            }
            (stored_at, stored) = (Instant::now(), version);
            let problems = task.take_problems();
            let checkpoint = task.take_unsaved().is_some();
            if let Some(row) = row.filter(|_| checkpoint || !problems.is_empty()) {
                let result = self.db.write(Durability::Normal, |t| {
                    table::add_problems(t, id, &problems)?;
                    table::set_status(t, &current(&row, task))
                });
                if let Err(error) = result {
                    tracing::warn!(%error, "the progress of a job cannot be stored");
                }
            }
        }
    }

    fn bump(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.version += 1;
        self.changed.notify_all();
    }

    /// All jobs, newest first.
    pub fn list(&self, status: Option<JobStatus>) -> Result<Vec<JobInfo>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.db.read(table::all)?;
        let infos = rows.into_iter().map(|row| match running.jobs.get(&row.id) {
            Some(active) => current(&active.row, &active.task).info(),
            None => row.info(),
        });
        Ok(infos.filter(|info| status.is_none_or(|status| info.status == status)).collect())
    }

    /// The id of the job that `query` is, or a unique prefix of 4 or more characters of.
    pub fn find(&self, query: &str) -> Result<Uuid> {
        let lower = query.to_ascii_lowercase();
        let rows = self.db.read(table::all)?;
        let found: Vec<Uuid> =
            rows.iter().map(|row| row.id).filter(|id| query.len() >= 4 && id.to_string().starts_with(&lower)).collect();
        match found.as_slice() {
            [id] => Ok(*id),
            [] => Err(Error::JobNotFound { query: query.to_owned() }),
            several => {
                Err(Error::JobAmbiguous { query: query.to_owned(), candidates: several.iter().map(Uuid::to_string).collect() })
            }
        }
    }

    /// One job with its problems.
    pub fn get(&self, id: Uuid) -> Result<JobInfo> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut info = self.info(&running, id)?;
        info.problems = self.db.read(|c| table::problems(c, id, SHOWN_PROBLEMS))?;
        Ok(info)
    }

    fn info(&self, running: &Running, id: Uuid) -> Result<JobInfo> {
        if let Some(active) = running.jobs.get(&id) {
            return Ok(current(&active.row, &active.task).info());
        }
        let row = self.db.read(|c| table::get(c, id))?;
        row.map(|row| row.info()).ok_or_else(|| Error::JobNotFound { query: id.to_string() })
    }

    /// Waits for a change of any job after `version` (0: the first answer comes at once), at most so long, and tells how the
    /// job stands then.
    pub fn wait(&self, id: Uuid, version: u64, at_most: Duration) -> Result<(u64, JobInfo)> {
        let until = Instant::now() + at_most;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.version <= version && version != 0 {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            running = self.changed.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let info = self.info(&running, id)?;
        Ok((running.version.max(1), info))
    }

    /// The same for all jobs that have not ended and are not paused.
    pub fn wait_any(&self, version: u64, at_most: Duration) -> Result<(u64, Vec<JobInfo>)> {
        let until = Instant::now() + at_most;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.version <= version && version != 0 {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            running = self.changed.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let queued = self.db.read(table::queued)?;
        let mut infos: Vec<JobInfo> = running.jobs.values().map(|active| current(&active.row, &active.task).info()).collect();
        infos.extend(queued.iter().filter(|row| !running.jobs.contains_key(&row.id)).map(JobRow::info));
        infos.sort_by_key(|info| info.id);
        Ok((running.version.max(1), infos))
    }

    /// Waits until the job has ended or is paused; fails with [`Error::Interrupted`] when that takes longer than `at_most`.
    pub fn wait_for_end(&self, id: Uuid, at_most: Duration) -> Result<JobInfo> {
        let until = Instant::now() + at_most;
        let mut version = 0;
        loop {
            let left = until.checked_duration_since(Instant::now()).ok_or(Error::Interrupted)?;
            let (now, info) = self.wait(id, version, left)?;
            if info.status.ended() || info.status == JobStatus::Paused {
                return Ok(info);
            }
            version = now;
        }
    }

    /// Pauses, resumes or cancels a job. It has taken effect, or takes effect within a second, when this answers.
    pub fn control(&self, id: Uuid, order: JobOrder) -> Result<JobInfo> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(active) = running.jobs.get(&id) {
            match order {
                JobOrder::Pause => active.task.tell(Order::Pause),
                JobOrder::Cancel => active.task.tell(Order::Cancel),
                JobOrder::Resume => active.task.tell(Order::Run),
            }
            let until = Instant::now() + Duration::from_secs(1);
            while order != JobOrder::Resume && running.jobs.contains_key(&id) {
                let Some(left) = until.checked_duration_since(Instant::now()) else { break };
                running = self.changed.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            return self.info(&running, id);
        }
        let Some(mut row) = self.db.read(|c| table::get(c, id))? else {
            return Err(Error::JobNotFound { query: id.to_string() });
        };
        row.status = match (row.status, order) {
            (JobStatus::Queued, JobOrder::Pause) => JobStatus::Paused,
            (JobStatus::Paused, JobOrder::Resume) => JobStatus::Queued,
            (JobStatus::Queued | JobStatus::Paused, JobOrder::Cancel) => JobStatus::Cancelled,
            (JobStatus::Paused, JobOrder::Pause)
            | (JobStatus::Queued, JobOrder::Resume)
            | (JobStatus::Cancelled, JobOrder::Cancel) => {
                return Ok(row.info());
            }
            (status, _) => return Err(Error::JobEnded { id, status }),
        };
        if row.status.ended() {
            row.finished = Some(now());
        }
        self.db.write(Durability::Full, |t| table::set_status(t, &row))?;
        if row.status.ended()
            && let Some(handler) = self.handlers.read().unwrap_or_else(PoisonError::into_inner).get(row.kind.as_str())
        {
            handler.ended(&serde_json::from_str(&row.args).unwrap_or_default());
        }
        self.start_some(&mut running);
        running.version += 1;
        self.changed.notify_all();
        Ok(row.info())
    }

    /// Stops the running jobs so that they go on when the library is opened again, and waits for them.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for active in running.jobs.values() {
            if active.task.order() == Order::Run {
                active.task.tell(Order::ShutDown);
            }
        }
        let threads = std::mem::take(&mut running.threads);
        drop(running);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// The row with what the task tells of itself.
fn current(row: &JobRow, task: &Task) -> JobRow {
    let (done, total, unit, message) = task.progress();
    JobRow {
        done,
        total,
        unit: unit.to_owned(),
        message,
        errors: task.errors(),
        checkpoint: task.checkpoint().map(|value| value.to_string()),
        ..row.clone()
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
