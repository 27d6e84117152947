//! `job …`, and following the jobs that other commands start.

use std::collections::HashMap;

use clap::{Subcommand, ValueEnum};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use spacedrive_api::client::Client;
use spacedrive_api::{
    ApiError, ErrorKind, Event, IndexStarted, JobControl, JobGet, JobInfo, JobList, JobOrder, JobStatus, JobWatch, Result,
};
use uuid::Uuid;

use crate::library::Target;
use crate::output::{self, printable};
use crate::session::Session;

/// How many jobs `--recent` shows.
const RECENT: usize = 10;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the jobs of the current library, newest first
    List {
        /// Only those that stand so
        #[arg(short, long)]
        status: Option<Status>,
        /// Only the newest ten
        #[arg(short, long)]
        recent: bool,
    },
    /// Show a job, and what it could not do
    Info {
        /// Its id, or a unique beginning of it
        job: String,
    },
    /// Follow jobs until they end
    Monitor {
        /// Only this one [default: all that are under way]
        #[arg(short, long)]
        job_id: Option<String>,
    },
    /// Stop a job for now
    Pause {
        /// Its id, or a unique beginning of it
        job: String,
    },
    /// Go on with a paused job
    Resume {
        /// Its id, or a unique beginning of it
        job: String,
    },
    /// Stop a job for good
    Cancel {
        /// Its id, or a unique beginning of it
        job: String,
    },
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// Waits for its turn
    Queued,
    /// Runs
    Running,
    /// Was paused
    Paused,
    /// Is done
    Completed,
    /// Could not be done
    Failed,
    /// Was cancelled
    Cancelled,
}

impl From<Status> for JobStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Queued => Self::Queued,
            Status::Running => Self::Running,
            Status::Paused => Self::Paused,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<()> {
    let (mut client, library) = Target::current_or_none(session).await?;
    let order = |order| move |job: String, library: Option<String>| JobControl { library, job, order };
    let control = match command {
        Command::List { status, recent } => {
            let mut jobs = client.call(JobList { library, status: status.map(Into::into) }).await?;
            if recent {
                jobs.truncate(RECENT);
            }
            session.output.result(&jobs, || if jobs.is_empty() { "No jobs".to_owned() } else { table(&jobs) });
            return Ok(());
        }
        Command::Info { job } => {
            let job = client.call(JobGet { library, job }).await?;
            session.output.result(&job, || details(&job));
            return Ok(());
        }
        Command::Monitor { job_id } => {
            watch(session, &mut client, library, job_id, true).await?;
            return Ok(());
        }
        Command::Pause { job } => order(JobOrder::Pause)(job, library),
        Command::Resume { job } => order(JobOrder::Resume)(job, library),
        Command::Cancel { job } => order(JobOrder::Cancel)(job, library),
    };
    let job = client.call(control).await?;
    session.output.result(&job, || format!("Job {} is {}", job.id, name(job.status)));
    Ok(())
}

/// What to say of a job that was started; with `wait`, stays until it ends and fails as it fails.
pub(crate) async fn started(
    session: &Session,
    client: &mut Client,
    library: &str,
    started: &IndexStarted,
    wait: bool,
) -> Result<()> {
    if !wait {
        session.output.result(started, || {
            let added = if started.added { "Added and indexing" } else { "Indexing" };
            format!("{added} `{}`; job {}", printable(&started.location.name), started.job)
        });
        return Ok(());
    }
    let job = follow(session, client, Some(library), started.job).await?;
    session.output.result(&job, || format!("`{}`: {}", printable(&started.location.name), printable(&job.message)));
    outcome(session, &job)
}

/// Follows a job until it ends or is paused; progress goes to a terminal only.
pub(crate) async fn follow(session: &Session, client: &mut Client, library: Option<&str>, job: Uuid) -> Result<JobInfo> {
    let jobs = watch(session, client, library.map(str::to_owned), Some(job.to_string()), false).await?;
    jobs.into_iter().next().ok_or_else(|| ApiError::failed(format!("job {job}: nothing is known of it any more")))
}

/// How a command ends whose job ended so.
pub(crate) fn outcome(session: &Session, job: &JobInfo) -> Result<()> {
    let info = session.command(&format!("job info {}", job.id));
    match job.status {
        JobStatus::Failed => Err(ApiError::failed(format!("job {}: {}", job.id, printable(&job.message))).hint(info)),
        JobStatus::Cancelled => Err(ApiError::new(ErrorKind::Interrupted, format!("job {} was cancelled", job.id))),
        JobStatus::Paused => Err(ApiError::new(ErrorKind::Interrupted, format!("job {} was paused", job.id))
            .hint(session.command(&format!("job resume {}", job.id)))),
        _ => {
            if job.errors > 0 {
                session.output.warning(format!("{} could not be read; {info} lists them", job.errors));
            }
            Ok(())
        }
    }
}

