//! Deletes: gone from view at once, in the trash until their time is over (invariant 6).

use std::collections::BTreeSet;

use roadstead_db::{
    DbError, Tx, artifact,
    audit::{self, By},
    blob, event,
    repository::{self, Held},
    tag,
    trash::{self, Step},
    usage::{self, Change},
};
use roadstead_model::{Digest, Reference, manifest::Role};

use crate::{Core, Error, Gate, Result};

/// So many of the tags of an artifact that is deleted the audit log names.
const TAGS_TOLD: usize = 20;

/// Steps of one deletion that a request takes itself; a larger tree is finished in the background.
const STEPS_IN_REQUEST: usize = 256;

impl Core {
    /// Deletes a manifest by digest, with its tags, and with the children and referrers that nothing else holds
    /// (product.md 7); or a tag alone.
    pub async fn delete_manifest(&self, gate: &Gate, reference: &Reference, by: &By) -> Result<()> {
        self.delete_reference(gate.repository()?, reference, by).await
    }

    /// As [`Self::delete_manifest`].
    pub(crate) async fn delete_reference(&self, repository: i64, reference: &Reference, by: &By) -> Result<()> {
        let life = self.options().trash_life;
        let delete = Delete { repository, reference: reference.clone(), by: by.clone(), life };
        let deletion = self.db().write(delete, |tx, delete| Box::pin(delete.run(tx))).await?;
        for _ in 0..STEPS_IN_REQUEST {
            if !self.follow(Some(deletion), &by.who).await? {
                break;
            }
        }
        Ok(())
    }

    /// Lets the children and referrers of one deleted artifact follow it. False: none was waiting; of one deletion, if given, none
    /// is left, wherever they were taken.
    pub(crate) async fn follow(&self, deletion: Option<i64>, by: &str) -> Result<bool> {
        let input = (deletion, by.to_owned());
        Ok(self
            .db()
            .write(input, |tx, (deletion, by)| Box::pin(follow(tx, *deletion, by)))
            .await
            .map_err(|error: DbError| error)?)
    }

    /// Hides a blob in this repository, at once and for good.
    pub async fn delete_blob(&self, gate: &Gate, digest: &Digest, by: &By) -> Result<()> {
        let repository = gate.repository().map_err(|_| Error::BlobUnknown(*digest))?;
        self.db()
            .write((repository, *digest, by.clone()), |tx, (repository, digest, by)| {
                Box::pin(delete_blob(tx, *repository, *digest, by))
            })
            .await
    }
}

struct Delete {
    repository: i64,
    reference: Reference,
    by: By,
    life: i64,
}

impl Delete {
    /// The deletion's row.
    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64> {
        let held = repository::hold(tx, self.repository).await?.ok_or(Error::NameUnknown)?;
        match &self.reference {
            Reference::Tag(name) => {
                let deletion = self.begin(tx, "tag", &held).await?;
                let gone = tag::delete(tx, self.repository, name.as_str(), &self.by.who, deletion).await?;
                let digest = gone.ok_or_else(|| Error::ManifestUnknown(name.to_string()))?;
                let change = Change { tags: -1, changed: true, ..Change::of(held.registry, self.repository) };
                usage::add(tx, &change).await?;
                self.record(tx, "tag.delete", &held, &serde_json::json!({ "digest": digest.to_string() })).await?;
                Ok(deletion)
            }
            Reference::Digest(digest) => {
                let artifact = artifact::find_living_alone(tx, self.repository, digest).await?;
                let artifact = artifact.ok_or_else(|| Error::ManifestUnknown(digest.to_string()))?;
                let deletion = self.begin(tx, "artifact", &held).await?;
                trash::put_artifact(tx, artifact, deletion).await?;
                let tags =
                    tag::delete_of_artifact(tx, self.repository, (artifact, digest), &self.by.who, deletion).await?;
                let fewer = i64::try_from(tags.len()).unwrap_or(i64::MAX);
                let change = Change::of(held.registry, self.repository);
                usage::add(tx, &Change { living: -1, tags: -fewer, changed: true, ..change }).await?;
                let some: Vec<&String> = tags.iter().take(TAGS_TOLD).collect();
                self.record(tx, "artifact.delete", &held, &serde_json::json!({ "tags": some })).await?;
                Ok(deletion)
            }
        }
    }

