//! How it is drawn. No colours: bold, dim and reversed are enough, and right on every terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table, Tabs};
use spacedrive_api::{DeviceState, Overview};

use super::model::{Model, Panel, Seen};
use crate::daemon::networking;
use crate::output::{duration, printable};

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Below this width words that only explain are left out.
const NARROW: u16 = 60;

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    if model.all {
        frame.render_widget(Line::styled("All instances", BOLD), head);
        side_by_side(frame, model, body);
    } else {
        let titles = Panel::ALL.iter().enumerate().map(|(at, panel)| match head.width < NARROW {
            true => (at + 1).to_string(),
            false => format!("{} {}", at + 1, panel.title()),
        });
        frame.render_widget(Tabs::new(titles).select(model.panel.index()).highlight_style(CHOSEN), head);
        let title = format!(" {} · {} ", model.instance, model.panel.title());
        let block = Block::bordered().title(Line::styled(title, BOLD));
        let inner = block.inner(body);
        frame.render_widget(block, body);
        panel(frame, model, inner);
    }
    if let Some(note) = &model.note {
        frame.render_widget(Line::styled(note.as_str(), BOLD), foot);
        return;
    }
    let keys = if model.panel == Panel::Jobs && !model.all {
        "q leave   p pause   r resume   c cancel   ↑↓ choose"
    } else if foot.width < NARROW {
        "q i a Tab"
    } else {
        "q leave   i next instance   a all instances   Tab panel   ↑↓ scroll"
    };
    frame.render_widget(Line::styled(keys, DIM), foot);
}

fn panel(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let seen = model.seen.get(&model.instance);
    match (model.panel, seen) {
        (Panel::Log, _) => log(frame, model, area),
        (Panel::Instances, _) => instances(frame, model, area),
        (_, None) => {
            let why = model.gone.get(&model.instance).map_or("waiting for its daemon", String::as_str);
            let lines =
                vec![Line::raw(format!("Instance `{}`: {}", model.instance, printable(why))), Line::styled(start(model), DIM)];
            frame.render_widget(Paragraph::new(lines), area);
        }
        (Panel::Overview, Some(seen)) => frame.render_widget(Paragraph::new(summary(seen)), area),
        (Panel::Libraries, Some(seen)) => libraries(frame, seen, model.offset, area),
        (Panel::Locations, Some(seen)) => locations(frame, seen, model.offset, area),
        (Panel::Jobs, Some(seen)) => jobs(frame, seen, model.offset, area),
        (Panel::Devices, Some(seen)) => devices(frame, seen, model.offset, area),
    }
}

fn start(model: &Model) -> String {
    format!("To start it: spacedrive instance start {}", model.instance)
}

/// The facts about one instance, a line each.
fn facts(overview: &Overview, uptime_s: u64) -> Vec<(&'static str, String)> {
    let daemon = &overview.daemon;
    let connected = overview.devices.iter().filter(|device| device.status == DeviceState::Connected).count();
    let files: u64 = overview.locations.iter().map(|location| location.item.files).sum();
    let under_way = overview.jobs.iter().filter(|job| !job.item.status.ended()).count();
    let mut facts = vec![
        ("Pid", daemon.pid.to_string()),
        ("Uptime", duration(uptime_s)),
        ("Version", printable(&daemon.version)),
        ("Data", printable(&daemon.data_dir.to_string_lossy())),
        ("Libraries", overview.libraries.len().to_string()),
        ("Files", files.to_string()),
        ("Jobs", format!("{under_way} under way")),
        ("Networking", networking(overview.network.networking).to_owned()),
        ("Devices", format!("{connected} of {} connected", overview.devices.len())),
    ];
    if !overview.network.addresses.is_empty() {
        facts.push(("Addresses", overview.network.addresses.join(", ")));
    }
    if !overview.pairings.is_empty() {
        facts.push(("Waiting", format!("{} to be accepted: spacedrive network pair list-pending", overview.pairings.len())));
    }
    facts.extend(overview.libraries.iter().filter_map(|library| {
        let problem = library.problem.as_ref()?;
        Some(("Problem", printable(problem)))
    }));
    facts
}

fn summary(seen: &Seen) -> Vec<Line<'static>> {
    let facts = facts(&seen.overview, seen.uptime_s());
    facts.into_iter().map(|(name, value)| Line::raw(format!("{name:<11}{value}"))).collect()
}

/// The same for `--once`.
pub(super) fn text(overview: &Overview) -> String {
    let mut lines = vec![format!("Instance `{}` is running", overview.daemon.name)];
    lines.extend(facts(overview, overview.daemon.uptime_s).into_iter().map(|(name, value)| format!("{name}: {value}")));
    let libraries = overview.libraries.iter().map(|library| format!("Library: {} ({})", printable(&library.name), library.id));
    let devices = overview.devices.iter().map(|device| format!("Device: {} ({})", printable(&device.name), state(device.status)));
    lines.extend(libraries.chain(devices));
    lines.join("\n")
}

fn state(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Connected => "connected",
        DeviceState::Offline => "offline",
    }
}