async fn watch(
    session: &Session,
    client: &mut Client,
    library: Option<String>,
    job: Option<String>,
    lines: bool,
) -> Result<Vec<JobInfo>> {
    let bars = session.output.is_interactive().then(Bars::new);
    let mut bars = bars;
    let output = &session.output;
    let request = JobWatch { library, job };
    let mut told: HashMap<Uuid, JobStatus> = HashMap::new();
    let ended = client
        .watch(request, |event| {
            let Event::Job(job) = event else { return };
            if let Some(bars) = &mut bars {
                bars.show(&job);
            } else if lines && output.is_json() {
                output.document(&job);
            } else if lines && told.insert(job.id, job.status) != Some(job.status) {
                output.line(line(&job));
            }
        })
        .await;
    if let Some(bars) = bars {
        bars.clear();
    }
    let ended = ended?;
    if lines && session.output.is_interactive() {
        ended.iter().for_each(|job| session.output.line(line(job)));
    }
    Ok(ended)
}

/// Progress on a terminal.
struct Bars {
    all: MultiProgress,
    bars: HashMap<Uuid, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        Self { all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), bars: HashMap::new() }
    }

    fn show(&mut self, job: &JobInfo) {
        let bar = self.bars.entry(job.id).or_insert_with(|| self.all.add(ProgressBar::no_length()));
        let template = match job.total {
            Some(_) => "{msg}: {human_pos} of {human_len} {prefix} ({per_sec}, {eta} left) {wide_bar}",
            None => "{spinner} {msg}: {human_pos} {prefix} ({per_sec})",
        };
        if bar.length() != job.total {
            // A new phase: its rate begins anew.
            bar.reset();
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        match job.total {
            Some(total) => bar.set_length(total.max(job.done)),
            None => bar.unset_length(),
        }
        bar.set_prefix(job.unit.clone());
        bar.set_message(printable(&job.message));
        bar.set_position(job.done);
        if job.status.ended() {
            bar.finish_and_clear();
        }
    }

    fn clear(self) {
        let _ = self.all.clear();
    }
}

fn line(job: &JobInfo) -> String {
    let errors = if job.errors > 0 { format!(", {} errors", job.errors) } else { String::new() };
    format!("{} {} {}: {}{errors}", job.id, job.kind, name(job.status), printable(&job.message))
}

fn details(job: &JobInfo) -> String {
    let mut lines = vec![
        format!("Id: {}", job.id),
        format!("Kind: {}", job.kind),
        format!("Status: {}", name(job.status)),
        format!("Progress: {}", progress(job)),
    ];
    if !job.message.is_empty() {
        lines.push(format!("Message: {}", printable(&job.message)));
    }
    lines.extend(job.started_at.map(|at| format!("Started: {at}")));
    lines.extend(job.finished_at.map(|at| format!("Finished: {at}")));
    lines.push(format!("Errors: {}", job.errors));
    lines.extend(
        job.problems
            .iter()
            .map(|problem| format!("  {}: {}", printable(&problem.path.to_string_lossy()), printable(&problem.message))),
    );
    let more = job.errors.saturating_sub(job.problems.len() as u64);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}

/// Jobs for a person.
pub(crate) fn table(jobs: &[JobInfo]) -> String {
    let rows = jobs.iter().map(|job| {
        [
            job.id.to_string(),
            job.kind.clone(),
            name(job.status).to_owned(),
            progress(job),
            job.errors.to_string(),
            job.message.clone(),
        ]
    });
    output::table(["JOB", "KIND", "STATUS", "PROGRESS", "ERRORS", "MESSAGE"], rows)
}

fn progress(job: &JobInfo) -> String {
    match job.total {
        Some(total) => format!("{} of {total} {}", job.done, job.unit),
        None => format!("{} {}", job.done, job.unit).trim_end().to_owned(),
    }
}

fn name(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Queued => "queued",
        JobStatus::Running => "running",
        JobStatus::Paused => "paused",
        JobStatus::Completed => "completed",
        JobStatus::Failed => "failed",
        JobStatus::Cancelled => "cancelled",
    }
}
