//! The first start makes what a person needs to push an image, and says what to type; a later one says where it left off.

use std::fmt::Write as _;

use roadstead_access::{By, FirstKey, Keys, NewKey, OPERATOR, Of};
use roadstead_db::usage::Usage;
use roadstead_model::RegistryName;
use roadstead_registry::{Core, RegistryError, RegistryPlan};

use crate::commands::bytes;
use crate::config::{Config, Secret};

/// How many registries are counted for the greeting.
const COUNTED: usize = 1000;

/// What a start found or made.
pub enum Start {
    /// There was nobody: a registry and an administrator with this access key were made.
    First {
        /// The first registry.
        registry: RegistryName,
        /// The key; its secret is known only now.
        key: NewKey,
        /// The secret came from the configuration and need not be shown.
        configured: bool,
    },
    /// There was somebody.
    Later {
        /// How many registries there are, `COUNTED` at most.
        registries: usize,
        /// What they hold.
        usage: Usage,
    },
}

/// Looks whether this is the first start of all, and if so makes what it needs. Of two nodes that start at once, one
/// makes it.
///
/// # Errors
/// In words.
pub async fn start(config: &Config, core: &Core, keys: &Keys) -> Result<Start, String> {
    if keys.list(Of::All, "", 1).await.map_err(|error| error.to_string())?.is_empty() {
        // The registry first: a start that is cut off here is taken up by the next one, since nobody is there yet.
        let name = &config.initial.registry;
        let plan = RegistryPlan {
            project: "default".parse().map_err(|_| "`default` is no project's name: a fault of the program")?,
            bucket: None,
            description: String::new(),
            public_pull: false,
            public_endpoint: true,
            make_project: true,
        };
        match core.create_registry(name, plan, &By::name(OPERATOR)).await {
            Ok(_) | Err(RegistryError::Taken(_) | RegistryError::InTrash(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
        let given = FirstKey {
            key_id: config.initial.key_id.clone(),
            secret: config.initial.key_secret.as_ref().map(|secret| secret.expose().clone()),
        };
        if let Some(key) = keys.first_administrator(given).await.map_err(|error| error.to_string())? {
            let configured = config.initial.key_secret.as_ref().map(Secret::expose) == Some(&key.secret);
            return Ok(Start::First { registry: name.clone(), key, configured });
        }
    }
    let all = core.registries(None, "", COUNTED).await.map_err(|error| error.to_string())?;
    let living = all.iter().filter(|registry| registry.trashed_until.is_none());
    let usage = living.clone().fold(Usage::default(), |sum, one| Usage {
        repositories: sum.repositories + one.usage.repositories,
        artifacts: sum.artifacts + one.usage.artifacts,
        bytes: sum.bytes + one.usage.bytes,
        ..sum
    });
    Ok(Start::Later { registries: living.count(), usage })
}

impl Start {
    /// Words for the person who typed the command. `host` is what a client would be given as address.
    pub fn greeting(&self, host: &str) -> String {
        let mut text = format!("Roadstead {}\n\n", env!("CARGO_PKG_VERSION"));
        let _ = match self {
            Self::First { registry, key, configured } => {
                let (key_id, made) = (&key.key_id, "write it down, it is not shown again");
                let (shown, password) = match configured {
                    true => ("the one you configured".to_owned(), "SECRET".to_owned()),
                    false => (format!("{}  ({made})", key.secret), key.secret.clone()),
                };
                let note = if *configured { " (the secret is the one you configured)" } else { "" };
                writeln!(
                    text,
                    "This is the first start. It has made:\n\n\
                     \x20 registry     {registry}\n\
                     \x20 person       {}\n\
                     \x20 access key   {key_id}\n\
                     \x20 secret       {shown}\n\n\
                     Push your first image from another terminal{note}:\n\n\
                     \x20 docker login {host} -u {key_id} -p {password}\n\
                     \x20 docker pull hello-world      (or take an image that you have)\n\
                     \x20 docker tag hello-world {host}/{registry}/hello-world\n\
                     \x20 docker push {host}/{registry}/hello-world\n\n\
                     `roadstead --help` shows what else there is.",
                    key.owner
                )
            }
            Self::Later { registries, usage } => {
                let more = if *registries >= COUNTED { " or more" } else { "" };
                writeln!(
                    text,
                    "Going on with {registries}{more} {}, {} {}, {} at {host}.",
                    plural(*registries as i64, "registry", "registries"),
                    usage.artifacts,
                    plural(usage.artifacts, "artifact", "artifacts"),
                    bytes(usage.bytes),
                )
            }
        };
        text
    }
}

fn plural<'a>(count: i64, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> NewKey {
        NewKey { key_id: "RSKEY".to_owned(), secret: "hunter2".to_owned(), owner: "administrator".to_owned() }
    }

    #[test]
    fn the_first_start_says_what_to_type() {
        let registry = "main".parse().expect("a name");
        let text = Start::First { registry, key: key(), configured: false }.greeting("127.0.0.1:5000");
        for line in [
            "  docker login 127.0.0.1:5000 -u RSKEY -p hunter2\n",
            "  docker tag hello-world 127.0.0.1:5000/main/hello-world\n",
            "  docker push 127.0.0.1:5000/main/hello-world\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_configured_secret_is_not_shown() {
        let registry = "main".parse().expect("a name");
        let text = Start::First { registry, key: key(), configured: true }.greeting("127.0.0.1:5000");
        assert!(!text.contains("hunter2") && !text.contains('$'), "{text}");
        assert!(text.contains("the secret is the one you configured") && text.contains(" -p SECRET\n"), "{text}");
    }

    #[test]
    fn a_later_start_says_where_it_left_off() {
        let usage = Usage { repositories: 1, artifacts: 12, bytes: 3 << 30, ..Usage::default() };
        let text = Start::Later { registries: 1, usage }.greeting("127.0.0.1:5000");
        assert!(text.contains("1 registry, 12 artifacts, 3.0 GiB"), "{text}");
    }
}
