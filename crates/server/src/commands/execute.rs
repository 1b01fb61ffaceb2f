//! Commands as data, and what comes of them.

use std::time::Duration;

use roadstead_access::{By, KeyError, KeyFor, Keys, OPERATOR, Of};
use roadstead_db::registry::{self, Registry};
use roadstead_db::{Db, DbError};
use roadstead_model::RegistryName;
use roadstead_registry::{Core, RegistryError, RegistryPlan, delete_registry, show_registry};
use serde::{Deserialize, Serialize};

/// Most rows that a list asks for at once.
const PAGE: i64 = 500;

/// Something to do to the data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Makes a registry.
    RegistryCreate {
        /// Its name.
        name: String,
        /// The project it belongs to.
        project: String,
        /// The bucket that its blobs go to; the default one if none is named.
        bucket: Option<String>,
        /// Anyone may pull.
        public: bool,
        /// Words about it.
        description: String,
    },
    /// All registries.
    RegistryList,
    /// One registry.
    RegistryShow {
        /// Its name.
        name: String,
    },
    /// Puts a registry into the trash.
    RegistryDelete {
        /// Its name.
        name: String,
    },
    /// Makes an access key.
    KeyCreate {
        /// Whose it is.
        person: String,
        /// What it is for.
        description: String,
        /// Days after which it ends by itself.
        days: Option<u32>,
    },
    /// Access keys of one person, or all.
    KeyList {
        /// Of this person only.
        person: Option<String>,
    },
    /// Revokes an access key.
    KeyRevoke {
        /// Its id.
        key_id: String,
    },
    /// Finds out whether the database answers, and what its clock says.
    DatabaseTime,
}

/// What came of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A registry was made.
    Created(RegistryView),
    /// A registry.
    Registry(RegistryView),
    /// Registries by name.
    Registries(Vec<RegistryView>),
    /// A registry lies in the trash now.
    Deleted(RegistryView),
    /// An access key was made.
    NewKey(NewKeyView),
    /// Access keys by id.
    Keys(Vec<KeyView>),
    /// An access key was revoked.
    Revoked {
        /// Its id.
        key_id: String,
    },
    /// The database's clock, microseconds since 1970.
    DatabaseTime(i64),
}

/// Why a command was not carried out, in words.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// A registry as commands show it. Times are microseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegistryView {
    /// Its name.
    pub name: String,
    /// The project it belongs to.
    pub project: String,
    /// `standard` or `image-cache`.
    pub kind: String,
    /// The bucket that its layers live in.
    pub bucket: String,
    /// Words about it.
    pub description: String,
    /// Anyone may pull.
    pub public_pull: bool,
    /// Repositories that hold an artifact.
    pub repositories: i64,
    /// Artifacts.
    pub artifacts: i64,
    /// Bytes that it stores.
    pub bytes: i64,
    /// When it was made.
    pub created: i64,
    /// It lies in the trash and is gone for good then.
    pub trashed_until: Option<i64>,
}

/// A new access key.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewKeyView {
    /// User name for `docker login`.
    pub key_id: String,
    /// Password for `docker login`.
    pub secret: String,
    /// Whose it is.
    pub person: String,
    /// When it ends by itself, microseconds since 1970, to the second.
    #[serde(default)]
    pub expires: Option<i64>,
}

impl std::fmt::Debug for NewKeyView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKeyView").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// An access key as commands show it. Times are microseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyView {
    /// User name for `docker login`.
    pub key_id: String,
    /// Whose it is.
    pub person: String,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created: i64,
    /// When it was last used, to the hour.
    pub used: Option<i64>,
    /// When it ends by itself.
    pub expires: Option<i64>,
    /// When it was revoked.
    pub revoked: Option<i64>,
    /// Neither revoked nor expired.
    pub living: bool,
}

/// What commands work on.
#[derive(Clone)]
pub struct Services {
    /// The database.
    pub db: Db,
    /// Access keys.
    pub keys: Keys,
    /// The core, which knows the buckets; none when only keys and lists are asked for.
    pub core: Option<Core>,
    /// How long what is deleted can be restored, in microseconds.
    pub trash_life: i64,
}

impl Command {
    /// It makes something, so it may be the first that is ever done in a data directory.
    pub fn makes(&self) -> bool {
        matches!(self, Self::RegistryCreate { .. } | Self::KeyCreate { .. })
    }

    /// It needs to know the buckets, so they have to be opened for it.
    pub fn needs_buckets(&self) -> bool {
        matches!(self, Self::RegistryCreate { .. })
    }
}

