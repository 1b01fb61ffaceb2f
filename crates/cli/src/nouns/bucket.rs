//! `bucket`: where the bytes of layers lie. Which there are is a matter of the configuration.

use clap::Subcommand;

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, Format, age, number, size, text, time, yes_or_no},
    session::Session,
    typed::Paging,
};

const COLUMNS: &[Column] = &[
    text("name", "/name"),
    text("kind", "/kind"),
    yes_or_no("default", "/default"),
    yes_or_no("configured", "/configured"),
    number("registries", "/registries"),
    size("stored", "/bytes"),
    age("first used", "/created"),
];

const CARD: &[Column] = &[
    text("name", "/name"),
    text("kind", "/kind"),
    yes_or_no("default", "/default"),
    yes_or_no("configured", "/configured"),
    number("registries", "/registries"),
    size("stored", "/bytes"),
    time("first used", "/created"),
    yes_or_no("for one registry", "/exclusive"),
    text("whose it is", "/registry"),
    time("last tried", "/checked"),
    text("trouble", "/trouble"),
    text("warning", "/warning"),
];

/// What can be done with buckets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the buckets
    List {
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one bucket
    Show {
        /// Its name
        name: String,
    },
    /// Try whether a bucket does all that a running service needs of it
    Check {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let at = |name: &str| Path::of(&["buckets", name]);
    match command {
        Command::List { paging } => {
            session.list(&Path::of(&["buckets"]), paging, COLUMNS, "There is no bucket yet.").await
        }
        Command::Show { name } => session.show(&at(&name), CARD).await,
        Command::Check { name } => check(&name, &at(&name).at(&["check"]), session).await,
    }
}

/// A bucket that does not do what is needed is a failure of the command, so that a script hears of it.
async fn check(name: &str, path: &Path, session: &Session<'_>) -> Result<(), Failure> {
    let found = session.client.send("POST", path, None).await?;
    let works = found["works"] == true;
    if works || session.output.format() == Format::Json {
        let warning = found["warning"].as_str().map_or_else(String::new, |words| format!(" But {words}."));
        session.output.done(&found, &format!("The bucket {name} does all that is needed of it.{warning}"))?;
    }
    if works {
        return Ok(());
    }
    let trouble = found["trouble"].as_str().unwrap_or("it is not said why");
    Err(Failure::other(format!("the bucket {name} does not do what is needed of it: {trouble}")))
}
