//! `spacedrive`: the command line, and the daemon that it starts.

mod args;
mod cli_state;
mod completions;
mod config;
mod connect;
mod daemon;
mod demo;
mod device;
mod drop;
mod duplicates;
mod error;
mod examples;
mod file;
mod index;
mod instance;
mod job;
mod lab;
mod library;
mod location;
mod man;
mod monitor;
mod network;
mod output;
mod pairing;
mod password;
mod search;
mod serve;
mod service;
mod session;
mod start;
mod status;
mod stop;

use std::process::ExitCode;

use args::Command;
use output::Output;
use session::Session;
use spacedrive_api::Result;

fn main() -> ExitCode {
    if let Some(code) = completions::answer() {
        return code;
    }
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let output = Output::new(&cli.global);
    let result = Session::new(&cli.global, output.clone())
        .and_then(|session| run(&session, cli.command).map_err(|error| session.for_this_instance(error)));
    match result {
        Ok(code) => output.lost().map_or(code, |error| output.error(&error)),
        Err(error) => output.error(&error),
    }
}

fn run(session: &Session, command: Command) -> Result<ExitCode> {
    match command {
        // The daemon brings its own threads.
        Command::Start(args) if args.foreground => start::foreground(session, &args)?,
        Command::Serve(args) => serve::run(session, &args)?,
        Command::Lab(args) => lab::keep(session, &args)?,
        Command::Instance(command) => return session::block_on(instance::run(session, command))?,
        other => session::block_on(run_client(session, other))??,
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_client(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::Start(args) => start::background(session, &args).await,
        Command::Stop(args) => stop::stop(session, &args).await,
        Command::Daemon => daemon::daemon(session).await,
        Command::Monitor(args) => monitor::monitor(session, &args).await,
        Command::Status => status::status(session).await,
        Command::Library(command) => library::run(session, command).await,
        Command::Network(command) => network::run(session, command).await,
        Command::Config(command) => config::run(session, command).await,
        Command::Service(command) => service::run(session, command),
        Command::Completions(args) => completions::completions(session, &args),
        Command::Man(args) => man::man(session, &args),
        Command::Location(command) => location::run(session, command).await,
        Command::Index(command) => index::run(session, command).await,
        Command::Scan(args) => index::scan(session, args).await,
        Command::Job(command) => job::run(session, command).await,
        Command::Search(args) => search::search(session, args).await,
        Command::Duplicates(args) => duplicates::duplicates(session, args).await,
        Command::Copy(args) => file::copy(session, args).await,
        Command::Move(args) => file::moving(session, args).await,
        Command::Delete(args) => file::delete(session, args).await,
        Command::Undo => file::undo(session).await,
        Command::Demo(args) => demo::demo(session, &args),
        Command::Instance(_) | Command::Serve(_) | Command::Lab(_) => Ok(()),
    }
}
