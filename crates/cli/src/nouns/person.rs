//! `person`: who may sign in.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, age, by, text, time, yes_or_no},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const STATE: Column = by("state", "", |person| {
    let state = match person {
        _ if person["disabled"] == true => "disabled",
        _ if person["barred"] == true => "barred",
        _ => "active",
    };
    state.to_owned()
});

const COLUMNS: &[Column] = &[
    text("name", "/name"),
    yes_or_no("administrator", "/administrator"),
    STATE,
    yes_or_no("password", "/has_password"),
    age("created", "/created"),
    text("email", "/email"),
    text("full name", "/full_name"),
];

const CARD: &[Column] = &[
    text("name", "/name"),
    text("full name", "/full_name"),
    text("email", "/email"),
    yes_or_no("administrator", "/administrator"),
    yes_or_no("barred", "/barred"),
    yes_or_no("disabled", "/disabled"),
    yes_or_no("has a password", "/has_password"),
    time("created", "/created"),
];

const IDENTITY: &[Column] = &[text("issuer", "/issuer"), text("subject", "/subject"), time("since", "/since")];

/// What can be said of a person.
#[derive(Debug, Args)]
pub struct Fields {
    /// Their name as people write it
    #[arg(long, value_name = "NAME")]
    full_name: Option<String>,
    /// Their address of mail
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Whether they may do everything in the region
    #[arg(long, value_name = "BOOL")]
    administrator: Option<bool>,
    /// Whether all their access keys are refused
    #[arg(long, value_name = "BOOL")]
    barred: Option<bool>,
    /// Whether they are shut out altogether
    #[arg(long, value_name = "BOOL")]
    disabled: Option<bool>,
}

impl Fields {
    fn body(self) -> Body {
        Body::default()
            .with("full_name", self.full_name)
            .with("email", self.email)
            .with("administrator", self.administrator)
            .with("barred", self.barred)
            .with("disabled", self.disabled)
    }
}

/// What can be done with people.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the people
    List {
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one person
    Show {
        /// Their name
        name: String,
    },
    /// Make a person
    Create {
        /// 1 to 64 lower-case letters, digits, `-`, `_`, `.` and `@`
        name: String,
        /// What is known of them
        #[command(flatten)]
        fields: Fields,
    },
    /// Change a person; what is not said stays as it is
    Change {
        /// Their name
        name: String,
        /// What is to be of them
        #[command(flatten)]
        fields: Fields,
    },
    /// Delete a person with their keys, roles and sessions, for good
    Delete {
        /// Their name
        name: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
    /// Set a password: without a name your own, by the old one
    Password {
        /// Whose
        name: Option<String>,
        /// Read it from standard input; of your own the old one first, a line each
        #[arg(long)]
        stdin: bool,
        /// They have none from now on
        #[arg(long, conflicts_with = "stdin", requires = "name")]
        none: bool,
    },
    /// As who a person signs in with OpenID Connect: show, create, delete
    Identity {
        /// What to do
        #[command(subcommand)]
        command: IdentityCommand,
    },
}

/// What can be done with the identity of a person.
#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// Show it
    Show {
        /// Name of the person
        name: String,
    },
    /// Link a person to a subject of the provider
    Create {
        /// Name of the person
        name: String,
        /// What the provider calls them, `sub`
        #[arg(long)]
        subject: String,
        /// The provider, if it is not the one that is configured
        #[arg(long)]
        issuer: Option<String>,
    },
    /// Take the link away
    Delete {
        /// Name of the person
        name: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
}

fn at(name: &str) -> Path {
    Path::of(&["people", name])
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::List { paging } => session.list(&Path::of(&["people"]), paging, COLUMNS, "There is nobody.").await,
        Command::Show { name } => session.show(&at(&name), CARD).await,
        Command::Create { name, fields } => {
            let body = fields.body().value();
            session.change("PUT", &at(&name), Some(&body), &format!("{name} is there.")).await
        }
        Command::Change { name, fields } => {
            session.change("PATCH", &at(&name), Some(&fields.body().change()?), &format!("{name} is changed.")).await
        }
        Command::Delete { name, deletion } => {
            let fate = "is deleted for good, with keys, roles and sessions";
            let doomed = Doomed { what: "The person", name: &name, fate, since: "is deleted" };
            session.delete(&at(&name), &deletion, &doomed).await
        }
        Command::Password { name: Some(name), stdin, none } => password(session, &name, stdin, none).await,
        Command::Password { name: None, stdin, .. } => own_password(session, stdin).await,
        Command::Identity { command } => identity(command, session).await,
    }
}

async fn password(session: &Session<'_>, name: &str, stdin: bool, none: bool) -> Result<(), Failure> {
    let (password, sentence) = match (none, stdin) {
        (true, _) => (Value::Null, format!("{name} has no password any more.")),
        (_, true) => (lines(session, 1)?.remove(0).into(), format!("The password of {name} is set.")),
        _ => (new_password(session)?.into(), format!("The password of {name} is set.")),
    };
    session.change("PUT", &at(name).at(&["password"]), Some(&json!({ "password": password })), &sentence).await
}

async fn own_password(session: &Session<'_>, stdin: bool) -> Result<(), Failure> {
    let [old, new] = if stdin {
        let mut lines = lines(session, 2)?.into_iter();
        [lines.next().unwrap_or_default(), lines.next().unwrap_or_default()]
    } else {
        [secret(session, "Old password (not shown): ")?, new_password(session)?]
    };
    let body = json!({ "old": old, "new": new });
    session
        .change(
            "PUT",
            &Path::of(&["me", "password"]),
            Some(&body),
            "Your password is set, and your sessions have ended.",
        )
        .await
}

fn new_password(session: &Session<'_>) -> Result<String, Failure> {
    let password = secret(session, "New password (not shown): ")?;
    match secret(session, "Again: ")? == password {
        true => Ok(password),
        false => Err(Failure::other("nothing was changed: the two are not the same")),
    }
}

fn secret(session: &Session<'_>, question: &str) -> Result<String, Failure> {
    if !session.terminal.can_ask() {
        return Err(Failure::usage("nobody can be asked here: say `--stdin`"));
    }
    session.terminal.ask_secret(question).map_err(|error| Failure::other(format!("no answer: {error}")))
}

fn lines(session: &Session<'_>, count: usize) -> Result<Vec<String>, Failure> {
    let text = session.terminal.input().map_err(|error| Failure::other(format!("standard input: {error}")))?;
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    match lines.len() == count {
        true => Ok(lines),
        false => Err(Failure::usage(format!("standard input has {} lines, and {count} are needed", lines.len()))),
    }
}

async fn identity(command: IdentityCommand, session: &Session<'_>) -> Result<(), Failure> {
    let at = |name: &str| at(name).at(&["identity"]);
    match command {
        IdentityCommand::Show { name } => session.show(&at(&name), IDENTITY).await,
        IdentityCommand::Create { name, subject, issuer } => {
            let body = Body::default().with("subject", Some(subject)).with("issuer", issuer).value();
            session.change("PUT", &at(&name), Some(&body), &format!("{name} is linked.")).await
        }
        IdentityCommand::Delete { name, deletion } => {
            let fate = "can't sign in with OpenID Connect any more";
            let doomed = Doomed { what: "The person", name: &name, fate, since: "is linked to nobody" };
            session.delete(&at(&name), &deletion, &doomed).await
        }
    }
}
