//! What the screen knows.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use spacedrive_api::{InstanceInfo, JobInfo, OfLibrary, Overview};

use super::feed::Message;

/// How many lines of the log are kept.
const LOG_LINES: usize = 500;

/// The parts of the screen, in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    Overview,
    Libraries,
    Locations,
    Jobs,
    Devices,
    Log,
    Instances,
}

impl Panel {
    pub(super) const ALL: [Self; 7] =
        [Self::Overview, Self::Libraries, Self::Locations, Self::Jobs, Self::Devices, Self::Log, Self::Instances];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Libraries => "Libraries",
            Self::Locations => "Locations",
            Self::Jobs => "Jobs",
            Self::Devices => "Devices",
            Self::Log => "Log",
            Self::Instances => "Instances",
        }
    }

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|panel| *panel == self).unwrap_or_default()
    }

    pub(super) fn next(self) -> Self {
        Self::ALL[(self.index() + 1) % Self::ALL.len()]
    }

    pub(super) fn previous(self) -> Self {
        Self::ALL[(self.index() + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}

/// An overview, and when it came: clocks go on from there.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) overview: Overview,
    pub(super) at: Instant,
}

impl Seen {
    pub(super) fn uptime_s(&self) -> u64 {
        self.overview.daemon.uptime_s + self.at.elapsed().as_secs()
    }
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) instance: String,
    pub(super) all: bool,
    pub(super) panel: Panel,
    /// The first line of the panel that is shown; in the log, how many of the newest lines are below the screen.
    pub(super) offset: usize,
    pub(super) instances: Vec<InstanceInfo>,
    pub(super) seen: BTreeMap<String, Seen>,
    /// Why an instance is not seen.
    pub(super) gone: BTreeMap<String, String>,
    pub(super) log: VecDeque<String>,
    /// What came of the last key, when that is worth a word.
    pub(super) note: Option<String>,
}

impl Model {
    pub(super) fn new(instance: &str, all: bool) -> Self {
        Self {
            instance: instance.to_owned(),
            all,
            panel: Panel::Overview,
            offset: 0,
            instances: Vec::new(),
            seen: BTreeMap::new(),
            gone: BTreeMap::new(),
            log: VecDeque::new(),
            note: None,
        }
    }

    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::Overview(name, overview) => {
                self.gone.remove(&name);
                self.seen.insert(name, Seen { overview: *overview, at: Instant::now() });
            }
            Message::Gone(name, why) => {
                self.seen.remove(&name);
                self.gone.insert(name, why);
            }
            Message::Note(note) => self.note = Some(note),
            Message::Instances(instances) => self.instances = instances,
            Message::Log(name, lines) if name == self.instance => {
                self.log.extend(lines);
                let excess = self.log.len().saturating_sub(LOG_LINES);
                self.log.drain(..excess);
            }
            Message::Log(..) | Message::Key(_) | Message::Redraw => {}
        }
    }

    /// The job that keys act on: the first that is shown.
    pub(super) fn chosen_job(&self) -> Option<&OfLibrary<JobInfo>> {
        let seen = self.seen.get(&self.instance).filter(|_| self.panel == Panel::Jobs && !self.all)?;
        seen.overview.jobs.get(self.offset)
    }

    pub(super) fn select(&mut self, panel: Panel) {
        (self.panel, self.offset, self.all) = (panel, 0, false);
    }

    /// Goes to the next instance, in the order of the list.
    pub(super) fn next_instance(&mut self) {
        let names: Vec<&String> = self.instances.iter().map(|instance| &instance.name).collect();
        let here = names.iter().position(|name| **name == self.instance);
        let next = here.map_or(0, |here| (here + 1) % names.len().max(1));
        if let Some(name) = names.get(next).map(|name| (*name).clone())
            && name != self.instance
        {
            self.instance = name;
            self.offset = 0;
            self.log.clear();
        }
    }

    /// How many lines the panel has; the view shows what fits.
    fn lines(&self) -> usize {
        let overview = self.seen.get(&self.instance).map(|seen| &seen.overview);
        match self.panel {
            Panel::Overview => 0,
            Panel::Libraries => overview.map_or(0, |overview| overview.libraries.len()),
            Panel::Locations => overview.map_or(0, |overview| overview.locations.len()),
            Panel::Jobs => overview.map_or(0, |overview| overview.jobs.len()),
            Panel::Devices => overview.map_or(0, |overview| overview.devices.len()),
            Panel::Log => self.log.len(),
            Panel::Instances => self.instances.len(),
        }
    }

    pub(super) fn scroll(&mut self, by: isize) {
        // The log is read from its end.
        let by = if self.panel == Panel::Log { -by } else { by };
        self.offset = self.offset.saturating_add_signed(by).min(self.lines().saturating_sub(1));
    }
}
