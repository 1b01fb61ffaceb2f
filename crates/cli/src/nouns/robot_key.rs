//! `robot key`: access keys of robots, each with limits.

use clap::Subcommand;

use super::{key, robot};
use crate::{
    failure::Failure,
    robot_limit,
    session::Session,
    typed::{Body, Paging},
};

/// What can be done with keys of robots.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the keys of a robot
    List {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        robot: String,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Make a key for a robot; its secret is shown only this once
    Create {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        robot: String,
        /// What it may do, can be given several times: `pull`, `pull,push:REGISTRY`, `pull:REGISTRY/web/**`, `pull:*/base/*`
        #[arg(long, required = true, value_name = robot_limit::FORM)]
        allow: Vec<String>,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Days after which it ends by itself, at least 1
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Revoke a key of a robot: gone with its next request, for good
    #[command(visible_alias = "revoke")]
    Delete {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        robot: String,
        /// Id of the key
        key_id: String,
    },
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let all = |name: &str| robot::at(name).map(|path| path.at(&["keys"]));
    match command {
        Command::List { robot, paging } => {
            let empty = "The robot has no key: `roadstead robot key create` makes one.";
            session.list(&all(&robot)?, paging, key::COLUMNS_OF_ROBOT, empty).await
        }
        Command::Create { robot, allow, description, days } => {
            let limits: Vec<_> = allow.iter().map(|text| robot_limit::read(text)).collect();
            let body = Body::default()
                .with("description", Some(description))
                .with("days", days)
                .with("limits", Some(limits))
                .value();
            let key = session.client.send("POST", &all(&robot)?, Some(&body)).await?;
            session.output.done(&key, &key::made(&key, &session.service.host()))
        }
        Command::Delete { robot, key_id } => {
            session.change("DELETE", &all(&robot)?.at(&[&key_id]), None, &key::revoked(&key_id)).await
        }
    }
}
