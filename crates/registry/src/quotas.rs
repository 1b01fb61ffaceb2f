//! Quotas: shown and set, and what they mean for a push (product.md 4).
//!
//! A push is refused as soon as it is known that it does not fit: when it begins, by what a request says of its size, while bytes come,
//! and at its end in the transaction that makes the blob visible. So a registry is never over by more than the uploads under way. Where no
//! quota of bytes is set, nothing is asked for.

use roadstead_db::{
    Tx,
    audit::{self, By},
    quota::{self, Quota, Quotas},
};
use roadstead_model::{Place, ProjectName, RegistryName};
use serde_json::json;

use crate::{Core, Error, Gate, RegistryError, Result};

/// The most that a quota can be.
const MOST: i64 = 1 << 60;

/// How large an upload may be by the quotas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Option<Tightest>);

#[derive(Clone, Debug)]
struct Tightest {
    bytes: u64,
    /// Which quota, and how far it is used.
    words: String,
}

impl Room {
    /// # Errors
    /// [`Error::QuotaFull`] for an upload of so many bytes in all.
    pub(crate) fn check(&self, size: u64) -> Result<()> {
        match &self.0 {
            Some(tightest) if size > tightest.bytes => {
                Err(Error::QuotaFull(format!("{size} bytes do not fit into {}", tightest.words)))
            }
            _ => Ok(()),
        }
    }
}

fn words(what: &str, quotas: &Quotas) -> String {
    let limit = quotas.bytes.limit.unwrap_or_default();
    let (name, used) = (&quotas.name, quotas.bytes.used);
    format!("the quota of the {what} {name}: {used} of {limit} bytes are used, what lies in the trash included")
}

/// The registry comes first, then its project.
fn named(all: &[Quotas]) -> impl Iterator<Item = (&'static str, &Quotas)> {
    ["registry", "project"].into_iter().zip(all)
}

