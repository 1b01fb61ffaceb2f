//! `context`: the services that are signed in at.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    Flags, World,
    contexts::Contexts,
    failure::Failure,
    output::{Column, Output, by, text},
};

const COLUMNS: &[Column] = &[
    by("current", "/current", |current| if current == true { "*" } else { "" }.to_owned()),
    text("name", "/name"),
    text("url", "/url"),
    text("key id", "/key_id"),
];

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the services that are signed in at; never a secret
    List,
    /// Let commands go there from now on
    Use {
        /// Name of the context
        name: String,
    },
}

pub(super) fn run(command: Command, flags: &Flags, world: &World) -> Result<(), Failure> {
    let mut contexts = Contexts::read(&world.environment)?;
    let output = Output::new(world.terminal.as_ref(), flags.output, world.clock.now());
    match command {
        Command::List => {
            let item = |(name, context): (&String, &crate::contexts::Context)| {
                let current = contexts.current.as_ref() == Some(name);
                json!({ "name": name, "url": context.url, "key_id": context.key_id, "current": current })
            };
            let items: Vec<Value> = contexts.contexts.iter().map(item).collect();
            output.all(COLUMNS, "Not signed in anywhere: `roadstead login URL`.", items)
        }
        Command::Use { name } => {
            let url = contexts.contexts.get(&name).ok_or_else(|| contexts.missing(&name))?.url.clone();
            contexts.current = Some(name);
            contexts.write(&world.environment)?;
            output.done(&Value::Null, &format!("Commands go to {url} now."))
        }
    }
}
