//! `login`: an access key is tried, and kept.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::{
    Flags, World, address,
    client::Path,
    contexts::{Context, Contexts},
    failure::{Code, Failure},
    service::Service,
    session::Session,
};

/// How to sign in.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Address of the service; without it that of the current context, for a new key
    url: Option<String>,
    /// Id of the access key
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// Read the secret from standard input
    #[arg(long)]
    secret_stdin: bool,
    /// Trust the certificates in this PEM file too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Send the secret over http, where everybody on the way can read it
    #[arg(long)]
    insecure_http: bool,
}

pub(super) async fn run(arguments: Arguments, flags: &Flags, world: &World) -> Result<(), Failure> {
    let mut contexts = Contexts::read(&world.environment)?;
    let known_as = flags.context.as_deref().or(contexts.current.as_deref());
    let known = known_as.and_then(|name| contexts.contexts.get(name));
    let text = arguments.url.as_deref().or(known.map(|it| it.url.as_str()));
    let text = text.ok_or_else(|| Failure::usage("say where: `roadstead login https://registry.example.com`"))?;
    // A new key for the same service: the way to it stays.
    let again = known.filter(|_| arguments.url.is_none());
    let insecure_http = arguments.insecure_http || again.is_some_and(|it| it.insecure_http);
    let url = address::read(text, insecure_http)?;
    let ca_file = match arguments.ca_file {
        Some(path) => Some(std::path::absolute(&path).map_err(|error| Failure::usage(format!("--ca-file: {error}")))?),
        None => again.and_then(|it| it.ca_file.clone()),
    };
    let key_id = match arguments.key_id {
        Some(id) => id,
        None => ask(world, "Access key id: ", "--key-id", false)?,
    };
    let secret = match arguments.secret_stdin {
        true => input(world)?,
        false => ask(world, "Secret (not shown): ", "--secret-stdin", true)?,
    };
    if key_id.is_empty() || secret.is_empty() {
        return Err(Failure::usage("an access key has an id and a secret, and one of them is empty"));
    }
    let context =
        Context { url: url.as_str().trim_end_matches('/').to_owned(), key_id, secret, ca_file, insecure_http };
    let same = known_as.filter(|_| arguments.url.is_none());
    let name = flags.context.as_deref().or(same).map_or_else(|| address::host(&url), str::to_owned);
    let session = Session::at(Service::of_context(&name, &context)?, flags, world)?;
    session.client.get(&Path::of(&["me"])).await.map_err(|failure| match failure.code() {
        Code::SignedOut => Failure::new(Code::SignedOut, "this key is refused: is it whole, and has it not ended?"),
        _ => failure,
    })?;
    let said = json!({ "context": name, "url": context.url, "key_id": context.key_id });
    let sentence = format!("Signed in at {} with the key {}.", context.url, context.key_id);
    contexts.current = Some(name.clone());
    contexts.contexts.insert(name, context);
    contexts.write(&world.environment)?;
    if world.environment.text("ROADSTEAD_URL").is_some() {
        session.terminal.note("ROADSTEAD_URL is set: commands go there, unless `--context` says otherwise");
    }
    session.output.done(&said, &sentence)
}

fn ask(world: &World, question: &str, flag: &str, secret: bool) -> Result<String, Failure> {
    if !world.terminal.can_ask() {
        return Err(Failure::usage(format!("nobody can be asked here: say `{flag}`")));
    }
    let answer = if secret { world.terminal.ask_secret(question) } else { world.terminal.ask(question) };
    answer.map_err(|error| Failure::other(format!("no answer: {error}")))
}

fn input(world: &World) -> Result<String, Failure> {
    let text = world.terminal.input().map_err(|error| Failure::other(format!("standard input: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
