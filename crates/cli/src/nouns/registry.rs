//! `registry`: where images are stored. Some of it works on the machine of the service too.

use clap::Subcommand;
use serde_json::Value;

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, age, by, number, size, text, time, yes_or_no},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const STATE: Column = by("state", "", |registry| {
    let state = match registry["status"].as_str() {
        Some("bucket_trouble") => "bucket trouble",
        Some("over_quota") => "over quota",
        _ if registry["trashed_until"].is_null() => "ready",
        _ => "in the trash",
    };
    state.to_owned()
});

/// What a list shows.
pub const COLUMNS: &[Column] = &[
    text("name", "/name"),
    text("project", "/project"),
    yes_or_no("anyone pulls", "/public_pull"),
    number("images", "/usage/repositories"),
    number("artifacts", "/usage/artifacts"),
    size("stored", "/usage/bytes"),
    STATE,
    age("created", "/created"),
];

/// What is shown of one.
pub const CARD: &[Column] = &[
    text("name", "/name"),
    text("project", "/project"),
    text("kind", "/kind"),
    STATE,
    time("gone for good", "/trashed_until"),
    yes_or_no("anyone pulls", "/public_pull"),
    yes_or_no("public endpoint", "/public_endpoint"),
    text("from outside", "/endpoints/public/path"),
    text("from inside", "/endpoints/private/path"),
    text("bucket", "/bucket"),
    number("images", "/usage/repositories"),
    number("artifacts", "/usage/artifacts"),
    number("tags", "/usage/tags"),
    size("stored", "/usage/bytes"),
    time("created", "/created"),
    text("description", "/description"),
];

/// What a list says that has nothing.
pub const EMPTY: &str = "There is no registry: `roadstead registry create NAME` makes one.";
/// What becomes of one that is deleted.
pub const FATE: &str = "and all it holds goes to the trash";

/// What can be done with registries.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the registries
    List {
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one registry
    Show {
        /// Its name
        name: String,
    },
    /// Make a registry
    Create {
        /// 3 to 30 lower-case letters, digits and `-`, starting with a letter
        name: String,
        /// Anyone may pull, without an access key
        #[arg(long)]
        public: bool,
        /// The project it belongs to; on the machine of the service it is made if there is none of this name
        #[arg(long, default_value = "default")]
        project: String,
        /// The bucket that its blobs go to, one that the configuration names; for good
        #[arg(long)]
        bucket: Option<String>,
        /// A few words about it
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Whether clients outside the network reach it
        #[arg(long, value_name = "BOOL")]
        public_endpoint: Option<bool>,
    },
    /// Change a registry; what is not said stays as it is
    Change {
        /// Its name
        name: String,
        /// A few words about it
        #[arg(long)]
        description: Option<String>,
        /// Whether anyone may pull, without an access key
        #[arg(long, value_name = "BOOL")]
        public: Option<bool>,
        /// Whether clients outside the network reach it
        #[arg(long, value_name = "BOOL")]
        public_endpoint: Option<bool>,
    },
    /// Put a registry and all it holds into the trash
    Delete {
        /// Its name
        name: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
    /// Take a registry and all it holds out of the trash
    Restore {
        /// Its name
        name: String,
    },
}

/// What is said of one that was made.
pub fn made(registry: &Value, host: &str) -> String {
    let name = registry["name"].as_str().unwrap_or_default();
    let who = if registry["public_pull"] == true { "anyone pulls" } else { "people with an access key pull" };
    format!("The registry {name} is ready: push to {host}/{name}/NAME; {who}.")
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let at = |name: &str| Path::of(&["registries", name]);
    match command {
        Command::List { paging } => session.list(&Path::of(&["registries"]), paging, COLUMNS, EMPTY).await,
        Command::Show { name } => session.show(&at(&name), CARD).await,
        Command::Create { name, public, project, bucket, description, public_endpoint } => {
            let body = Body::default()
                .with("project", Some(project))
                .with("bucket", bucket)
                .with("description", Some(description))
                .with("public_pull", Some(public))
                .with("public_endpoint", public_endpoint);
            let registry = session.client.send("PUT", &at(&name), Some(&body.value())).await?;
            session.output.done(&registry, &made(&registry, &session.service.host()))
        }
        Command::Change { name, description, public, public_endpoint } => {
            let body = Body::default()
                .with("description", description)
                .with("public_pull", public)
                .with("public_endpoint", public_endpoint);
            session
                .change("PATCH", &at(&name), Some(&body.change()?), &format!("The registry {name} is changed."))
                .await
        }
        Command::Delete { name, deletion } => {
            let doomed = Doomed { what: "The registry", name: &name, fate: FATE, since: "lies in the trash" };
            session.delete(&at(&name), &deletion, &doomed).await
        }
        Command::Restore { name } => {
            session.change("POST", &at(&name).at(&["restore"]), None, &format!("The registry {name} is back.")).await
        }
    }
}
