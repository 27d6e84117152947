//! `network …`: the device's identity, networking on and off.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use spacedrive_api::client::Client;
use spacedrive_api::{
    ApiError, KdfCost, NetworkInfo, NetworkInit, NetworkPasswd, NetworkReset, NetworkStart, NetworkStatus, NetworkStop,
    Networking, Result, Secret,
};

use crate::connect::connect;
use crate::output::printable;
use crate::password::{self, PasswordArgs};
use crate::session::Session;
use crate::{device, drop, pairing};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make this device's identity, or unlock it
    Init(InitArgs),
    /// Switch networking on, and remember it
    Start,
    /// Switch networking off, and remember it
    Stop,
    /// Show how networking stands, this device's id and its addresses
    Status,
    /// Change the password of this device's identity
    Passwd(PasswdArgs),
    /// Destroy this device's identity and all its pairings
    Reset {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// List the paired devices
    Devices,
    /// Forget a device: it cannot connect any more, and open connections close
    Revoke {
        /// Its name, id, or a unique beginning of the id
        device: String,
    },
    /// Send files and folders to a paired device
    Spacedrop(drop::SendArgs),
    /// Show and decide what other devices send
    #[command(subcommand)]
    Drops(drop::Command),
    /// Say what happens to what a device sends
    Trust(drop::TrustArgs),
    /// Pair with another device
    #[command(subcommand)]
    Pair(pairing::Command),
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    password: PasswordArgs,
    /// Do not seal the identity: whoever can read its file can be this device
    #[arg(long, conflicts_with = "password_source")]
    no_password: bool,
    /// The cost of trying a password: KiB of memory, passes, lanes
    #[arg(long, hide = true, value_name = "M,T,P", value_parser = cost)]
    kdf: Option<KdfCost>,
}

#[derive(Debug, Args)]
pub(crate) struct PasswdArgs {
    #[command(flatten)]
    password: PasswordArgs,
    /// Read the new password from the first line of a file
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Do not seal the identity any more
    #[arg(long, conflicts_with = "new_password_file")]
    no_password: bool,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::Init(args) => init(session, args).await,
        Command::Start => {
            let info = connect(session).await?.call(NetworkStart {}).await?;
            session.output.result(&info, || format!("Networking is {}", crate::daemon::networking(info.networking)));
            next_step(session, &info);
            Ok(())
        }
        Command::Stop => {
            let info = connect(session).await?.call(NetworkStop {}).await?;
            session.output.result(&info, || "Networking is off".to_owned());
            Ok(())
        }
        Command::Status => {
            let info = connect(session).await?.call(NetworkStatus {}).await?;
            session.output.result(&info, || text(&info));
            Ok(())
        }
        Command::Passwd(args) => passwd(session, args).await,
        Command::Reset { yes } => reset(session, yes).await,
        Command::Devices => device::list(session).await,
        Command::Revoke { device } => device::revoke(session, device).await,
        Command::Spacedrop(args) => drop::send(session, args).await,
        Command::Drops(command) => drop::run(session, command).await,
        Command::Trust(args) => drop::trust(session, args).await,
        Command::Pair(command) => pairing::run(session, command).await,
    }
}

async fn init(session: &Session, args: InitArgs) -> Result<()> {
    let mut client = connect(session).await?;
    let is_new = client.call(NetworkStatus {}).await?.id.is_none();
    let password = if args.no_password {
        session.output.warning("the identity is not sealed: whoever can read its file can be this device");
        None
    } else {
        let prompt = if is_new { "New password: " } else { "Password: " };
        match args.password.read(session, prompt, is_new)? {
            None if is_new => return Err(password::missing()),
            // An identity that is not sealed needs none; the daemon knows.
            password => password,
        }
    };
    let done = client.call(NetworkInit { password, cost: args.kdf }).await?;
    let id = done.network.id.clone().unwrap_or_default();
    session.output.result(&done, || {
        let what = if done.created { "Made the identity of this device" } else { "Unlocked the identity of this device" };
        format!("{what}: {id}\nNetworking is {}", crate::daemon::networking(done.network.networking))
    });
    next_step(session, &done.network);
    Ok(())
}

async fn passwd(session: &Session, args: PasswdArgs) -> Result<()> {
    let mut client = connect(session).await?;
    let old = args.password.read(session, "Old password: ", false)?;
    let new = match args.new_password_file {
        _ if args.no_password => None,
        Some(path) => Some(Secret::from(password::from_file(&path)?)),
        None => Some(new_password(&mut client).await?),
    };
    let info = client.call(NetworkPasswd { old, new }).await?;
    session.output.result(&info, || "Changed the password".to_owned());
    Ok(())
}

async fn new_password(client: &mut Client) -> Result<Secret> {
    use std::io::IsTerminal;
    if client.call(NetworkStatus {}).await?.id.is_none() {
        return Err(ApiError::refused("this instance has no network identity yet").hint("spacedrive network init"));
    }
    if !std::io::stdin().is_terminal() {
        return Err(ApiError::invalid("no new password was given, and there is no terminal to ask on")
            .hint("--new-password-file FILE, or --no-password"));
    }
    let new = password::ask("New password: ")?;
    if *password::ask("The same again: ")? != *new {
        return Err(ApiError::invalid("the two passwords differ"));
    }
    Ok(Secret::from(new))
}

async fn reset(session: &Session, yes: bool) -> Result<()> {
    let question = format!("Destroy the identity of instance `{}` and all its pairings?", session.name);
    if !yes && !session.output.confirm(&question) {
        return Err(ApiError::invalid("nothing was reset: nobody confirmed it").hint("say --yes"));
    }
    let done = connect(session).await?.call(NetworkReset {}).await?;
    session.output.result(&done, || match &done.backup {
        Some(backup) => format!("Destroyed the identity; the old one lies in {}", printable(&backup.to_string_lossy())),
        None => "There was no identity".to_owned(),
    });
    Ok(())
}

/// Networking for a person.
pub(crate) fn text(info: &NetworkInfo) -> String {
    let mut lines = vec![
        format!("Networking: {}", crate::daemon::networking(info.networking)),
        format!("Name: {}", printable(&info.name)),
        format!("Id: {}", info.id.as_deref().unwrap_or("none yet")),
        format!("Discovery: {}", info.discovery),
    ];
    lines.extend(info.addresses.iter().map(|address| format!("Address: {address}")));
    lines.join("\n")
}

/// What to do next, where there is something to do.
fn next_step(session: &Session, info: &NetworkInfo) {
    match info.networking {
        Networking::Off => session.output.note(format!("switch it on: {}", session.command("network start"))),
        Networking::Uninitialised => session.output.note(format!("make an identity: {}", session.command("network init"))),
        Networking::Locked => session.output.note(format!("give the password: {}", session.command("network init"))),
        Networking::On => {}
    }
}

fn cost(text: &str) -> std::result::Result<KdfCost, String> {
    let numbers: Vec<u32> = text.split(',').map(str::parse).collect::<std::result::Result<_, _>>().map_err(|e| format!("{e}"))?;
    match numbers[..] {
        [m_kib, t, p] => Ok(KdfCost { m_kib, t, p }),
        _ => Err("not three numbers".to_owned()),
    }
}
