//! Registries: made, listed, changed, put into the trash (product.md 2). Rights are not looked at.

use roadstead_db::{
    Db, DbError,
    audit::{self, By},
    project,
    registry::{self, Created, NewRegistry, Registry, Settings},
};
use roadstead_model::{ProjectName, RegistryName, digest::hex};
use serde_json::json;

use crate::Core;

/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 200;

/// Why a registry could not be made, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is none of this name.
    #[error("there is no registry called {0}")]
    Missing(RegistryName),
    /// There is no project of this name.
    #[error("there is no such project")]
    NoProject,
    /// There is no bucket of this name.
    #[error("there is no bucket called {0}")]
    NoBucket(String),
    /// The bucket is for one registry, and one has it.
    #[error(
        "the bucket {0} is for one registry alone, and another one has it (perhaps one in the trash): name another bucket, or none to take the default one"
    )]
    BucketTaken(String),
    /// The name is taken.
    #[error("there is a registry called {0} already")]
    Taken(RegistryName),
    /// The name is that of a registry in the trash.
    #[error("the registry {0} lies in the trash: it can be restored, and keeps its name until it is gone for good")]
    InTrash(RegistryName),
    /// The project may have no more registries.
    #[error(
        "the project has as many registries as it may have, those in the trash included: a system administrator can raise its quota"
    )]
    NoRoom,
    /// It was changed since it was read.
    #[error("the registry has been changed since you read it: read it again, and decide anew")]
    Stale,
    /// What was given is not right; the text says what would be.
    #[error("{0}")]
    Invalid(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What a registry is made with.
#[derive(Clone, Debug)]
pub struct RegistryPlan {
    /// The project it belongs to.
    pub project: ProjectName,
    /// Name of its bucket; `None`: the default one.
    pub bucket: Option<String>,
    /// Words about it.
    pub description: String,
    /// Anyone may pull.
    pub public_pull: bool,
    /// It answers on public listeners.
    pub public_endpoint: bool,
    /// The project is made, if there is none of its name.
    pub make_project: bool,
}

/// What is to change of a registry; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct RegistryChange {
    /// Words about it.
    pub description: Option<String>,
    /// Anyone may pull.
    pub public_pull: Option<bool>,
    /// It answers on public listeners.
    pub public_endpoint: Option<bool>,
}

impl Core {
    /// Registries by name, after `after`, those in the trash included; of a person's row only those in which they have a role.
    pub async fn registries(
        &self,
        person: Option<i64>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Registry>, RegistryError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(registry::list(self.db(), person, after, limit).await?)
    }