impl Core {
    /// Whether an upload may begin: of a `size` that is known, or of one that is not.
    ///
    /// # Errors
    /// [`Error::QuotaFull`], [`Error::TooManyRepositories`].
    pub async fn admit(&self, gate: &Gate, place: &Place, size: Option<u64>) -> Result<()> {
        self.room(gate).await?.check(size.unwrap_or(0))?;
        if gate.facts.repository.is_none()
            && let Some(found) = quota::of_registry(self.db(), &place.registry).await?
        {
            room_for_repository(&found)?;
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::QuotaFull`] where there is room for nothing.
    pub(crate) async fn room(&self, gate: &Gate) -> Result<Room> {
        let registry = gate.registry()?;
        if !registry.limited {
            return Ok(Room::default());
        }
        let all = quota::of_both(self.db(), registry.id).await?;
        let rooms = named(&all).filter_map(|(what, quotas)| Some((quotas.bytes.room()?, what, quotas)));
        let Some((bytes, what, quotas)) = rooms.min_by_key(|(bytes, ..)| *bytes) else { return Ok(Room::default()) };
        if bytes == 0 {
            return Err(Error::QuotaFull(format!("nothing more fits into {}", words(what, quotas))));
        }
        let bytes = u64::try_from(bytes).unwrap_or_default();
        Ok(Room(Some(Tightest { bytes, words: words(what, quotas) })))
    }

    /// The quotas of a project, with what is used of them.
    ///
    /// # Errors
    /// `NoProject`.
    pub async fn project_quotas(&self, name: &ProjectName) -> std::result::Result<Quotas, RegistryError> {
        quota::of_project(self.db(), name).await?.ok_or(RegistryError::NoProject)
    }

    /// The quotas of a registry, with what is used of them.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn registry_quotas(&self, name: &RegistryName) -> std::result::Result<Quotas, RegistryError> {
        quota::of_registry(self.db(), name).await?.ok_or_else(|| RegistryError::Missing(name.clone()))
    }

    /// Sets how many registries and bytes a project may have. What it has stays, even if that is more.
    ///
    /// # Errors
    /// `NoProject`, `Invalid`.
    pub async fn set_project_quotas(
        &self,
        name: &ProjectName,
        registries: i64,
        bytes: Option<i64>,
        by: &By,
    ) -> std::result::Result<Quotas, RegistryError> {
        check(registries, bytes)?;
        let input = (name.clone(), registries, bytes, by.clone());
        self.db()
            .write(input, |tx, (name, registries, bytes, by)| {
                Box::pin(async move {
                    let had = quota::set_of_project(tx, name, *registries, *bytes).await?;
                    let (id, old_registries, old_bytes) = had.ok_or(RegistryError::NoProject)?;
                    let words =
                        |count: i64, bytes: Option<i64>| json!({"registries": count, "bytes": bytes}).to_string();
                    let (before, after) = (words(old_registries, old_bytes), words(*registries, *bytes));
                    let by = by.about(id);
                    audit::record(tx, &by, "project.quotas", name.as_str(), Some(&before), Some(&after)).await?;
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        self.project_quotas(name).await
    }

    /// Sets how many repositories and bytes a registry may have. What it has stays, even if that is more.
    ///
    /// # Errors
    /// `Missing`, `Invalid`.
    pub async fn set_registry_quotas(
        &self,
        name: &RegistryName,
        repositories: i64,
        bytes: Option<i64>,
        by: &By,
    ) -> std::result::Result<Quotas, RegistryError> {
        check(repositories, bytes)?;
        let input = (name.clone(), repositories, bytes, by.clone());
        self.db()
            .write(input, |tx, (name, repositories, bytes, by)| {
                Box::pin(async move {
                    let had = quota::set_of_registry(tx, name, *repositories, *bytes).await?;
                    let had = had.ok_or_else(|| RegistryError::Missing(name.clone()))?;
                    let (project, old_repositories, old_bytes) = had;
                    let words =
                        |count: i64, bytes: Option<i64>| json!({"repositories": count, "bytes": bytes}).to_string();
                    let (before, after) = (words(old_repositories, old_bytes), words(*repositories, *bytes));
                    let by = by.about(project);
                    audit::record(tx, &by, "registry.quotas", name.as_str(), Some(&before), Some(&after)).await?;
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        self.registry_quotas(name).await
    }
}

/// The last word, in the transaction that made something visible in a registry that has a quota.
///
/// # Errors
/// [`Error::QuotaFull`], whereupon the transaction must be given up.
pub(crate) async fn keep_within(tx: &mut Tx<'_>, registry: i64) -> Result<()> {
    let all = quota::of_both_now(tx, registry).await?;
    match named(&all).find(|(_, quotas)| quotas.bytes.is_over()) {
        Some((what, Quotas { name, bytes, .. })) => {
            let limit = bytes.limit.unwrap_or_default();
            let words = format!("this does not fit into the quota of the {what} {name}: with it");
            Err(Error::QuotaFull(format!("{words} {} of {limit} bytes would be used", bytes.used)))
        }
        None => Ok(()),
    }
}

/// Before the first artifact of a repository: from then on it counts.
///
/// # Errors
/// [`Error::TooManyRepositories`].
pub(crate) async fn before_artifact(tx: &mut Tx<'_>, registry: i64, repository: i64) -> Result<()> {
    if quota::counts(tx, repository).await? {
        return Ok(());
    }
    match quota::of_registry_now(tx, registry).await? {
        Some(quotas) => room_for_repository(&quotas),
        None => Ok(()),
    }
}

fn room_for_repository(quotas: &Quotas) -> Result<()> {
    let Quota { limit, used } = quotas.count;
    match quotas.count.room() {
        Some(0) => Err(Error::TooManyRepositories(format!(
            "the registry {} has {used} repositories, what lies in the trash included, and may have {}",
            quotas.name,
            limit.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
}

fn check(count: i64, bytes: Option<i64>) -> std::result::Result<(), RegistryError> {
    if !(0..=MOST).contains(&count) || bytes.is_some_and(|bytes| !(0..=MOST).contains(&bytes)) {
        let words = format!("a quota is a whole number from 0 to {MOST}; of bytes also null, for none");
        return Err(RegistryError::Invalid(words));
    }
    Ok(())
}
