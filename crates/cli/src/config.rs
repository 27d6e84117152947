//! `config`: every setting, its value, and what gave it that value.

use clap::{Args, Subcommand};
use serde::Serialize;
use spacedrive_api::instance::DataFiles;
use spacedrive_api::locate::{self, Origin};
use spacedrive_api::{ApiError, ConfigKey, ConfigSet, Result};

use crate::connect::{attempt, connect_now};
use crate::output;
use crate::session::{NameOrigin, Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List every setting
    #[command(after_help = "Examples:\n  spacedrive config list\n  spacedrive config list --show-origin")]
    List {
        /// Tell what gave each its value: a flag, the environment, spacedrive.json, or the default
        #[arg(long)]
        show_origin: bool,
    },
    /// Print the value of one setting
    #[command(after_help = "Examples:\n  spacedrive config get log\n  spacedrive config get data_dir")]
    Get {
        /// Its name
        key: String,
    },
    /// Change a setting in spacedrive.json, for the next start
    #[command(
        after_help = "Examples:\n  spacedrive config set mdns false\n  spacedrive config set log info,spacedrive_core=debug\n  spacedrive config set log --default"
    )]
    Set(Set),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Its name: networking, mdns or log
    key: String,
    /// Its new value
    #[arg(required_unless_present = "default", conflicts_with = "default")]
    value: Option<String>,
    /// Go back to the default
    #[arg(long)]
    default: bool,
}

/// One setting, and where its value comes from.
#[derive(Debug, Serialize)]
struct Setting {
    key: &'static str,
    value: String,
    origin: &'static str,
    /// The flag, variable or file that the value stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

const FLAG: &str = "flag";
const ENVIRONMENT: &str = "environment";
const FILE: &str = "file";
const DEFAULT: &str = "default";

pub(crate) async fn run(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::List { show_origin } => list(session, show_origin),
        Command::Get { key } => {
            let settings = settings(session)?;
            let names: Vec<String> = settings.iter().map(|setting| setting.key.to_owned()).collect();
            let setting = settings.into_iter().find(|setting| setting.key == key).ok_or_else(|| unknown(&key, &names))?;
            session.output.result(&setting, || output::printable(&setting.value));
            Ok(())
        }
        Command::Set(args) => set(session, args).await,
    }
}

fn list(session: &Session, show_origin: bool) -> Result<()> {
    let settings = settings(session)?;
    session.output.result(&settings, || {
        if !show_origin {
            return output::table(["SETTING", "VALUE"], settings.iter().map(|s| [s.key.to_owned(), s.value.clone()]));
        }
        let rows = settings.iter().map(|s| {
            let origin = s.place.as_ref().map_or_else(|| s.origin.to_owned(), |place| format!("{} ({place})", s.origin));
            [s.key.to_owned(), s.value.clone(), origin]
        });
        output::table(["SETTING", "VALUE", "ORIGIN"], rows)
    });
    Ok(())
}

fn unknown(key: &str, names: &[String]) -> ApiError {
    let error = ApiError::not_found(format!("no setting `{}`", key.escape_debug()));
    match spacedrive_api::nearest(key, names).as_slice() {
        [] => error.hint("spacedrive config list"),
        near => error.hint(format!("did you mean {}?", near.join(" or "))),
    }
}

