//! `instance doctor`: every check, with the command that mends what it found.

use clap::Args;
use serde::Serialize;
use spacedrive_api::{ApiError, NetworkStatus, Result, locate};
use spacedrive_daemon::doctor::{Finding, Patient, Verdict, examine};

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
    let mut told = Vec::new();
    for session in &sessions {
        let (mut daemon, mut network) = (None, None);
        if let Ok(mut client) = attempt(session).await? {
            daemon = client.info().await.ok();
            if daemon.as_ref().is_some_and(|daemon| daemon.protocol == spacedrive_api::protocol()) {
                network = client.call(NetworkStatus {}).await.ok();
            }
        }
        let patient = Patient::new(&session.places, &session.name, daemon, network, args.fix).await;
        let instance = session.name.to_string();
        told.extend(examine(&patient).into_iter().map(|finding| Told { instance: instance.clone(), finding }));
    }
    session.output.result(&told, || text(&told));
    let failures = told.iter().filter(|t| t.finding.verdict == Verdict::Failure && !t.finding.fixed).count();
    match failures {
        0 => Ok(()),
        1 => Err(ApiError::failed("1 check failed")),
        n => Err(ApiError::failed(format!("{n} checks failed"))),
    }
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
