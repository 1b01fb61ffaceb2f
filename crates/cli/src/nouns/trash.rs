//! `trash`: what was deleted in a registry, and can be taken back.

use clap::{Subcommand, ValueEnum};

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, age, text},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const COLUMNS: &[Column] = &[
    text("entry", "/id"),
    text("kind", "/kind"),
    text("subject", "/subject"),
    text("by", "/by"),
    age("deleted", "/at"),
    age("gone for good", "/until"),
];

/// Which tag stays, where one of the same name was made since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tags {
    /// The one that is there now
    Keep,
    /// The one that comes back
    Replace,
}

/// What can be done with the trash.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what was deleted in a registry, the newest first
    List {
        /// Name of the registry
        registry: String,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Take something back, with all that was deleted with it
    Restore {
        /// Name of the registry
        registry: String,
        /// Which entry of the list
        entry: String,
        /// Which tags stay where others of the same name were made since
        #[arg(long, value_enum)]
        tags: Option<Tags>,
    },
    /// Delete an entry for good
    Delete {
        /// Name of the registry
        registry: String,
        /// Which entry of the list
        entry: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
    /// Delete all of it for good; a registry that lies in the trash itself, too
    Empty {
        /// Name of the registry
        registry: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let at = |registry: &str| Path::of(&["registries", registry, "trash"]);
    match command {
        Command::List { registry, paging } => {
            session.list(&at(&registry), paging, COLUMNS, "Nothing lies in the trash of this registry.").await
        }
        Command::Restore { registry, entry, tags } => {
            let tags = tags.map(|tags| if tags == Tags::Keep { "keep" } else { "replace" });
            let body = Body::default().with("tags", tags).value();
            let path = at(&registry).at(&[&entry, "restore"]);
            session.change("POST", &path, Some(&body), &format!("{entry} is back.")).await
        }
        Command::Delete { registry, entry, deletion } => {
            let doomed =
                Doomed { what: "The entry", name: &entry, fate: "is deleted for good", since: "is deleted for good" };
            session.delete(&at(&registry).at(&[&entry]), &deletion, &doomed).await
        }
        Command::Empty { registry, deletion } => {
            let since = "is empty";
            let fate = "is emptied for good";
            let doomed = Doomed { what: "The trash of the registry", name: &registry, fate, since };
            session.delete(&at(&registry), &deletion, &doomed).await
        }
    }
}
