//! `duplicates`: files with equal content.

use std::path::PathBuf;

use clap::Args;
use spacedrive_api::{ApiError, Duplicates, Result};

use crate::library::Target;
use crate::location::absolute;
use crate::output::{printable, size};
use crate::search::parse_size;
use crate::session::Session;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only files of at least this size (such as 10M)
    #[arg(long, value_name = "SIZE")]
    min_size: Option<String>,
    /// Only in this location
    #[arg(long, value_name = "NAME|ID")]
    location: Option<String>,
    /// Only below this folder
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
}

pub(crate) async fn duplicates(session: &Session, args: Arguments) -> Result<()> {
    let (mut client, library) = Target::current(session).await?;
    let min_size = args
        .min_size
        .map(|text| {
            parse_size(text.trim_start_matches('+'))
                .ok_or_else(|| ApiError::invalid(format!("invalid size `{}`: such as 10M or 512", text.escape_debug())))
        })
        .transpose()?;
    let path = args.path.map(|path| {
        let path = absolute(session, &path);
        path.canonicalize().unwrap_or(path).into()
    });
    let found = client.call(Duplicates { library, min_size, location: args.location, path }).await?;
    let output = &session.output;
    for group in &found.groups {
        if output.is_json() {
            output.document(group);
            continue;
        }
        output.line(format!(
            "{} each, {} to gain ({})",
            size(group.size),
            size(group.reclaimable),
            &group.hash[..16.min(group.hash.len())]
        ));
        group.files.iter().for_each(|file| output.line(format!("  {}", printable(file))));
    }
    if !output.is_json() {
        let groups = found.groups.len();
        output.line(if groups == 0 {
            "No duplicates".to_owned()
        } else {
            format!("{groups} groups, {} to gain", size(found.reclaimable))
        });
    }
    if found.skipped > 0 {
        output.warning(format!("{} files changed, vanished or could not be read, and are in no group", found.skipped));
    }
    Ok(())
}
