//! `logout`: a key is forgotten here. It works still, until it is deleted.

use clap::Args;
use serde_json::Value;

use crate::{
    Flags, World,
    contexts::Contexts,
    failure::{Code, Failure},
    output::Output,
};

/// What to forget.
#[derive(Debug, Args)]
pub struct Arguments {
    /// All services
    #[arg(long, conflicts_with = "context")]
    all: bool,
}

pub(super) fn run(arguments: &Arguments, flags: &Flags, world: &World) -> Result<(), Failure> {
    let mut contexts = Contexts::read(&world.environment)?;
    let name = flags.context.clone().or_else(|| contexts.current.clone());
    let sentence = if arguments.all {
        contexts = Contexts::default();
        "All keys are forgotten here.".to_owned()
    } else {
        let name = name.ok_or_else(|| Failure::new(Code::SignedOut, "not signed in: nothing is to be forgotten"))?;
        let context = contexts.contexts.remove(&name).ok_or_else(|| contexts.missing(&name))?;
        if contexts.current.as_ref() == Some(&name) {
            contexts.current = None;
        }
        format!(
            "The key {} for {} is forgotten here. It works still: `key delete` ends one.",
            context.key_id, context.url
        )
    };
    contexts.write(&world.environment)?;
    let others: Vec<_> = contexts.contexts.keys().map(String::as_str).collect();
    if contexts.current.is_none() && !others.is_empty() {
        world.terminal.note(&format!("`roadstead context use NAME` chooses another: {}", others.join(", ")));
    }
    Output::new(world.terminal.as_ref(), flags.output, world.clock.now()).done(&Value::Null, &sentence)
}