    /// One registry, also in the trash.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn registry(&self, name: &RegistryName) -> Result<Registry, RegistryError> {
        show_registry(self.db(), name).await
    }

    /// The name of the registry whose private host name has this random id. It never changes, but a later registry may be called
    /// the same: [`View::PrivateHost`](roadstead_db::facts::View) finds only the right one.
    pub async fn private_registry(&self, id: &str) -> Result<Option<RegistryName>, DbError> {
        let name = registry::by_private_id(self.db(), id).await?;
        Ok(name.and_then(|name| name.parse().ok()))
    }

    /// Makes a registry.
    ///
    /// # Errors
    /// `Taken`, `InTrash`, `NoProject`, `NoBucket`, `BucketTaken`, `NoRoom`, `Invalid`.
    pub async fn create_registry(
        &self,
        name: &RegistryName,
        plan: RegistryPlan,
        by: &By,
    ) -> Result<Registry, RegistryError> {
        check_description(&plan.description)?;
        let bucket = match &plan.bucket {
            None => self.default_bucket(),
            Some(wanted) => self.bucket_row(wanted).ok_or_else(|| RegistryError::NoBucket(wanted.clone()))?,
        };
        let new = NewRegistry {
            project: plan.project,
            name: name.clone(),
            bucket,
            alone: plan.bucket.as_deref().is_some_and(|name| self.is_for_one(name)),
            private_id: hex(&rand::random::<[u8; 8]>()),
            description: plan.description,
            public_pull: plan.public_pull,
            public_endpoint: plan.public_endpoint,
            by: by.clone(),
        };
        let input = (new, plan.make_project, plan.bucket.unwrap_or_default());
        let made = self.db().write(input, |tx, (new, make_project, bucket)| {
            Box::pin(async move {
                if !make_project && project::hold(tx, &new.project).await?.is_none() {
                    return Err(RegistryError::NoProject);
                }
                match registry::create(tx, new).await? {
                    // A project that was made for it goes too.
                    Created::BucketTaken => Err(RegistryError::BucketTaken(bucket.clone())),
                    made => Ok(made),
                }
            })
        });
        let made = made.await?;
        if made == Created::NoRoom {
            return Err(RegistryError::NoRoom);
        }
        let is_new = matches!(made, Created::Made(_));
        let found = self.registry(name).await?;
        match (is_new, found.trashed_until) {
            (true, _) => Ok(found),
            (false, None) => Err(RegistryError::Taken(name.clone())),
            (false, Some(_)) => Err(RegistryError::InTrash(name.clone())),
        }
    }

    /// Changes a registry, if its epoch is still `expected` where one is given.
    ///
    /// # Errors
    /// `Missing`, `InTrash`, `Stale`, `Invalid`.
    pub async fn change_registry(
        &self,
        name: &RegistryName,
        expected: Option<i64>,
        change: RegistryChange,
        by: &By,
    ) -> Result<Registry, RegistryError> {
        check_description(change.description.as_deref().unwrap_or_default())?;
        let input = (name.clone(), expected, change, by.clone());
        let changed = self
            .db()
            .write(input, |tx, (name, expected, change, by)| {
                Box::pin(async move {
                    let found = registry::lock_settings(tx, name).await?;
                    let (id, epoch, old) = found.ok_or_else(|| RegistryError::Missing(name.clone()))?;
                    if expected.is_some_and(|expected| expected != epoch) {
                        return Err(RegistryError::Stale);
                    }
                    let new = Settings {
                        description: change.description.clone().unwrap_or_else(|| old.description.clone()),
                        public_pull: change.public_pull.unwrap_or(old.public_pull),
                        public_endpoint: change.public_endpoint.unwrap_or(old.public_endpoint),
                    };
                    registry::update(tx, id, &new).await?;
                    let words = |it: &Settings| {
                        json!({
                            "description": it.description,
                            "public_pull": it.public_pull,
                            "public_endpoint": it.public_endpoint,
                        })
                    };
                    let (before, after) = (words(&old).to_string(), words(&new).to_string());
                    audit::record(tx, by, "registry.change", name.as_str(), Some(&before), Some(&after)).await?;
                    Ok(())
                })
            })
            .await;
        let found = self.registry(name).await?;
        match changed {
            Err(RegistryError::Missing(_)) => Err(RegistryError::InTrash(name.clone())),
            changed => changed.map(|()| found),
        }
    }

    /// Puts a registry into the trash.
    ///
    /// # Errors
    /// `Missing`, `InTrash`.
    pub async fn delete_registry(&self, name: &RegistryName, by: &By) -> Result<Registry, RegistryError> {
        delete_registry(self.db(), name, self.options().trash_life, by).await
    }
}

/// Puts a registry into the trash for `life` microseconds, as [`Core::delete_registry`] does; its bucket need not be open.
///
/// # Errors
/// `Missing`, `InTrash`.
pub async fn delete_registry(db: &Db, name: &RegistryName, life: i64, by: &By) -> Result<Registry, RegistryError> {
    let input = (name.clone(), by.clone(), life);
    let deleted: Result<bool, DbError> =
        db.write(input, |tx, (name, by, life)| Box::pin(registry::delete(tx, name, by, *life))).await;
    let deleted = deleted?;
    let found = show_registry(db, name).await?;
    if deleted { Ok(found) } else { Err(RegistryError::InTrash(name.clone())) }
}

/// One registry, also in the trash.
///
/// # Errors
/// `Missing`.
pub async fn show_registry(db: &Db, name: &RegistryName) -> Result<Registry, RegistryError> {
    registry::show(db, name).await?.ok_or_else(|| RegistryError::Missing(name.clone()))
}

fn check_description(description: &str) -> Result<(), RegistryError> {
    if description.chars().count() > MAX_DESCRIPTION || description.contains('\0') {
        let words = format!("the description of a registry has at most {MAX_DESCRIPTION} characters");
        return Err(RegistryError::Invalid(words));
    }
    Ok(())
}
