//! `robot`: as what programs sign in.

use clap::Subcommand;

use super::{robot_key, robot_trust};
use crate::{
    client::Path,
    failure::Failure,
    output::{Column, age, text, time, yes_or_no},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const COLUMNS: &[Column] = &[
    text("name", "/name"),
    yes_or_no("disabled", "/disabled"),
    age("created", "/created"),
    text("description", "/description"),
];

const CARD: &[Column] = &[
    text("name", "/name"),
    yes_or_no("disabled", "/disabled"),
    time("created", "/created"),
    text("description", "/description"),
];

/// What can be done with robots.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the robots of a project
    List {
        /// Name of the project
        #[arg(long)]
        project: String,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one robot
    Show {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        name: String,
    },
    /// Make a robot
    Create {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        name: String,
        /// A few words about it
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// Change a robot; what is not said stays as it is
    Change {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        name: String,
        /// A few words about it
        #[arg(long)]
        description: Option<String>,
        /// Whether all its keys and trusts are refused
        #[arg(long, value_name = "BOOL")]
        disabled: Option<bool>,
    },
    /// Delete a robot with its keys and trusts, for good
    Delete {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        name: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
    /// Keys of a robot: list, create, delete
    Key {
        /// What to do
        #[command(subcommand)]
        command: robot_key::Command,
    },
    /// Tokens of others that a robot signs in with, such as those of a CI: list, create, delete
    Trust {
        /// What to do
        #[command(subcommand)]
        command: robot_trust::Command,
    },
}

/// The path of a robot.
///
/// # Errors
/// When it does not name project and robot.
pub(super) fn at(name: &str) -> Result<Path, Failure> {
    let parts = name.split_once('/').filter(|(project, robot)| !project.is_empty() && !robot.is_empty());
    let (project, robot) = parts
        .ok_or_else(|| Failure::usage(format!("{name:?} names no robot: it is like PROJECT/ROBOT, such as shop/ci")))?;
    Ok(Path::of(&["projects", project, "robots", robot]))
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::List { project, paging } => {
            let path = Path::of(&["projects", &project, "robots"]);
            session
                .list(&path, paging, COLUMNS, "There is no robot: `roadstead robot create PROJECT/ROBOT` makes one.")
                .await
        }
        Command::Show { name } => session.show(&at(&name)?, CARD).await,
        Command::Create { name, description } => {
            let body = Body::default().with("description", Some(description)).value();
            session.change("PUT", &at(&name)?, Some(&body), &format!("The robot {name} is there.")).await
        }
        Command::Change { name, description, disabled } => {
            let body = Body::default().with("description", description).with("disabled", disabled).change()?;
            session.change("PATCH", &at(&name)?, Some(&body), &format!("The robot {name} is changed.")).await
        }
        Command::Delete { name, deletion } => {
            let fate = "is deleted for good, with its keys";
            let doomed = Doomed { what: "The robot", name: &name, fate, since: "is deleted" };
            session.delete(&at(&name)?, &deletion, &doomed).await
        }
        Command::Key { command } => robot_key::run(command, session).await,
        Command::Trust { command } => robot_trust::run(command, session).await,
    }
}
