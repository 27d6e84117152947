//! `network pair …`: make a code, join with one, accept or reject.

use std::io::IsTerminal;
use std::net::SocketAddr;

use clap::{Args, Subcommand};
use spacedrive_api::client::Client;
use spacedrive_api::{
    ApiError, ErrorKind, Event, PairDecide, PairGenerate, PairGenerated, PairJoin, PairList, PairWatch, PairedDevice,
    PairingInfo, PairingRole, PairingState, Result, Secret,
};
use zeroize::Zeroizing;

use crate::connect::connect;
use crate::output::printable;
use crate::password;
use crate::session::Session;

/// How many digits of an id make its fingerprint.
const FINGERPRINT: usize = 16;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a pairing code for another device, and return at once
    #[command(after_help = "The other device joins with:\n  spacedrive network pair join \"WORD1 … WORD12\"")]
    Generate(GenerateArgs),
    /// Join with the code that another device made
    Join(JoinArgs),
    /// Show every pairing since the daemon started, failed ones too
    Status,
    /// Show the devices that wait to be accepted
    ListPending,
    /// Accept a device that waits
    Accept {
        /// The session's id or a unique beginning of it
        id: String,
    },
    /// Reject a device that waits; the code is void then
    Reject {
        /// The session's id or a unique beginning of it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Accept the first device that has the code, without asking
    #[arg(short, long)]
    auto_accept: bool,
    /// Stay until the pairing ends, and ask here whether to accept
    #[arg(long)]
    wait: bool,
    /// How long the code lives, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    ttl: u64,
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The 12 words, quoted or not; `-` reads them from stdin [env: SPACEDRIVE_PAIR_CODE]
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// The 12 words in one argument
    #[arg(short, long, value_name = "WORDS", conflicts_with = "words")]
    code: Option<String>,
    /// Where the code is offered, if discovery does not find it (`network pair status` shows it there)
    #[arg(long, value_name = "IP:PORT")]
    address: Option<SocketAddr>,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::Generate(args) => generate(session, args).await,
        Command::Join(args) => join(session, args).await,
        Command::Status => list(session, false).await,
        Command::ListPending => list(session, true).await,
        Command::Accept { id } => decide(session, id, true).await,
        Command::Reject { id } => decide(session, id, false).await,
    }
}

async fn generate(session: &Session, args: GenerateArgs) -> Result<()> {
    let mut client = connect(session).await?;
    let generated = client.call(PairGenerate { auto_accept: args.auto_accept, ttl_s: args.ttl }).await?;
    session.output.result(&generated, || format!("Pairing code: {}", generated.code.expose()));
    session.output.note(explanation(session, &generated, &args));
    if args.wait { wait(session, &mut client, &generated).await } else { Ok(()) }
}

fn explanation(session: &Session, generated: &PairGenerated, args: &GenerateArgs) -> String {
    let who = if args.auto_accept {
        "the first device that has it is accepted without asking".to_owned()
    } else if args.wait {
        "you are asked here before a device is accepted".to_owned()
    } else {
        format!(
            "a device that joins waits for: {}",
            session.command(&format!("network pair accept {}", short(&generated.session)))
        )
    };
    format!("valid for {} s, for one device; {who}", args.ttl)
}

/// Stays until the session ends, and asks the person in front of the terminal.
async fn wait(session: &Session, client: &mut Client, generated: &PairGenerated) -> Result<()> {
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let watch = client.watch(PairWatch { session: generated.session }, move |event| {
        if let Event::Pairing(info) = event {
            let _ = sender.send(*info);
        }
    });
    let mut watch = std::pin::pin!(watch);
    let ended = loop {
        tokio::select! {
            ended = &mut watch => break ended?,
            Some(info) = asked.recv() => {
                if info.state == PairingState::Deciding && std::io::stdin().is_terminal() {
                    ask(session, info).await?;
                }
            }
        }
    };
    outcome(session, &ended)
}

/// Asks whether to accept, on a thread of its own: the other side may leave meanwhile.
async fn ask(session: &Session, info: PairingInfo) -> Result<()> {
    let output = session.output.clone();
    let question = format!("{}\nAccept it?", request(&info));
    let accept = tokio::task::spawn_blocking(move || output.confirm(&question)).await.unwrap_or(false);
    // Another connection, for the first one watches. That the request is over by now is told by the watcher.
    match connect(session).await?.call(PairDecide { session: info.id.to_string(), accept }).await {
        Err(error) if error.kind != ErrorKind::Conflict => Err(error),
        _ => Ok(()),
    }
}

/// The result of a session that ended.
fn outcome(session: &Session, info: &PairingInfo) -> Result<()> {
    let reason = info.reason.as_deref().unwrap_or_default();
    match info.state {
        PairingState::Paired | PairingState::Unconfirmed => {
            let name = info.device.as_ref().map(|device| printable(&device.name)).unwrap_or_default();
            session.output.result(info, || format!("Paired with `{name}`"));
            Ok(())
        }
        PairingState::Expired => Err(ApiError::refused("the pairing code expired: nobody joined")),
        PairingState::Rejected => Err(ApiError::refused("the device was rejected; the code is void")),
        PairingState::NoDecision => Err(ApiError::refused("nobody accepted the device in time; the code is void")),
        _ => Err(ApiError::refused(format!("pairing failed: {}", printable(reason)))),
    }
}