/// All settings, each from the first that gives it: flag, environment, `spacedrive.json`, default.
fn settings(session: &Session) -> Result<Vec<Setting>> {
    let flag = |name: &str| (FLAG, Some(name.to_owned()));
    let environment = |name: &str| (ENVIRONMENT, Some(name.to_owned()));
    let (origin, place) = match session.name_origin {
        NameOrigin::Flag => flag("--instance"),
        NameOrigin::Environment => environment("SPACEDRIVE_INSTANCE"),
        NameOrigin::Default => (DEFAULT, None),
    };
    let mut all = vec![Setting { key: "instance", value: session.name.to_string(), origin, place }];

    let chosen = locate::data_dir_for_start(&session.places, &session.name, session.data_dir.as_deref())?;
    let record = session.places.record(&session.name).map(|path| path.to_string_lossy().into_owned());
    let (origin, place) = match chosen.origin {
        Origin::Flag => flag("--data-dir"),
        Origin::Environment => environment("SPACEDRIVE_DATA_DIR"),
        Origin::Record => ("record", record),
        Origin::Current | Origin::New => (DEFAULT, None),
    };
    all.push(Setting { key: "data_dir", value: chosen.path.to_string_lossy().into_owned(), origin, place });

    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let (value, (origin, place)) = match session.color {
        Some(color) => (color, flag("--color")),
        None if set("NO_COLOR") => ("never", environment("NO_COLOR")),
        None if std::env::var("CLICOLOR_FORCE").is_ok_and(|v| !v.is_empty() && v != "0") => {
            ("always", environment("CLICOLOR_FORCE"))
        }
        None => ("auto", (DEFAULT, None)),
    };
    all.push(Setting { key: "color", value: value.to_owned(), origin, place });

    let path = DataFiles::new(&chosen.path).config;
    let file = read(&path)?;
    let stored = |key: ConfigKey| match file.get(key.name()) {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    for key in ConfigKey::ALL {
        let variable = std::env::var("SPACEDRIVE_LOG").ok().filter(|value| !value.is_empty());
        let (value, (origin, place)) = match (key, stored(key)) {
            (ConfigKey::Log, _) if session.verbose > 0 => ("debug".to_owned(), flag("--verbose")),
            (ConfigKey::Log, stored) => match (variable, stored) {
                (Some(filter), _) => (filter, environment("SPACEDRIVE_LOG")),
                (None, Some(filter)) => (filter, (FILE, Some(path.to_string_lossy().into_owned()))),
                (None, None) => ("info".to_owned(), (DEFAULT, None)),
            },
            (_, Some(value)) => (value, (FILE, Some(path.to_string_lossy().into_owned()))),
            (ConfigKey::Networking, None) => ("false".to_owned(), (DEFAULT, None)),
            (ConfigKey::Mdns, None) => ("true".to_owned(), (DEFAULT, None)),
        };
        all.push(Setting { key: key.name(), value, origin, place });
    }
    Ok(all)
}

/// The configuration as it stands in the file; nothing when there is none yet.
fn read(path: &std::path::Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(serde_json::Map::new()),
        Err(error) => Err(ApiError::io(path.display(), &error)),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::storage(format!("{}: line {}: {error}", path.display(), error.line())).hint("spacedrive instance doctor")
        }),
    }
}

async fn set(session: &Session, args: Set) -> Result<()> {
    let names: Vec<String> = ConfigKey::ALL.map(|key| key.name().to_owned()).into();
    let key = ConfigKey::ALL.into_iter().find(|key| key.name() == args.key).ok_or_else(|| match args.key.as_str() {
        "instance" | "data_dir" | "color" => ApiError::invalid(format!("`{}` is not kept in a file", args.key))
            .hint("give the flag, or set the variable: spacedrive config list --show-origin"),
        other => unknown(other, &names),
    })?;
    let request = ConfigSet { key, value: args.value };
    let running = attempt(session).await?.is_ok() || locate::is_alive(&session.places, &session.name);
    let changed = if running {
        connect_now(session).await?.call(request).await?
    } else {
        let dir = locate::data_dir_of(&session.places, &session.name, session.data_dir.as_deref())?;
        spacedrive_daemon::instance::configure(&session.places, &session.name, &dir, &request).await?
    };
    session.output.result(&changed, || {
        let value = changed.value.as_deref().unwrap_or("the default");
        let when = if running {
            format!(" from the next start on: spacedrive instance restart {}", session.name)
        } else {
            String::new()
        };
        format!("`{}` of instance `{}` is {}{when}", key.name(), session.name, output::printable(value))
    });
    Ok(())
}
