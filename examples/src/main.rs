//! `clonepanel`: snapshots of web sites on shared hosting accounts, from nothing but the public API of the crates.

mod advice;
mod cli;
mod command;
mod config;
mod connect;
mod context;
mod failure;
mod nearest;
mod output;
mod selector;
mod signal;

use clap::{Parser, error::ErrorKind};
use cli::{Cli, Command};
use context::Context;
use failure::{Exit, Failure, Outcome};
use output::{Audience, Output};
use std::{env, process::ExitCode, sync::Arc, time::Duration};

const GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let audience = if cli.common.json { Audience::Program } else { Audience::Person };
    let output = Arc::new(Output::new(audience, cli.common.quiet));
    let ended = run(&cli, &output);
    output.end(ended).into()
}

fn run(cli: &Cli, output: &Arc<Output>) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let ended = runtime.block_on(async {
        let stopped = signal::stopped()?;
        tokio::select! {
            // Dropping the command ends its jobs: writers give up, connections close, child processes die.
            ended = dispatch(cli, output) => ended,
            name = stopped => Err(Failure::failed(format!("stopped by {name}; nothing unfinished was kept as a snapshot"))
                .hint("run it again: what arrived already is used")),
        }
    });
    // A disk or a network that does not answer must not keep a program alive that was told to stop.
    runtime.shutdown_timeout(GRACE);
    ended
}

async fn dispatch(cli: &Cli, output: &Arc<Output>) -> Result<Outcome, Failure> {
    if let Command::Init(init) = &cli.command {
        return init.run(&cli.common, output);
    }
    let context = Context::new(&cli.common, Arc::clone(output))?;
    match &cli.command {
        Command::Backup(command) => command.run(&context).await,
        Command::Cat(command) => command.run(&context).await,
        Command::Check(command) => command.run(&context).await,
        Command::Diff(command) => command.run(&context).await,
        Command::History(command) => command.run(&context).await,
        Command::Init(command) => command.run(&cli.common, output),
        Command::Ls(command) => command.run(&context).await,
        Command::Prune(command) => command.run(&context).await,
        Command::Restore(command) => command.run(&context).await,
        Command::Snapshots(command) => command.run(&context).await,
        Command::Verify(command) => command.run(&context).await,
    }
}

/// Help, the version, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    // When the terminal is gone there is nobody to tell.
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::Done.into();
    }
    // A program that asked for JSON gets its last line in any case.
    if error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && env::args_os().any(|arg| arg == "--json")
    {
        let output = Output::new(Audience::Program, true);
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let result = serde_json::json!({ "error": message });
        return output.end(Ok(Outcome::new(Exit::Usage, result))).into();
    }
    Exit::Usage.into()
}
