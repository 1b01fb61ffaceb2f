//! The commands: what can be typed, and how each is carried out.
//!
//! Commands that look at or change data are a [`Command`] (data), carried out by `execute` wherever the database is
//! open: in this process, or in the server that holds it, which is asked over its control socket.

mod arguments;
mod check;
pub(crate) mod execute;
mod output;
mod run;
mod serve;

use std::process::ExitCode;

pub use execute::{Command, Failure, Outcome, Services, execute};
pub use output::bytes;
pub use serve::{Node, serve};

use arguments::{Arguments, ConfigCommand, Verb};
use clap::Parser as _;

use crate::config::{Config, reference};

/// The program: reads what was typed, does it. 0: done; 1: refused or failed, in words on standard error; 2: not
/// understood.
pub fn main() -> ExitCode {
    // What the program makes is its owner's alone, unless it says otherwise.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let arguments = Arguments::parse();
    match start(arguments) {
        Ok(code) => code,
        Err(words) => {
            eprintln!("roadstead: {words}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<ExitCode, String> {
    let verb = arguments.verb.unwrap_or_default();
    let page = match verb {
        Verb::Config { command: ConfigCommand::Reference } => Some(reference()),
        Verb::Config { command: ConfigCommand::Openapi } => Some(roadstead_http_api::openapi_json().to_owned()),
        _ => None,
    };
    if let Some(page) = page {
        print!("{page}");
        return Ok(ExitCode::SUCCESS);
    }
    let config = Config::load(&arguments.common.sources(&verb)).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no threads can be started: {error}"))?;
    runtime.block_on(async {
        match verb {
            Verb::Serve { .. } => serve(config).await.map(|()| ExitCode::SUCCESS),
            Verb::Config { .. } => check::check(&config).await,
            Verb::Registry { command } => run::run(&config, run::registry(command)?, arguments.common.output).await,
            Verb::Key { command } => run::run(&config, run::key(command), arguments.common.output).await,
        }
    })
}
