//! `instance doctor`: every check, with the command that mends what it found.

use clap::Args;
use serde::Serialize;
use spacedrive_api::client::Client;
use spacedrive_api::{ApiError, LibraryList, LibraryState, LocationList, NetworkStatus, Result, locate};
use spacedrive_daemon::doctor::{self as stopped, Finding, Patient, Verdict, examine};

use super::{existing, named};
use crate::connect::attempt;
use crate::output::printable;
use crate::session::{NameOrigin, Session};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  spacedrive instance doctor\n  spacedrive instance doctor alice --fix\n  spacedrive instance doctor --json"
)]
pub(crate) struct Arguments {
    /// Its name [default: every instance]
    name: Option<String>,
    /// Mend what can be mended without asking: permissions, records, what dead daemons left behind
    #[arg(long)]
    fix: bool,
}

#[derive(Serialize)]
struct Told {
    instance: String,
    #[serde(flatten)]
    finding: Finding,
}

pub(crate) async fn doctor(session: &Session, args: &Arguments) -> Result<()> {
    let sessions = match (&args.name, session.name_origin) {
        (Some(name), _) => vec![existing(session, name, "doctor")?],
        (None, NameOrigin::Default) => {
            let known = locate::known(&session.places).into_keys();
            known.map(|name| named(session, name.as_str(), "doctor")).collect::<Result<_>>()?
        }
        (None, _) => vec![existing(session, session.name.as_str(), "doctor")?],
    };
    let mut findings = Vec::new();
    for session in &sessions {
        let (mut daemon, mut told) = (None, stopped::Told::default());
        if let Ok(mut client) = attempt(session).await? {
            daemon = client.info().await.ok();
            if daemon.as_ref().is_some_and(|daemon| daemon.protocol == spacedrive_api::protocol()) {
                told = ask(&mut client).await;
            }
        }
        let patient = Patient::new(&session.places, &session.name, daemon, told, args.fix).await;
        let instance = session.name.to_string();
        findings.extend(examine(&patient).into_iter().map(|finding| Told { instance: instance.clone(), finding }));
    }
    session.output.result(&findings, || text(&findings));
    let failures = findings.iter().filter(|t| t.finding.verdict == Verdict::Failure && !t.finding.fixed).count();
    match failures {
        0 => Ok(()),
        1 => Err(ApiError::failed("1 check failed")),
        n => Err(ApiError::failed(format!("{n} checks failed"))),
    }
}

/// What a daemon of this version tells about itself; what it does not tell in time is not looked at.
async fn ask(client: &mut Client) -> stopped::Told {
    let mut told = stopped::Told { network: client.call(NetworkStatus {}).await.ok(), folders: None };
    let Ok(libraries) = client.call(LibraryList {}).await else { return told };
    let mut folders = 0;
    for library in libraries.iter().filter(|library| library.state == LibraryState::Open) {
        let locations = client.call(LocationList { library: library.id.to_string() }).await;
        folders += locations.unwrap_or_default().iter().map(|location| location.dirs + 1).sum::<u64>();
    }
    told.folders = Some(folders);
    told
}

fn text(told: &[Told]) -> String {
    if told.is_empty() {
        return "No instances".to_owned();
    }
    let mut lines = Vec::new();
    let mut instance = "";
    for Told { instance: of, finding } in told {
        if instance != of {
            instance = of;
            lines.push(format!("Instance `{instance}`"));
        }
        let mark = match (finding.fixed, finding.verdict) {
            (true, _) => "mended ",
            (_, Verdict::Ok) => "ok     ",
            (_, Verdict::Warning) => "warning",
            (_, Verdict::Failure) => "FAILURE",
        };
        lines.push(format!("  {mark}  {}: {}", finding.check, printable(&finding.message)));
        if let Some(mend) = finding.mend.as_ref().filter(|mend| !mend.is_empty() && !finding.fixed) {
            lines.push(format!("           -> {}", printable(mend)));
        }
    }
    lines.join("\n")
}
