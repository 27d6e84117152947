//! Jobs: durable, stopped at once, gone on with, and what they could not do is listed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use spacedrive_api::{IndexMode, JobInfo, JobOrder, JobStatus};
use spacedrive_core::jobs::{Handler, Task};
use spacedrive_core::{Error, Library};

use super::world::{PATIENCE, World, again, write};

/// Counts to `to`, one step at a time, and remembers how far it came.
#[derive(Default)]
struct Counter {
    /// How many steps may be made.
    allowed: Mutex<u64>,
    more: Condvar,
    steps: AtomicU64,
    begun: AtomicBool,
}

impl Counter {
    fn allow(&self, steps: u64) {
        *self.allowed.lock().unwrap() = steps;
        self.more.notify_all();
    }
}

impl Handler for Counter {
    fn kind(&self) -> &'static str {
        "count"
    }

    fn run(&self, args: &serde_json::Value, task: &Task) -> Result<String, Error> {
        let to = args.as_u64().unwrap();
        let from = task.checkpoint().and_then(|value| value.as_u64()).unwrap_or(0);
        self.begun.store(true, Ordering::SeqCst);
        task.begin("counting", "steps", Some(to));
        for n in from..to {
            let mut allowed = self.allowed.lock().unwrap();
            while *allowed <= n {
                task.check()?;
                allowed = self.more.wait_timeout(allowed, Duration::from_millis(20)).unwrap().0;
            }
            drop(allowed);
            task.check()?;
            if n == 3 {
                task.problem(std::path::Path::new("/three"), "is odd");
            }
            self.steps.fetch_add(1, Ordering::SeqCst);
            task.add_done(1);
            task.save(serde_json::json!(n + 1));
        }
        Ok(format!("counted to {to}"))
    }
}

fn wait_until(library: &Library, job: uuid::Uuid, test: impl Fn(&JobInfo) -> bool) -> JobInfo {
    let until = Instant::now() + PATIENCE;
    let mut version = 0;
    loop {
        let (now, info) = library.jobs().wait(job, version, Duration::from_secs(1)).unwrap();
        if test(&info) {
            return info;
        }
        assert!(Instant::now() < until, "{info:?}");
        version = now;
    }
}

#[test]
fn a_job_is_paused_resumed_and_completed() {
    let world = World::new(false);
    let counter = Arc::new(Counter::default());
    world.library().jobs().register(counter.clone());
    let jobs = world.library().jobs();
    let job = jobs.add("count", &10, "lane").unwrap();
    counter.allow(5);
    wait_until(world.library(), job, |info| info.done == 5);
    let begun = Instant::now();
    assert_eq!(jobs.control(job, JobOrder::Pause).unwrap().status, JobStatus::Paused);
    assert!(begun.elapsed() < Duration::from_secs(1));
    counter.allow(10);
    assert_eq!(jobs.control(job, JobOrder::Pause).unwrap().status, JobStatus::Paused);
    jobs.control(job, JobOrder::Resume).unwrap();
    let info = jobs.wait_for_end(job, PATIENCE).unwrap();
    assert_eq!((info.status, info.message.as_str()), (JobStatus::Completed, "counted to 10"));
    // No step was made twice, and what could not be done is listed.
    assert_eq!(counter.steps.load(Ordering::SeqCst), 10);
    let info = jobs.get(job).unwrap();
    assert_eq!((info.errors, info.problems.len(), info.problems[0].message.as_str()), (1, 1, "is odd"));
    assert!(matches!(jobs.control(job, JobOrder::Cancel), Err(Error::JobEnded { .. })));
}

#[test]
fn a_job_is_cancelled_and_stays_so() {
    let mut world = World::new(false);
    let counter = Arc::new(Counter::default());
    world.library().jobs().register(counter.clone());
    let running = world.library().jobs().add("count", &10, "lane").unwrap();
    let queued = world.library().jobs().add("count", &10, "lane").unwrap();
    wait_until(world.library(), running, |info| info.status == JobStatus::Running);
    assert_eq!(world.library().jobs().get(queued).unwrap().status, JobStatus::Queued, "one lane, one job");
    for job in [queued, running] {
        assert_eq!(world.library().jobs().control(job, JobOrder::Cancel).unwrap().status, JobStatus::Cancelled);
    }
    world.restart();
    for job in [queued, running] {
        assert_eq!(world.library().jobs().get(job).unwrap().status, JobStatus::Cancelled);
    }
}

