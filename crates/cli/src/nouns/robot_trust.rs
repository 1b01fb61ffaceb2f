//! `robot trust`: tokens of others, such as those of a CI, with which a program signs in as a robot.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::robot;
use crate::{
    failure::Failure,
    output::{Column, age, by, text, yes_or_no},
    robot_limit,
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const COLUMNS: &[Column] = &[
    text("id", "/id"),
    text("issuer", "/issuer"),
    text("audience", "/audience"),
    by("claims", "/claims", claims_in_words),
    by("may", "/limits", robot_limit::show_all),
    yes_or_no("works", "/living"),
    age("last used", "/used"),
    age("ends", "/expires"),
    text("description", "/description"),
];

/// What can be done with trusts of robots.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List whose tokens a robot trusts
    List {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        robot: String,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Let whoever has such a token sign in as a robot
    Create {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        robot: String,
        /// Who makes the tokens, `iss`
        #[arg(long, value_name = "URL")]
        issuer: String,
        /// For whom they are made, `aud`
        #[arg(long)]
        audience: String,
        /// What a token must say, can be given several times
        #[arg(long, required = true, value_name = "NAME=PATTERN", value_parser = claim)]
        claim: Vec<(String, String)>,
        /// What it may do then, can be given several times: `pull`, `pull,push:REGISTRY`, `pull:REGISTRY/web/**`, `pull:*/base/*`
        #[arg(long, required = true, value_name = robot_limit::FORM)]
        allow: Vec<String>,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Days after which it ends by itself, at least 1
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Trust such tokens no more
    Delete {
        /// Project and name of the robot, such as shop/ci
        #[arg(value_name = "PROJECT/ROBOT")]
        robot: String,
        /// Id of the trust
        id: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
}

fn claim(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, pattern) = parts.ok_or("it is like NAME=PATTERN, such as repository=acme/app")?;
    Ok((name.to_owned(), pattern.to_owned()))
}

fn claims_in_words(claims: &Value) -> String {
    let word = |(name, pattern): (&String, &Value)| format!("{name}={}", pattern.as_str().unwrap_or_default());
    claims.as_object().map(|all| all.iter().map(word).collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let all = |name: &str| robot::at(name).map(|path| path.at(&["trusts"]));
    match command {
        Command::List { robot, paging } => {
            let empty = "The robot trusts nobody's tokens: `roadstead robot trust create` changes that.";
            session.list(&all(&robot)?, paging, COLUMNS, empty).await
        }
        Command::Create { robot, issuer, audience, claim, allow, description, days } => {
            let claims: Map<_, _> = claim.into_iter().map(|(name, pattern)| (name, Value::from(pattern))).collect();
            let limits: Vec<_> = allow.iter().map(|text| robot_limit::read(text)).collect();
            let body = Body::default()
                .with("description", Some(description))
                .with("issuer", Some(issuer))
                .with("audience", Some(audience))
                .with("claims", Some(claims))
                .with("limits", Some(limits))
                .with("days", days)
                .value();
            let trust = session.client.send("POST", &all(&robot)?, Some(&body)).await?;
            let id = trust["id"].as_str().unwrap_or_default();
            let sentence =
                format!("The robot {robot} trusts such tokens ({id}). They sign in with the user name {robot}.");
            session.output.done(&trust, &sentence)
        }
        Command::Delete { robot, id, deletion } => {
            let doomed = Doomed { what: "The trust", name: &id, fate: "ends for good", since: "has ended" };
            session.delete(&all(&robot)?.at(&[&id]), &deletion, &doomed).await
        }
    }
}
