//! `member`: roles of people in a project or on a registry.

use clap::{Subcommand, ValueEnum};

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, age, text},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging, Place, Scope},
};

const COLUMNS: &[Column] = &[
    text("person", "/person"),
    text("role", "/role"),
    text("by hand", "/by_hand"),
    text("by groups", "/by_groups"),
    age("since", "/since"),
    text("full name", "/full_name"),
];

/// `in the project shop`, `on the registry shop-images`.
fn words(scope: &Scope) -> String {
    match scope.place() {
        place @ Place::Project(_) => format!("in the {place}"),
        place @ Place::Registry(_) => format!("on the {place}"),
    }
}

/// The path of those who have a role there.
fn at(scope: &Scope) -> Path {
    scope.place().path("members")
}

/// What a person may do; each role may do all that the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Sees and pulls
    Viewer,
    /// Pushes too
    Uploader,
    /// Changes and deletes too, and gives roles
    Manager,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Uploader => "uploader",
            Self::Manager => "manager",
        }
    }
}

/// What can be done with roles.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List who has a role
    List {
        /// Where
        #[command(flatten)]
        scope: Scope,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Give a role, in the place of one that the person has there
    #[command(visible_alias = "change")]
    Create {
        /// Name of the person
        person: String,
        /// The role
        #[arg(long, value_enum)]
        role: Role,
        /// Where
        #[command(flatten)]
        scope: Scope,
    },
    /// Take a role away: gone with the person's next request
    Delete {
        /// Name of the person
        person: String,
        /// Where
        #[command(flatten)]
        scope: Scope,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::List { scope, paging } => {
            session
                .list(&at(&scope), paging, COLUMNS, "Nobody has a role here: `roadstead member create` gives one.")
                .await
        }
        Command::Create { person, role, scope } => {
            let body = Body::default().with("role", Some(role.word())).value();
            let sentence = format!("{person} is {} {} now.", role.word(), words(&scope));
            session.change("PUT", &at(&scope).at(&[&person]), Some(&body), &sentence).await
        }
        Command::Delete { person, scope, deletion } => {
            let fate = format!("loses the role {}", words(&scope));
            let since = format!("has no role {} any more", words(&scope));
            let doomed = Doomed { what: "The person", name: &person, fate: &fate, since: &since };
            session.delete(&at(&scope).at(&[&person]), &deletion, &doomed).await
        }
    }
}