#[test]
fn a_job_goes_on_after_a_restart_and_a_paused_one_does_not() {
    let mut world = World::new(false);
    let counter = Arc::new(Counter::default());
    world.library().jobs().register(counter.clone());
    counter.allow(4);
    let runs = world.library().jobs().add("count", &10, "one").unwrap();
    wait_until(world.library(), runs, |info| info.done == 4);
    let paused = world.library().jobs().add("count", &10, "two").unwrap();
    wait_until(world.library(), paused, |info| info.done == 4);
    world.library().jobs().control(paused, JobOrder::Pause).unwrap();
    world.restart();
    assert_eq!(world.library().jobs().get(runs).unwrap().status, JobStatus::Queued);
    counter.allow(10);
    world.library().jobs().register(counter.clone());
    assert_eq!(world.library().jobs().wait_for_end(runs, PATIENCE).unwrap().status, JobStatus::Completed);
    assert_eq!(counter.steps.load(Ordering::SeqCst), 4 + 4 + 6, "from the checkpoint on");
    assert_eq!(world.library().jobs().get(paused).unwrap().status, JobStatus::Paused);
}

#[test]
fn a_handler_that_panics_fails_its_job_only() {
    struct Panics;
    impl Handler for Panics {
        fn kind(&self) -> &'static str {
            "panics"
        }
        fn run(&self, _: &serde_json::Value, _: &Task) -> Result<String, Error> {
            std::panic::resume_unwind(Box::new("on purpose"))
        }
    }
    let world = World::new(false);
    world.library().jobs().register(Arc::new(Panics));
    let job = world.library().jobs().add("panics", &0, "lane").unwrap();
    assert_eq!(world.library().jobs().wait_for_end(job, PATIENCE).unwrap().status, JobStatus::Failed);
    write(&world.disk().join("file"), "x");
    world.add(IndexMode::Content);
    world.assert_equal();
}

#[test]
fn indexing_is_interrupted_anywhere_and_comes_to_the_same() {
    let mut world = World::new(false);
    for n in 0..600 {
        write(&world.disk().join(format!("d{}/e{}/f{n}", n % 7, n % 31)), format!("content {}", n % 100));
    }
    world.add(IndexMode::Shallow);
    for round in 0..12u64 {
        let request = spacedrive_api::IndexLocation { mode: Some(IndexMode::Content), force: round % 3 == 0, ..again("disk") };
        let job = world.library().index_location(&request).unwrap().job;
        wait_until(world.library(), job, |info| info.done >= round * 60 || info.status.ended());
        match round % 4 {
            0 => world.restart(),
            1 => {
                // It may have ended in the meantime.
                let _ = world.library().jobs().control(job, JobOrder::Pause);
                let _ = world.library().jobs().control(job, JobOrder::Resume);
            }
            2 => {
                let _ = world.library().jobs().control(job, JobOrder::Cancel);
                world.rescan();
            }
            _ => {}
        }
        world.library().jobs().wait_for_end(job, PATIENCE).unwrap();
        world.assert_equal();
    }
}

#[test]
fn ended_jobs_are_listed_and_found_by_a_beginning_of_their_id() {
    let world = World::new(false);
    world.add(IndexMode::Shallow);
    let job = world.rescan();
    let jobs = world.library().jobs();
    assert_eq!(jobs.find(&job.id.to_string()[..20]).unwrap(), job.id);
    assert!(jobs.find("0").is_err() && jobs.find("ffff").is_err());
    assert_eq!(jobs.list(Some(JobStatus::Completed)).unwrap().len(), 2);
    assert_eq!(jobs.list(Some(JobStatus::Failed)).unwrap(), []);
    assert_eq!(jobs.list(None).unwrap()[0].id, job.id, "newest first");
}