async fn join(session: &Session, args: JoinArgs) -> Result<()> {
    let code = code(args.words, args.code)?;
    let mut client = connect(session).await?;
    let output = session.output.clone();
    let joined = client
        .watch(PairJoin { code, address: args.address }, move |event| {
            if let Event::Pairing(info) = event {
                output.note(format!("{}\nIt has to be accepted on that device; compare the check number there", request(&info)));
            }
        })
        .await?;
    session.output.result(&joined, || {
        let (name, id) = (printable(&joined.device.name), &joined.device.id);
        if joined.already { format!("Already paired with `{name}` ({id})") } else { format!("Paired with `{name}` ({id})") }
    });
    Ok(())
}

/// The code, from the first source that has one: the arguments (`-` is stdin), `SPACEDRIVE_PAIR_CODE`, a prompt.
fn code(words: Vec<String>, code: Option<String>) -> Result<Secret> {
    let text = match (code, &words[..]) {
        (Some(code), _) => Zeroizing::new(code),
        (None, [dash]) if dash == "-" => password::all(std::io::stdin().lock(), "stdin")?,
        (None, [_, ..]) => Zeroizing::new(words.join(" ")),
        (None, []) => match password::from_environment("SPACEDRIVE_PAIR_CODE")? {
            Some(code) => code,
            None if std::io::stdin().is_terminal() => password::ask("Pairing code: ")?,
            None => {
                return Err(ApiError::invalid("no pairing code was given, and there is no terminal to ask on")
                    .hint("give the 12 words, or `-` to read them from stdin"));
            }
        },
    };
    Ok(Secret::from(text))
}

async fn list(session: &Session, pending: bool) -> Result<()> {
    let sessions = connect(session).await?.call(PairList { pending }).await?;
    session.output.result(&sessions, || {
        if sessions.is_empty() {
            return if pending { "Nobody waits to be accepted" } else { "No pairing since the daemon started" }.to_owned();
        }
        sessions.iter().map(text).collect::<Vec<_>>().join("\n\n")
    });
    Ok(())
}

async fn decide(session: &Session, id: String, accept: bool) -> Result<()> {
    let mut client = connect(session).await?;
    let decided = client.call(PairDecide { session: id, accept }).await?;
    // The pairing is done when both sides have stored each other.
    let ended = client.call(PairWatch { session: decided.id }).await?;
    if !accept && ended.state == PairingState::Rejected {
        session.output.result(&ended, || "Rejected; the code is void".to_owned());
        return Ok(());
    }
    outcome(session, &ended)
}

/// A joiner's request, or the joiner's own, for a person.
fn request(info: &PairingInfo) -> String {
    let (name, id) = peer(info.device.as_ref());
    let check = info.check.as_deref().unwrap_or("-");
    let who = match info.role {
        PairingRole::Initiator => "wants to pair",
        PairingRole::Joiner => "offers this code",
    };
    format!("`{name}` {who}\nFingerprint: {id}\nCheck number: {check}")
}

/// A session for a person.
fn text(info: &PairingInfo) -> String {
    let (name, id) = peer(info.device.as_ref());
    let mut lines = vec![
        format!("Session: {}", info.id),
        format!("State: {}", state(info.state)),
        format!("Code: {}", if info.role == PairingRole::Initiator { "made here" } else { "joined" }),
        format!("Began: {}", info.created_at),
    ];
    if info.device.is_some() {
        lines.push(format!("Device: {name}, fingerprint {id}"));
    }
    if info.state == PairingState::Deciding {
        lines.extend(info.check.as_ref().map(|check| format!("Check number: {check}")));
    }
    if info.state == PairingState::Waiting && info.role == PairingRole::Initiator {
        lines.extend(info.expires_at.map(|at| format!("Expires: {at}")));
        let addresses: Vec<String> = info.addresses.iter().map(ToString::to_string).collect();
        lines.push(format!("Addresses: {}", addresses.join(" ")));
    }
    if info.wrong_proofs > 0 {
        lines.push(format!("Wrong proofs: {}", info.wrong_proofs));
    }
    lines.extend(info.reason.as_ref().map(|reason| format!("Reason: {}", printable(reason))));
    lines.join("\n")
}

fn peer(device: Option<&PairedDevice>) -> (String, String) {
    match device {
        Some(device) => (printable(&device.name), device.id.chars().take(FINGERPRINT).collect()),
        None => ("an unknown device".to_owned(), "-".to_owned()),
    }
}

fn state(state: PairingState) -> &'static str {
    match state {
        PairingState::Waiting => "waiting for the other device",
        PairingState::Proving => "both sides prove themselves",
        PairingState::Deciding => "waiting to be accepted",
        PairingState::Paired => "paired",
        PairingState::Unconfirmed => "stored here, not confirmed by the other device yet",
        PairingState::Expired => "expired",
        PairingState::Rejected => "rejected",
        PairingState::NoDecision => "not accepted in time",
        PairingState::Failed => "failed",
        PairingState::Unknown => "unknown",
    }
}

fn short(id: &uuid::Uuid) -> String {
    id.to_string().chars().take(8).collect()
}