fn table<const N: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    head: [&'static str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    widths: [Constraint; N],
) {
    let rows = rows.into_iter().map(|cells| Row::new(cells.map(|cell| printable(&cell))));
    frame.render_widget(Table::new(rows, widths).header(Row::new(head).style(BOLD)).column_spacing(2), area);
}

fn libraries(frame: &mut Frame<'_>, seen: &Seen, offset: usize, area: Rect) {
    let rows = seen.overview.libraries.iter().skip(offset).map(|library| {
        [
            library.name.clone(),
            word(&library.state),
            format!("{} kB", library.bytes / 1000),
            library.path.to_string_lossy().into_owned(),
        ]
    });
    let widths = [Constraint::Min(12), Constraint::Length(8), Constraint::Length(12), Constraint::Fill(2)];
    table(frame, area, ["LIBRARY", "STATE", "DATABASE", "PATH"], rows, widths);
}

/// The name that a value has in JSON.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn locations(frame: &mut Frame<'_>, seen: &Seen, offset: usize, area: Rect) {
    let rows = seen.overview.locations.iter().skip(offset).map(|location| {
        let item = &location.item;
        let path = item.path.to_string_lossy().into_owned();
        [item.name.clone(), word(&item.state), item.files.to_string(), location.library.clone(), path]
    });
    let widths = [Constraint::Min(12), Constraint::Length(9), Constraint::Length(9), Constraint::Length(12), Constraint::Fill(2)];
    table(frame, area, ["LOCATION", "STATE", "FILES", "LIBRARY", "PATH"], rows, widths);
}

fn jobs(frame: &mut Frame<'_>, seen: &Seen, offset: usize, area: Rect) {
    let rows = seen.overview.jobs.iter().skip(offset).map(|job| {
        let item = &job.item;
        let done = match item.total {
            Some(total) if total > 0 => format!("{}% of {total} {}", item.done.min(total) * 100 / total, item.unit),
            _ => format!("{} {}", item.done, item.unit),
        };
        [item.id.to_string().chars().take(8).collect(), item.kind.clone(), word(&item.status), done, item.message.clone()]
    });
    let widths =
        [Constraint::Length(8), Constraint::Length(10), Constraint::Length(10), Constraint::Min(16), Constraint::Fill(2)];
    table(frame, area, ["JOB", "KIND", "STATUS", "DONE", "NOW"], rows, widths);
}

fn devices(frame: &mut Frame<'_>, seen: &Seen, offset: usize, area: Rect) {
    let rows = seen.overview.devices.iter().skip(offset).map(|device| {
        let last = device.last_seen.map_or_else(|| "never".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
        [device.name.clone(), state(device.status).to_owned(), last, device.id.chars().take(16).collect()]
    });
    let widths = [Constraint::Min(12), Constraint::Length(10), Constraint::Length(21), Constraint::Length(16)];
    table(frame, area, ["DEVICE", "STATE", "LAST SEEN", "FINGERPRINT"], rows, widths);
}

fn instances(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let rows = model.instances.iter().skip(model.offset).map(|instance| {
        let here = if instance.name == model.instance { "*" } else { "" };
        let pid = instance.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let dir = instance.data_dir.as_ref().map_or_else(|| "-".to_owned(), |dir| dir.to_string_lossy().into_owned());
        [here.to_owned(), instance.name.clone(), crate::instance::word(instance.status).to_owned(), pid, dir]
    });
    let widths = [Constraint::Length(1), Constraint::Min(12), Constraint::Length(12), Constraint::Length(8), Constraint::Fill(2)];
    table(frame, area, ["", "INSTANCE", "STATUS", "PID", "DATA"], rows, widths);
}

fn log(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let end = model.log.len() - model.offset.min(model.log.len());
    let begin = end.saturating_sub(area.height.into());
    let lines: Vec<Line<'_>> = model.log.range(begin..end).map(|line| Line::raw(line.as_str())).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// One column an instance; those that do not fit are named below.
fn side_by_side(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    const COLUMN: u16 = 32;
    let fit = usize::from((area.width / COLUMN).max(1));
    let shown: Vec<_> = model.instances.iter().take(fit).collect();
    if shown.is_empty() {
        frame.render_widget(Paragraph::new("No instances"), area);
        return;
    }
    let columns = Layout::horizontal(vec![Constraint::Fill(1); shown.len()]).split(area);
    for (instance, column) in shown.iter().zip(columns.iter()) {
        let mut block = Block::bordered().title(Line::styled(format!(" {} ", instance.name), BOLD));
        let hidden = model.instances.len() - shown.len();
        if hidden > 0 {
            block = block.title_bottom(format!(" {hidden} more: a wider terminal shows them "));
        }
        let lines = match model.seen.get(&instance.name) {
            Some(seen) => summary(seen),
            None => vec![Line::styled(crate::instance::word(instance.status), DIM)],
        };
        let inner = block.inner(*column);
        frame.render_widget(block, *column);
        frame.render_widget(Paragraph::new(lines), inner);
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
