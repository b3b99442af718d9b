//! `clonepanel`: snapshots of web sites on shared hosting accounts, from nothing but the public API of the crates.

mod advice;
mod cli;
mod command;
mod config;
mod connect;
mod consent;
mod context;
mod database;
mod failure;
mod location;
mod nearest;
mod output;
mod remote_load;
mod remote_page;
mod selector;
mod signal;
mod timer;
mod watched;
mod within;
mod zone;

use clap::{Parser, error::ErrorKind};
use cli::{Cli, Command};
use context::Context;
use failure::{Exit, Failure, Outcome};
use output::{Audience, Output};
use std::{
    env,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

const GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    // What an agent writes to standard output is for the other end alone.
    let is_agent = matches!(cli.command, Command::Agent(_));
    let audience = if cli.common.json && !is_agent { Audience::Program } else { Audience::Person };
    let output = Arc::new(Output::new(audience, cli.common.quiet));
    let ended = run(&cli, &output);
    output.end(ended).into()
}

fn run(cli: &Cli, output: &Arc<Output>) -> Result<Outcome, Failure> {
    if let Command::Init(init) = &cli.command {
        return init.run(&cli.common, output);
    }
    if let Command::Agent(agent) = &cli.command {
        return agent.run();
    }
    let context = Context::new(&cli.common, Arc::clone(output))?;
    let (runtime, start) = (runtime()?, context::now());
    let ended = runtime.block_on(async {
        if cli.command.stops_itself() {
            return dispatch(cli, &context).await.map(Ok);
        }
        let stopped = signal::stopped()?;
        tokio::select! {
            // Dropping the command ends its jobs: writers give up, connections close, child processes die.
            ended = dispatch(cli, &context) => ended.map(Ok),
            name = stopped => Ok(Err(name)),
        }
    });
    // A disk or a network that does not answer must not keep a program alive that was told to stop.
    runtime.shutdown_timeout(GRACE);
    let name = match ended? {
        Ok(outcome) => return Ok(outcome),
        Err(name) => name,
    };
    let failure = Failure::failed(format!("stopped by {name}; nothing unfinished was kept as a snapshot"))
        .hint("run it again: what arrived already is used");
    match &cli.command {
        // The last step of a commit may have been taken all the same.
        Command::Backup(backup) => runtime_for_the_end()?.block_on(backup.end_stopped(&context, start, failure)),
        _ => Err(failure),
    }
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(|error| no_runtime(&error))
}

fn runtime_for_the_end() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(|error| no_runtime(&error))
}

fn no_runtime(error: &io::Error) -> Failure {
    Failure::failed(format!("no runtime: {error}"))
}

async fn dispatch(cli: &Cli, context: &Context) -> Result<Outcome, Failure> {
    let outcome = match &cli.command {
        Command::Agent(command) => command.run(),
        Command::Backup(command) => command.run(context).await,
        Command::Cat(command) => command.run(context).await,
        Command::Check(command) => command.run(context).await,
        Command::Diff(command) => command.run(context).await,
        Command::Dns(command) => command.run(context).await,
        Command::History(command) => command.run(context).await,
        Command::Init(command) => command.run(&cli.common, &context.output),
        Command::Ls(command) => command.run(context).await,
        Command::Monitor(command) => command.run(context).await,
        Command::Report(command) => command.run(context).await,
        Command::Status(command) => command.run(context).await,
        Command::Prune(command) => command.run(context).await,
        Command::Replicate(replicate) => replicate.run(context).await,
        Command::Restore(command) => command.run(context).await,
        Command::Snapshots(command) => command.run(context).await,
        Command::Verify(command) => command.run(context).await,
    };
    outcome.map(|outcome| context.judged(outcome))
}

/// Help, the version, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    if !error.use_stderr() {
        return match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Output::new(Audience::Person, true).unwritable(&error);
                Exit::Failed.into()
            }
            _ => Exit::Done.into(),
        };
    }
    // A program that asked for JSON gets its last line in any case.
    if env::args_os().any(|arg| arg == "--json") {
        let output = Output::new(Audience::Program, true);
        let text = error.to_string();
        let message = match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                "a command is missing".to_owned()
            }
            _ => text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        let result = serde_json::json!({ "error": message });
        return output.end(Ok(Outcome::new(Exit::Usage, result))).into();
    }
    Exit::Usage.into()
}
