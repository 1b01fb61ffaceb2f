//! Manifest pushes: everything a manifest changes is one transaction.

use bytes::Bytes;
use roadstead_db::{
    Tx,
    artifact::{self, NewArtifact},
    blob, event,
    repository::{self, Held},
    tag::{self, Because, Set},
    usage,
};
use roadstead_model::{
    Algorithm, Digest, Place, Tag,
    manifest::{Edge, Manifest, Role},
};

use crate::{Core, Error, Gate, Result, quotas};

/// A manifest that is pushed.
pub struct ManifestPush {
    /// Content-Type without parameters; `None` when there was no header.
    pub media_type: Option<String>,
    /// The exact bytes.
    pub body: Bytes,
    /// The digest in the path, when it was pushed by digest.
    pub digest: Option<Digest>,
    /// The tag in the path, or those of `?tag=`.
    pub tags: Vec<Tag>,
    /// Who pushes, for history (key id).
    pub by: String,
}

/// A manifest that was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Its digest.
    pub digest: Digest,
    /// Its subject (for OCI-Subject).
    pub subject: Option<Digest>,
    /// Config and layers that are not in the repository: until they are pushed, nobody can pull the image whole.
    pub missing: Vec<Digest>,
}

impl Core {
    /// Pushes a manifest into a repository, making the repository when there is none (a manifest may name no blob of it).
    pub async fn put_manifest(&self, gate: &Gate, place: &Place, push: ManifestPush) -> Result<Pushed> {
        let registry = gate.registry()?.id;
        let algorithm = push.digest.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let actual = Digest::of(algorithm, &push.body);
        if let Some(expected) = push.digest
            && expected != actual
        {
            return Err(Error::DigestMismatch { expected, actual });
        }
        let manifest = Manifest::read(&push.body, push.media_type.as_deref())
            .map_err(|error| Error::ManifestInvalid(error.to_string()))?;
        let referrer = match manifest.subject {
            Some(_) => {
                let descriptor = manifest.descriptor(&actual, push.body.len());
                Some(serde_json::to_string(&descriptor).map_err(|error| Error::Internal(error.to_string()))?)
            }
            None => None,
        };
        let pushed = Pushed { digest: actual, subject: manifest.subject, missing: Vec::new() };
        let input = Push {
            registry,
            name: place.repository.to_string(),
            digest: actual,
            manifest,
            referrer,
            push,
            require_blobs: self.options().require_blobs,
            grace: self.options().collect_grace,
        };
        let missing = self.db().write(input, |tx, input| Box::pin(input.run(tx))).await?;
        Ok(Pushed { missing, ..pushed })
    }
}

struct Push {
    registry: i64,
    name: String,
    digest: Digest,
    manifest: Manifest,
    referrer: Option<String>,
    push: ManifestPush,
    require_blobs: bool,
    grace: i64,
}

impl Push {
    /// What is missing.
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Digest>> {
        let id = repository::find_or_make(tx, self.registry, &self.name).await?.ok_or(Error::NameUnknown)?;
        let held = repository::hold(tx, id).await?.ok_or(Error::NameUnknown)?;
        quotas::before_artifact(tx, self.registry, id).await?;
        artifact::prepare_new_type(tx, id, &self.digest, &self.manifest.media_type, self.grace).await?;
        let Contents { blobs, missing } = self.find_contents(tx, id, &held).await?;
        if self.require_blobs && !missing.is_empty() {
            return Err(Error::ManifestBlobUnknown(missing));
        }
        let new = NewArtifact {
            repository: id,
            registry: held.registry,
            digest: &self.digest,
            body: &self.push.body,
            manifest: &self.manifest,
            referrer: self.referrer.as_deref(),
            blobs: &blobs,
            by: &self.push.by,
            grace: self.grace,
        };
        let (artifact, mut change) = artifact::store(tx, &new).await?;
        // In the order of their names: two pushes of the same tags would wait for each other's in another one.
        let mut in_order: Vec<&Tag> = self.push.tags.iter().collect();
        in_order.sort();
        in_order.dedup();
        for tag in in_order {
            let mutable = can_be_moved(tag.as_str(), held.mutable_tags);
            let to = (artifact, &self.digest);
            let because = Because { why: "push", by: &self.push.by };
            match tag::set(tx, id, tag.as_str(), to, because, mutable).await? {
                Set::Refused => return Err(Error::TagImmutable(tag.to_string())),
                Set::Made => change.tags += 1,
                Set::Moved(_) | Set::Same => {}
            }
        }
        usage::add(tx, &change).await?;
        let tags: Vec<&str> = self.push.tags.iter().map(Tag::as_str).collect();
        let body = serde_json::json!({ "tags": tags, "mediaType": self.manifest.media_type, "by": self.push.by });
        let subject = self.digest.to_string();
        event::record(tx, "artifact.push", held.registry, Some(&held.name), &subject, &body.to_string()).await?;
        Ok(missing)
    }

    /// What of the manifest is here. Layers that lie elsewhere need not be; children of an index may come later or never, and
    /// may be blobs (protocol.md F6).
    async fn find_contents(&self, tx: &mut Tx<'_>, repository: i64, held: &Held) -> Result<Contents> {
        let of = |wanted: fn(Role) -> bool| -> Vec<&Edge> {
            self.manifest.edges.iter().filter(|edge| wanted(edge.role)).collect()
        };
        let children = of(|role| role == Role::Child);
        // A child that lives is kept from being deleted until this transaction ends.
        let living = artifact::find_all_living(tx, repository, &stored(&children)).await?;
        let others: Vec<&Edge> =
            children.into_iter().zip(living).filter(|(_, living)| living.is_none()).map(|(edge, _)| edge).collect();
        let found = blob::find_all_linked(tx, repository, held.bucket, &stored(&others)).await?;
        let mut blobs: Vec<i64> = found.into_iter().flatten().collect();

        let parts = of(|role| matches!(role, Role::Config | Role::Layer));
        let found = blob::find_all_linked(tx, repository, held.bucket, &stored(&parts)).await?;
        let mut missing = Vec::new();
        for (edge, found) in parts.iter().zip(found) {
            match found {
                Some(blob) => blobs.push(blob),
                None if edge.elsewhere => {}
                None => missing.push(edge.digest),
            }
        }
        Ok(Contents { blobs, missing })
    }
}

struct Contents {
    /// Rows of the blobs that the manifest holds.
    blobs: Vec<i64>,
    missing: Vec<Digest>,
}

fn stored(edges: &[&Edge]) -> Vec<Vec<u8>> {
    edges.iter().map(|edge| edge.digest.to_stored()).collect()
}

/// Whether a tag that exists may be moved. The tags that carry signatures are exempt from immutability: a second signature is pushed over the
/// first (product.md 5).
pub(crate) fn can_be_moved(tag: &str, mutable_tags: bool) -> bool {
    let carries_signatures = |rest: &str| {
        let hex = rest.split('.').next().unwrap_or_default();
        hex.len() == 64 && hex.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    mutable_tags || tag.strip_prefix("sha256-").is_some_and(carries_signatures)
}
