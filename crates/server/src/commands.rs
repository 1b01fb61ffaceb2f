//! The commands: what can be typed, and how each is carried out.
//!
//! Commands that look at or change data are a [`Command`] (data), carried out by `execute` wherever the database is
//! open: in this process, or in the server that holds it, which is asked over its control socket. All others go to a
//! service by its API: they are `roadstead-cli`'s, and `client` decides which of both is meant.

mod arguments;
mod check;
mod client;
pub(crate) mod execute;
mod output;
mod run;
mod serve;

use std::process::ExitCode;

pub use execute::{Command, Failure, Outcome, Services, execute};
pub use roadstead_cli::output::bytes;
pub use serve::{Node, serve};

use arguments::{Arguments, ConfigCommand, Verb};
use clap::Parser as _;
use roadstead_cli as cli;

use crate::config::{Config, reference};

/// The program: reads what was typed, does it. 0: done; 2: not understood; others: see [`cli::Code`].
pub fn main() -> ExitCode {
    // What the program makes is its owner's alone, unless it says otherwise.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let arguments = Arguments::parse();
    match start(arguments) {
        Ok(code) => code,
        Err(failure) => {
            // Nothing to say: whoever read the results has gone.
            if !failure.words().is_empty() {
                eprintln!("roadstead: {}", failure.words());
            }
            ExitCode::from(failure.code() as u8)
        }
    }
}

fn start(arguments: Arguments) -> Result<ExitCode, cli::Failure> {
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
    let sources = arguments.common.sources(&verb);
    let config = || Config::load(&sources).map_err(|error| cli::Failure::other(error.to_string()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| cli::Failure::other(format!("no threads can be started: {error}")))?;
    runtime.block_on(async {
        match verb {
            Verb::Serve { .. } => serve(config()?).await.map(|()| ExitCode::SUCCESS).map_err(cli::Failure::other),
            Verb::Config { .. } => check::check(&config()?).await.map_err(cli::Failure::other),
            Verb::Client(verb) => client::run(verb, &arguments.common, &sources).await.map(|()| ExitCode::SUCCESS),
        }
    })
}
