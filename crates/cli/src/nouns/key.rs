//! `key`: one's own access keys. On the machine of the service those of everybody.

use clap::Subcommand;
use serde_json::Value;

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, age, by, text},
    robot_limit,
    session::Session,
    typed::{Body, Paging},
};

const STATE: Column = by("state", "", |key| {
    let state = match key {
        _ if !key["revoked"].is_null() => "revoked",
        _ if key["living"] == true && key["old"] == true => "old: change it",
        _ if key["living"] == true => "living",
        _ => "ended",
    };
    state.to_owned()
});

const USED: Column = age("last used", "/used");
const CREATED: Column = age("created", "/created");
const ENDS: Column = age("ends", "/expires");

/// What a list shows.
pub(super) const COLUMNS: &[Column] =
    &[text("key id", "/key_id"), STATE, CREATED, USED, ENDS, text("description", "/description")];

/// What a list of robots' keys shows.
pub(super) const COLUMNS_OF_ROBOT: &[Column] = &[
    text("key id", "/key_id"),
    STATE,
    CREATED,
    USED,
    ENDS,
    by("may", "/limits", robot_limit::show_all),
    text("description", "/description"),
];

/// What a list shows on the machine, where the keys of all people are.
pub const COLUMNS_OF_ALL: &[Column] = &[
    text("key id", "/key_id"),
    text("owner", "/owner"),
    STATE,
    CREATED,
    USED,
    ENDS,
    text("description", "/description"),
];

/// What a list says that has nothing.
pub const EMPTY: &str = "There is no access key: `roadstead key create` makes one.";

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List your access keys; on the machine of the service those of all people
    List {
        /// Of this person; on the machine of the service only
        #[arg(long)]
        person: Option<String>,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Make an access key; its secret is shown only this once
    ///
    /// It may do what its owner may: `roadstead member` gives roles.
    Create {
        /// Whose it is; on the machine of the service only, where it is `administrator` if nobody is named
        #[arg(long)]
        person: Option<String>,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Days after which it ends by itself, at least 1
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Revoke an access key: gone with its next request, for good
    #[command(visible_alias = "revoke")]
    Delete {
        /// Its id
        key_id: String,
    },
}

/// What is said of a key that was made.
pub fn made(key: &Value, host: &str) -> String {
    let part = |name: &str| key[name].as_str().unwrap_or_default();
    format!(
        "access key   {0}\nsecret       {1}  (write it down, it is not shown again)\nowner        {2}\n\n  docker login {host} -u {0} -p {1}",
        part("key_id"),
        part("secret"),
        part("owner")
    )
}

/// What is said of a key that was revoked.
pub fn revoked(key_id: &str) -> String {
    format!("The access key {key_id} is revoked.")
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let all = Path::of(&["me", "keys"]);
    match command {
        Command::List { person: Some(_), .. } | Command::Create { person: Some(_), .. } => Err(Failure::usage(
            "over the API everybody has their own keys alone: `--person` is for the machine of the service, with `--local`",
        )),
        Command::List { person: None, paging } => session.list(&all, paging, COLUMNS, EMPTY).await,
        Command::Create { person: None, description, days } => {
            let body = Body::default().with("description", Some(description)).with("days", days).value();
            let key = session.client.send("POST", &all, Some(&body)).await?;
            session.output.done(&key, &made(&key, &session.service.host()))
        }
        Command::Delete { key_id } => session.change("DELETE", &all.at(&[&key_id]), None, &revoked(&key_id)).await,
    }
}