    async fn begin(&self, tx: &mut Tx<'_>, kind: &str, held: &Held) -> Result<i64> {
        let subject = self.object(held);
        Ok(trash::begin(tx, kind, held.registry, Some(self.repository), &subject, &self.by.who, self.life).await?)
    }

    /// What is deleted, by its name in the registry.
    fn object(&self, held: &Held) -> String {
        let joint = if matches!(self.reference, Reference::Tag(_)) { ':' } else { '@' };
        format!("{}{joint}{}", held.name, self.reference)
    }

    async fn record(&self, tx: &mut Tx<'_>, kind: &str, held: &Held, before: &serde_json::Value) -> Result<()> {
        audit::record_in(tx, &self.by, held.registry, kind, &self.object(held), Some(&before.to_string())).await?;
        let body = serde_json::json!({ "by": self.by.who }).to_string();
        Ok(event::record(tx, kind, held.registry, Some(&held.name), &self.reference.to_string(), &body).await?)
    }
}

/// One step: the children that only the deleted index held, and the referrers whose subject is gone, go along.
async fn follow(tx: &mut Tx<'_>, deletion: Option<i64>, by: &str) -> std::result::Result<bool, DbError> {
    let Some(step) = trash::take_step(tx, deletion).await? else {
        return match deletion {
            Some(deletion) => trash::has_steps(tx, deletion).await,
            None => Ok(false),
        };
    };
    let Some(held) = repository::hold(tx, step.repository).await? else { return Ok(true) };
    let children = artifact::named(tx, step.artifact, Role::Child).await?;
    let mut followers: BTreeSet<Digest> = children.into_iter().collect();
    // Pushed again meanwhile: then its referrers refer to something that lives. A push that is not over yet is not seen: they go then, as they
    // would have a moment before it.
    if artifact::find_living(tx, step.repository, &step.digest).await?.is_none() {
        let referrers = artifact::referring(tx, step.repository, &step.digest).await?;
        followers.extend(referrers);
    }
    // In the order of their digests, as the push of an index locks them.
    for digest in followers {
        let Some(follower) = artifact::find_living_alone(tx, step.repository, &digest).await? else { continue };
        follow_one(tx, &step, &held, (follower, &digest), by).await?;
    }
    Ok(true)
}

/// `follower` is locked, so that nobody begins to hold it after the look.
async fn follow_one(
    tx: &mut Tx<'_>,
    step: &Step,
    held: &Held,
    follower: (i64, &Digest),
    by: &str,
) -> std::result::Result<(), DbError> {
    let (artifact, digest) = follower;
    if artifact::stays(tx, step.repository, artifact, digest, step.deletion).await? {
        return Ok(());
    }
    trash::put_artifact(tx, artifact, step.deletion).await?;
    usage::add(tx, &Change { living: -1, changed: true, ..Change::of(held.registry, step.repository) }).await?;
    let body = serde_json::json!({ "by": by, "with": step.digest.to_string() }).to_string();
    event::record(tx, "artifact.delete", held.registry, Some(&held.name), &digest.to_string(), &body).await
}

async fn delete_blob(tx: &mut Tx<'_>, repository: i64, digest: Digest, by: &By) -> Result<()> {
    let held = repository::hold(tx, repository).await?.ok_or(Error::NameUnknown)?;
    let blob =
        blob::find_linked_alone(tx, repository, held.bucket, &digest).await?.ok_or(Error::BlobUnknown(digest))?;
    if blob::is_held(tx, repository, &digest).await? {
        return Err(Error::BlobHeld);
    }
    blob::hide(tx, repository, blob).await?;
    audit::record_in(tx, by, held.registry, "blob.delete", &format!("{}@{digest}", held.name), None).await?;
    Ok(())
}
