//! The command line as a client of the management API (`docs/cli.md`).
//!
//! | module | what |
//! | --- | --- |
//! | [`Verb`], [`Flags`] | what can be typed; `nouns/` has one file for each noun |
//! | [`Service`], `contexts` | which service is meant, and the file with the keys |
//! | `client`, [`transport`] | requests, pages, another try; HTTP |
//! | [`output`], [`terminal`] | tables, JSON, questions |
//! | [`Failure`] | what went wrong, and the number that the program ends with |
//!
//! It speaks to a service by its API alone, and reads no variable of the process: the program hands in its [`World`].

mod address;
mod client;
pub mod clock;
mod contexts;
mod environment;
mod failure;
mod image_name;
mod nouns;
pub mod output;
mod robot_limit;
mod service;
mod session;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod transport;
mod typed;

use clap::Args;

use clock::{Clock, System};
pub use environment::{Environment, VARIABLES};
pub use failure::{Code, Failure};
pub use nouns::{Verb, completion, key, registry};
use output::Format;
pub use service::Service;
use terminal::{Console, Terminal};
use transport::{Connect, Http};
pub use typed::{Deletion, Paging};

/// Flags that all commands have.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// The service of this context, instead of the current one; for `login`: what the context is called
    #[arg(long, global = true, value_name = "NAME", help_heading = "Options of all commands")]
    pub context: Option<String>,
    /// How results are shown
    #[arg(short, long, global = true, value_enum, default_value_t, help_heading = "Options of all commands")]
    pub output: Format,
}

/// What surrounds a command.
pub struct World {
    /// The variables.
    pub environment: Environment,
    /// Input and output.
    pub terminal: Box<dyn Terminal>,
    /// Time.
    pub clock: Box<dyn Clock>,
    /// The network.
    pub connect: Connect,
}

impl World {
    /// The real one, with these variables.
    pub fn real(environment: Environment) -> Self {
        let connect: Connect = |service, environment| Ok(Box::new(Http::open(service, environment)?));
        Self { environment, terminal: Box::new(Console), clock: Box::new(System), connect }
    }
}

/// Does what was typed, at the service that is named.
///
/// # Errors
/// What was in the way.
pub async fn run(verb: Verb, flags: &Flags, world: &World) -> Result<(), Failure> {
    nouns::run(verb, flags, world).await
}