/// Carries out a command.
///
/// # Errors
/// What is in the way, in words.
pub async fn execute(services: &Services, command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::RegistryCreate { name, project, bucket, public, description } => {
            let project = project.parse().map_err(|error| Failure(format!("the project {project:?}: {error}")))?;
            let core = services.core.as_ref().ok_or_else(|| Failure("the buckets are not open".to_owned()))?;
            let plan = RegistryPlan {
                project,
                bucket,
                description,
                public_pull: public,
                public_endpoint: true,
                make_project: true,
            };
            let made = core.create_registry(&registry_name(&name)?, plan, &By::name(OPERATOR)).await;
            made.map(|registry| Outcome::Created(registry.into())).map_err(|error| match error {
                RegistryError::NoBucket(_) => {
                    let known: Vec<_> = core.bucket_names().collect();
                    Failure(format!("{error}: the configuration names {}", known.join(", ")))
                }
                error => registry_failure(error),
            })
        }
        Command::RegistryList => list(services).await,
        Command::RegistryShow { name } => show(services, &registry_name(&name)?).await.map(Outcome::Registry),
        Command::RegistryDelete { name } => delete(services, &name).await,
        Command::KeyCreate { person, description, days } => create_key(services, &person, &description, days).await,
        Command::KeyList { person } => list_keys(services, person.as_deref()).await,
        Command::KeyRevoke { key_id } => {
            services.keys.revoke(&key_id, None, &By::name(OPERATOR)).await.map_err(key_failure)?;
            Ok(Outcome::Revoked { key_id })
        }
        Command::DatabaseTime => {
            services.db.ping().await.map_err(database_failure)?;
            services.db.now().await.map(Outcome::DatabaseTime).map_err(database_failure)
        }
    }
}

async fn list(services: &Services) -> Result<Outcome, Failure> {
    let mut all: Vec<RegistryView> = Vec::new();
    loop {
        let last = all.last().map_or("", |registry| registry.name.as_str());
        let page = registry::list(&services.db, None, last, PAGE).await.map_err(database_failure)?;
        let whole = page.len() as i64 == PAGE;
        all.extend(page.into_iter().map(RegistryView::from));
        if !whole {
            return Ok(Outcome::Registries(all));
        }
    }
}

async fn show(services: &Services, name: &RegistryName) -> Result<RegistryView, Failure> {
    show_registry(&services.db, name).await.map(RegistryView::from).map_err(registry_failure)
}

async fn delete(services: &Services, name: &str) -> Result<Outcome, Failure> {
    let name = registry_name(name)?;
    let deleted = delete_registry(&services.db, &name, services.trash_life, &By::name(OPERATOR)).await;
    deleted.map(|registry| Outcome::Deleted(registry.into())).map_err(registry_failure)
}

async fn create_key(
    services: &Services,
    person: &str,
    description: &str,
    days: Option<u32>,
) -> Result<Outcome, Failure> {
    if days == Some(0) {
        let words = "a key of 0 days would be expired at once: give at least 1, or leave `--days` out for one that does not end";
        return Err(Failure(words.to_owned()));
    }
    let lifetime = days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
    let now = services.db.now().await.map_err(database_failure)?;
    let key = services
        .keys
        .create(KeyFor::Person(person.to_owned()), description, lifetime, &By::name(OPERATOR))
        .await
        .map_err(key_failure)?;
    let expires = lifetime.map(|lifetime| now.saturating_add(i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX)));
    Ok(Outcome::NewKey(NewKeyView { key_id: key.key_id, secret: key.secret, person: key.owner, expires }))
}

async fn list_keys(services: &Services, person: Option<&str>) -> Result<Outcome, Failure> {
    let mut all: Vec<KeyView> = Vec::new();
    loop {
        let last = all.last().map_or("", |key| key.key_id.as_str());
        let of = person.map_or(Of::All, Of::Person);
        let page = services.keys.list(of, last, PAGE as u32).await.map_err(key_failure)?;
        let whole = page.len() as i64 == PAGE;
        all.extend(page.into_iter().map(|key| KeyView {
            key_id: key.key_id,
            person: key.owner,
            description: key.description,
            created: key.created,
            used: key.used,
            expires: key.expires,
            revoked: key.revoked,
            living: key.living,
        }));
        if !whole {
            return Ok(Outcome::Keys(all));
        }
    }
}

impl From<Registry> for RegistryView {
    fn from(row: Registry) -> Self {
        Self {
            name: row.name,
            project: row.project,
            kind: row.kind,
            bucket: row.bucket,
            description: row.description,
            public_pull: row.public_pull,
            repositories: row.usage.repositories,
            artifacts: row.usage.artifacts,
            bytes: row.usage.bytes,
            created: row.created,
            trashed_until: row.trashed_until,
        }
    }
}

fn registry_name(name: &str) -> Result<RegistryName, Failure> {
    name.parse().map_err(|error| Failure(format!("{name:?} is no name of a registry: {error}")))
}

fn registry_failure(error: RegistryError) -> Failure {
    match error {
        RegistryError::Database(error) => database_failure(error),
        RegistryError::Missing(name) => {
            Failure(format!("there is no registry called {name}: `roadstead registry list` shows all"))
        }
        error => Failure(error.to_string()),
    }
}

fn key_failure(error: KeyError) -> Failure {
    Failure(error.to_string())
}

fn database_failure(error: DbError) -> Failure {
    Failure(format!("the database: {error}"))
}
