//! Where the screen gets its news from: keys, the daemons' streams, the runtime dir, the log file. Each is a thread
//! that sleeps until there is some.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event as Input, KeyEvent, KeyEventKind};
use spacedrive_api::instance::DataFiles;
use spacedrive_api::{Event, InstanceInfo, InstanceStatus, JobControl, JobInfo, JobOrder, Monitor, OfLibrary, Overview, Result};
use tokio::task::JoinSet;

use crate::connect::connect_now;
use crate::instance::{Tail, Watch};
use crate::output::printable;
use crate::session::{Session, block_on};

/// How long a daemon that ends takes to be gone altogether.
const SETTLED: Duration = Duration::from_millis(50);

/// A piece of news.
#[derive(Debug)]
pub(super) enum Message {
    Key(KeyEvent),
    /// The terminal has another size.
    Redraw,
    Overview(String, Box<Overview>),
    /// An instance is not seen any more, and why.
    Gone(String, String),
    Instances(Vec<InstanceInfo>),
    /// New lines of an instance's log.
    Log(String, Vec<String>),
    /// What came of an order.
    Note(String),
}

/// The threads, and what they tell.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) messages: Receiver<Message>,
    /// The instance whose log is read.
    log_of: Arc<Mutex<(String, Option<PathBuf>)>>,
    sender: Sender<Message>,
    session: Arc<Session>,
}

impl Feed {
    pub(super) fn start(session: &Session, instance: &str) -> Result<Self> {
        let (sender, messages) = channel();
        let mut plain = session.for_instance(session.name.clone());
        plain.name_origin = session.name_origin;
        let session = Arc::new(plain);
        let feed = Self { messages, log_of: Arc::default(), sender, session };
        let keys = feed.sender.clone();
        thread::spawn(move || read_keys(&keys));
        let (session, sender) = (feed.session.clone(), feed.sender.clone());
        thread::spawn(move || drop(block_on(watch_instances(session, sender))));
        feed.follow(instance);
        Ok(feed)
    }

    /// Reads the log of another instance from now on.
    pub(super) fn follow(&self, instance: &str) {
        let dir = instance.parse().ok().and_then(|name| {
            let session = self.session.for_instance(name);
            spacedrive_api::locate::data_dir_of(&session.places, &session.name, session.data_dir.as_deref()).ok()
        });
        *self.log_of.lock().unwrap_or_else(PoisonError::into_inner) = (instance.to_owned(), dir.clone());
        let Some(dir) = dir else { return };
        let (sender, log_of, name) = (self.sender.clone(), self.log_of.clone(), instance.to_owned());
        thread::spawn(move || follow_log(&DataFiles::new(&dir), &name, &sender, &log_of));
    }
}

impl Feed {
    /// Gives an order to a job of an instance; what came of it is told later.
    pub(super) fn order(&self, instance: &str, job: &OfLibrary<JobInfo>, order: JobOrder) {
        let Ok(name) = instance.parse() else { return };
        let mut session = self.session.for_instance(name);
        session.data_dir = None;
        session.places.data_root = None;
        let request = JobControl { library: Some(job.library_id.to_string()), job: job.item.id.to_string(), order };
        let sender = self.sender.clone();
        thread::spawn(move || {
            let outcome = block_on(async { connect_now(&session).await?.call(request).await });
            if let Ok(Err(error)) | Err(error) = outcome {
                let _ = sender.send(Message::Note(printable(&error.message)));
            }
        });
    }
}

fn read_keys(sender: &Sender<Message>) {
    while let Ok(input) = event::read() {
        let message = match input {
            Input::Key(key) if key.kind == KeyEventKind::Press => Message::Key(key),
            Input::Resize(..) => Message::Redraw,
            _ => continue,
        };
        if sender.send(message).is_err() {
            return;
        }
    }
}

/// Lists the instances whenever the runtime dir changes, and watches each that runs.
async fn watch_instances(session: Arc<Session>, sender: Sender<Message>) {
    let (changed, mut changes) = tokio::sync::mpsc::channel::<()>(1);
    let runtime = session.places.runtime.clone();
    thread::spawn(move || {
        let Ok(mut watch) = Watch::on_names(&runtime) else { return };
        while watch.changed().is_ok() {
            // One waiting change stands for all.
            if let Err(tokio::sync::mpsc::error::TrySendError::Closed(())) = changed.try_send(()) {
                return;
            }
        }
    });
    let mut streams = JoinSet::new();
    // By pid, so that a daemon whose stream ended is not asked again, and the next one of its name is.
    let mut watched: BTreeMap<String, Option<u32>> = BTreeMap::new();
    loop {
        let Ok(instances) = crate::instance::all(&session).await else { return };
        for instance in instances.iter().filter(|instance| instance.status == InstanceStatus::Running) {
            if watched.insert(instance.name.clone(), instance.pid) != Some(instance.pid) {
                streams.spawn(stream(session.clone(), instance.name.clone(), sender.clone()));
            }
        }
        if sender.send(Message::Instances(instances)).is_err() {
            return;
        }
        tokio::select! {
            change = changes.recv() => if change.is_none() {
                // There is nothing to be told by: the streams go on.
                while streams.join_next().await.is_some() {}
                return;
            },
            // What ended a stream shows in the list a moment later.
            Some(_) = streams.join_next() => tokio::time::sleep(SETTLED).await,
        }
    }
}

/// Hands on what the daemon of one instance tells, until it ends.
async fn stream(session: Arc<Session>, name: String, sender: Sender<Message>) {
    let Ok(parsed) = name.parse() else { return };
    let mut session = session.for_instance(parsed);
    session.data_dir = None;
    session.places.data_root = None;
    let watched = async {
        let mut client = connect_now(&session).await?;
        client
            .watch(Monitor {}, |event| {
                if let Event::Overview(overview) = event {
                    let _ = sender.send(Message::Overview(name.clone(), overview));
                }
            })
            .await
    };
    let why = watched.await.map_or_else(|error| error.message, |_| "it is not running".to_owned());
    let _ = sender.send(Message::Gone(name, why));
}

/// Hands on the log of an instance as it is written, until another one is followed.
fn follow_log(data: &DataFiles, name: &str, sender: &Sender<Message>, log_of: &Mutex<(String, Option<PathBuf>)>) {
    let is_wanted = || log_of.lock().unwrap_or_else(PoisonError::into_inner).0 == name;
    let Ok(mut watch) = Watch::new(&data.logs) else { return };
    let mut tail = Tail::default();
    let _ = tail.open(&data.log());
    loop {
        let mut lines = Vec::new();
        let _ = tail.read(|line| lines.push(printable(line)));
        if tail.is_replaced(&data.log()) && tail.open(&data.log()).is_ok() {
            let _ = tail.read(|line| lines.push(printable(line)));
        }
        if !is_wanted() || (!lines.is_empty() && sender.send(Message::Log(name.to_owned(), lines)).is_err()) {
            return;
        }
        if watch.changed().is_err() {
            return;
        }
    }
}
