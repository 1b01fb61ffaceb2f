//! `project`: the tenants of the region.

use clap::Subcommand;

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, age, number, size, text, time},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const COLUMNS: &[Column] = &[text("name", "/name"), age("created", "/created"), text("description", "/description")];

const CARD: &[Column] = &[text("name", "/name"), time("created", "/created"), text("description", "/description")];

const USAGE: &[Column] = &[
    number("registries", "/registries"),
    number("images", "/repositories"),
    number("artifacts", "/artifacts"),
    number("tags", "/tags"),
    size("stored", "/bytes"),
    size("without sharing", "/image_bytes"),
];

/// What can be done with projects.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the projects
    List {
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one project
    Show {
        /// Its name
        name: String,
    },
    /// Make a project
    Create {
        /// 3 to 30 lower-case letters, digits and `-`, starting with a letter
        name: String,
        /// A few words about it
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// Change a project
    Change {
        /// Its name
        name: String,
        /// A few words about it
        #[arg(long)]
        description: Option<String>,
    },
    /// Delete a project that has no registries, with its members and robots, for good
    Delete {
        /// Its name
        name: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
    /// Show what a project stores
    Usage {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let at = |name: &str| Path::of(&["projects", name]);
    match command {
        Command::List { paging } => {
            session.list(&Path::of(&["projects"]), paging, COLUMNS, "There is no project that you see.").await
        }
        Command::Show { name } => session.show(&at(&name), CARD).await,
        Command::Create { name, description } => {
            let body = Body::default().with("description", Some(description)).value();
            session.change("PUT", &at(&name), Some(&body), &format!("The project {name} is there.")).await
        }
        Command::Change { name, description } => {
            let body = Body::default().with("description", description).change()?;
            session.change("PATCH", &at(&name), Some(&body), &format!("The project {name} is changed.")).await
        }
        Command::Delete { name, deletion } => {
            let fate = "is deleted for good, with its members and robots";
            let doomed = Doomed { what: "The project", name: &name, fate, since: "is deleted" };
            session.delete(&at(&name), &deletion, &doomed).await
        }
        Command::Usage { name } => session.show(&at(&name).at(&["usage"]), USAGE).await,
    }
}
