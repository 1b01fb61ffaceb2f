//! `member`: roles of people in a project or on a registry.

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, age, text},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const COLUMNS: &[Column] = &[
    text("person", "/person"),
    text("role", "/role"),
    text("by hand", "/by_hand"),
    text("by groups", "/by_groups"),
    age("since", "/since"),
    text("full name", "/full_name"),
];

/// Where a role holds.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Scope {
    /// In this project, in each of its registries
    #[arg(long)]
    project: Option<String>,
    /// On this registry alone
    #[arg(long)]
    registry: Option<String>,
}

impl Scope {
    fn path(&self) -> Path {
        match (&self.project, &self.registry) {
            (Some(project), _) => Path::of(&["projects", project, "members"]),
            (None, registry) => Path::of(&["registries", registry.as_deref().unwrap_or_default(), "members"]),
        }
    }

    fn words(&self) -> String {
        match (&self.project, &self.registry) {
            (Some(project), _) => format!("in the project {project}"),
            (None, registry) => format!("on the registry {}", registry.as_deref().unwrap_or_default()),
        }
    }
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
                .list(&scope.path(), paging, COLUMNS, "Nobody has a role here: `roadstead member create` gives one.")
                .await
        }
        Command::Create { person, role, scope } => {
            let body = Body::default().with("role", Some(role.word())).value();
            let sentence = format!("{person} is {} {} now.", role.word(), scope.words());
            session.change("PUT", &scope.path().at(&[&person]), Some(&body), &sentence).await
        }
        Command::Delete { person, scope, deletion } => {
            let fate = format!("loses the role {}", scope.words());
            let since = format!("has no role {} any more", scope.words());
            let doomed = Doomed { what: "The person", name: &person, fate: &fate, since: &since };
            session.delete(&scope.path().at(&[&person]), &deletion, &doomed).await
        }
    }
}
