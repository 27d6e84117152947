//! `man`: the manual pages, made from the program's own help.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::{Args, CommandFactory};
use clap_mangen::Man;
use spacedrive_api::{ApiError, Result};

use crate::args::Cli;
use crate::examples;
use crate::session::Session;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  spacedrive man\n  spacedrive man instance clone\n  spacedrive man --dir ~/.local/share/man/man1"
)]
pub(crate) struct Arguments {
    /// The command whose page is shown [default: the program's]
    command: Vec<String>,
    /// Write all pages into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

/// Shows a page: in the pager of `man` on a terminal, else as it is.
pub(crate) fn man(session: &Session, args: &Arguments) -> Result<()> {
    let mut program = examples::add(Cli::command());
    program.build();
    if let Some(dir) = &args.dir {
        let dir = session.places.current.join(dir);
        fs::create_dir_all(&dir).map_err(|e| ApiError::io(dir.display(), &e))?;
        let mut pages = Vec::new();
        write_all(&program, &dir, &mut pages)?;
        session.output.result(&pages, || format!("Wrote {} pages to {}", pages.len(), dir.display()));
        return Ok(());
    }
    let mut command = &program;
    for name in &args.command {
        let names = || command.get_subcommands().map(|c| c.get_name().to_owned()).collect::<Vec<_>>();
        command = command.find_subcommand(name).ok_or_else(|| {
            let error = ApiError::not_found(format!("no command `{}`", name.escape_debug()));
            match spacedrive_api::nearest(name, &names()).as_slice() {
                [] => error.hint("spacedrive --help"),
                near => error.hint(format!("did you mean {}?", near.join(" or "))),
            }
        })?;
    }
    let page = render(command)?;
    if session.output.is_terminal() && show_by_man(&page) {
        return Ok(());
    }
    session.output.line(String::from_utf8_lossy(&page).trim_end());
    Ok(())
}

fn render(command: &clap::Command) -> Result<Vec<u8>> {
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone().name(title)).render(&mut page).map_err(|e| ApiError::io("the page", &e))?;
    Ok(page)
}

/// One page a command: `spacedrive.1`, `spacedrive-instance-clone.1`.
fn write_all(command: &clap::Command, dir: &std::path::Path, pages: &mut Vec<String>) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = dir.join(format!("{name}.1"));
    fs::write(&path, render(command)?).map_err(|e| ApiError::io(path.display(), &e))?;
    pages.push(path.to_string_lossy().into_owned());
    for subcommand in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        write_all(subcommand, dir, pages)?;
    }
    Ok(())
}

/// Whether `man` could show it.
fn show_by_man(page: &[u8]) -> bool {
    let Ok(mut child) = Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn() else {
        return false;
    };
    // Closed before the wait; that the reader went away is no failure.
    drop(child.stdin.take().map(|mut stdin| stdin.write_all(page)));
    child.wait().is_ok_and(|status| status.success())
}
