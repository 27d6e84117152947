//! `monitor`: a full-screen live view. What is shown comes from the daemon's stream of events, the log file and the
//! runtime dir as they change; nothing is asked for again and again.

mod feed;
mod model;
mod view;

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use clap::Args;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use spacedrive_api::{ApiError, ErrorKind, Event, JobOrder, Monitor, Overview, Result, locate};

use crate::connect::connect_now;
use crate::session::{NameOrigin, Session};
use feed::{Feed, Message};
use model::{Model, Panel};

/// How often the clocks on the screen go on.
const TICK: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(
    after_help = "Keys:\n  Tab, 1-7  the panels             Up, Down  scroll\n  i         next instance          a         all instances side by side\n  p, r, c   pause, resume, cancel the first job shown\n  q         leave\n\nExamples:\n  spacedrive monitor\n  spacedrive monitor --all\n  spacedrive monitor --once --json"
)]
pub(crate) struct Arguments {
    /// Show all instances side by side
    #[arg(long)]
    all: bool,
    /// Print the state once and end
    #[arg(long)]
    once: bool,
}

pub(crate) async fn monitor(session: &Session, args: &Arguments) -> Result<()> {
    if args.once {
        return once(session, args.all).await;
    }
    if session.output.is_json() {
        return stream(session).await;
    }
    if !session.output.is_terminal() || !session.output.can_draw() {
        return Err(ApiError::invalid("monitor needs a terminal that can draw").hint("spacedrive monitor --once"));
    }
    let sessions = crate::instance::all(session).await?;
    let mut model = Model::new(session.name.as_str(), args.all);
    model.instances = sessions;
    // Nobody named one, and the default instance is not there: begin with one that is.
    let is_there = model.instances.iter().any(|instance| instance.name == model.instance);
    if let (NameOrigin::Default, false, Some(first)) = (session.name_origin, is_there, model.instances.first()) {
        model.instance = first.name.clone();
    }
    let feed = Feed::start(session, &model.instance)?;
    let mut terminal = ratatui::try_init().map_err(|e| ApiError::io("the terminal", &e))?;
    let shown = show(&mut terminal, &mut model, &feed);
    ratatui::restore();
    shown
}

/// Prints the state of the instance, or of all that run.
async fn once(session: &Session, all: bool) -> Result<()> {
    if !all {
        let overview = first(session).await?;
        session.output.result(&overview, || view::text(&overview));
        return Ok(());
    }
    let mut overviews = Vec::new();
    for instance in crate::instance::all(session).await? {
        if instance.status == spacedrive_api::InstanceStatus::Running {
            let mut session = session.for_instance(instance.name.parse()?);
            session.data_dir = None;
            session.places.data_root = None;
            overviews.push(first(&session).await?);
        }
    }
    session.output.result(&overviews, || {
        if overviews.is_empty() {
            return "No instance is running".to_owned();
        }
        overviews.iter().map(view::text).collect::<Vec<_>>().join("\n\n")
    });
    Ok(())
}

/// The first overview of the stream; hanging up then ends it.
async fn first(session: &Session) -> Result<Overview> {
    let mut client = connect_now(session).await?;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let watching = client.watch(Monitor {}, |event| {
        if let Event::Overview(overview) = event {
            let _ = sender.send(*overview);
        }
    });
    tokio::select! {
        Some(overview) = receiver.recv() => Ok(overview),
        ended = watching => match (receiver.try_recv(), ended) {
            (Ok(overview), _) => Ok(overview),
            (Err(_), Ok(_)) => Err(ApiError::not_running("the daemon is stopping")),
            (Err(_), Err(error)) => Err(error),
        },
    }
}

/// Prints an overview a line, until the daemon stops or the reader goes away.
async fn stream(session: &Session) -> Result<()> {
    let mut client = connect_now(session).await?;
    let mut stops = false;
    let ended = client
        .watch(Monitor {}, |event| match event {
            Event::Overview(overview) => session.output.document(&overview),
            Event::Stopping => stops = true,
            _ => {}
        })
        .await;
    match ended {
        // A daemon that ends may take its last word with it.
        Err(_) if stops => Ok(()),
        Err(error) if error.kind == ErrorKind::Unreachable && !locate::is_alive(&session.places, &session.name) => {
            Err(session.not_running())
        }
        other => other.map(drop),
    }
}

fn show(terminal: &mut ratatui::DefaultTerminal, model: &mut Model, feed: &Feed) -> Result<()> {
    loop {
        terminal.draw(|frame| view::draw(frame, model)).map_err(|e| ApiError::io("the terminal", &e))?;
        match feed.messages.recv_timeout(TICK) {
            Ok(Message::Key(key)) => {
                let before = model.instance.clone();
                model.note = None;
                match press(model, key) {
                    Do::Leave => return Ok(()),
                    Do::Order(order) => {
                        if let Some(job) = model.chosen_job() {
                            feed.order(&model.instance, job, order);
                        }
                    }
                    Do::Nothing => {}
                }
                if model.instance != before {
                    feed.follow(&model.instance);
                }
            }
            Ok(Message::Redraw) | Err(RecvTimeoutError::Timeout) => {}
            Ok(message) => model.take(message),
            Err(RecvTimeoutError::Disconnected) => return Err(ApiError::failed("the terminal is gone")),
        }
    }
}

/// What is left to do after a key.
#[derive(Debug, PartialEq, Eq)]
enum Do {
    Nothing,
    Leave,
    Order(JobOrder),
}

/// What a key does to the screen, and what is left to do.
fn press(model: &mut Model, key: KeyEvent) -> Do {
    let is_job = model.chosen_job().is_some();
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return Do::Leave,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Do::Leave,
        KeyCode::Char('p') if is_job => return Do::Order(JobOrder::Pause),
        KeyCode::Char('r') if is_job => return Do::Order(JobOrder::Resume),
        KeyCode::Char('c') if is_job => return Do::Order(JobOrder::Cancel),
        KeyCode::Tab => model.select(model.panel.next()),
        KeyCode::BackTab => model.select(model.panel.previous()),
        KeyCode::Char(digit @ '1'..='9') => {
            if let Some(panel) = Panel::ALL.get(digit as usize - '1' as usize) {
                model.select(*panel);
            }
        }
        KeyCode::Char('i') => model.next_instance(),
        KeyCode::Char('a') => model.all = !model.all,
        KeyCode::Down | KeyCode::Char('j') => model.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => model.scroll(-1),
        KeyCode::PageDown => model.scroll(10),
        KeyCode::PageUp => model.scroll(-10),
        _ => {}
    }
    Do::Nothing
}
