//! The referrers answer: what the database knows of a subject, and what an older client wrote into the fallback tag.

use std::collections::HashSet;

use bytes::Bytes;
use roadstead_db::{artifact, facts::Asker, pull};
use roadstead_model::{
    Digest, Place, Reference,
    manifest::{Descriptor, Manifest, OCI_INDEX},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Core, Error, Gate, Result};

/// Most bytes of one page (protocol.md K5).
const PAGE_BYTES: usize = 4 << 20;

/// Rows that are read at a time.
const ROWS: i64 = 1000;

/// Most entries of a fallback index that are looked at.
const FALLBACK_ENTRIES: usize = 10_000;

/// One page of the referrers of a digest.
#[derive(Clone, Debug)]
pub struct ReferrersPage {
    /// The whole image index as JSON.
    pub body: Bytes,
    /// `last=` of the next page.
    pub next: Option<String>,
}

impl Core {
    /// The referrers of `subject` in a repository, after `last`; of one artifact type if asked. A digest or repository that
    /// was never pushed has none (protocol.md K1).
    pub async fn referrers(
        &self,
        gate: &Gate,
        place: &Place,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: Option<&str>,
    ) -> Result<ReferrersPage> {
        let Some(repository) = gate.facts.repository else { return ReferrersPage::of(Vec::new(), None) };
        let mut after = last.and_then(|last| last.parse().ok()).unwrap_or(0i64);
        let mut entries = Vec::new();
        let mut size = 0;
        if after == 0 {
            entries = self.fallback_entries(place, repository, subject, artifact_type).await?;
            size = entries.iter().map(String::len).sum();
        }
        loop {
            let rows = artifact::referrers(self.db(), repository, subject, artifact_type, after, ROWS).await?;
            let full = rows.len() < usize::try_from(ROWS).unwrap_or(usize::MAX);
            for row in rows {
                size += row.descriptor.len() + 1;
                if size > PAGE_BYTES && !entries.is_empty() {
                    return ReferrersPage::of(entries, Some(after.to_string()));
                }
                after = row.id;
                entries.push(row.descriptor);
            }
            if full {
                return ReferrersPage::of(entries, None);
            }
        }
    }

    /// Entries of the index under the tag `sha256-<hex>` that the referrers themselves don't answer: manifests without a
    /// subject that a client without the referrers API listed there (protocol.md K6). An entry whose manifest is not in
    /// the repository is of no use to anyone and left out; fields that clients forget come from the manifest itself.
    async fn fallback_entries(
        &self,
        place: &Place,
        repository: i64,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<String>> {
        let name = format!("{}-{}", subject.algorithm().name(), subject.hex());
        // A tag has 128 characters at most, so sha512 subjects are cut as the specification says.
        let Ok(tag) = name[..name.len().min(128)].parse() else { return Ok(Vec::new()) };
        let (_, found) = pull::manifest(self.db(), place, &Reference::Tag(tag), Asker::LET_THROUGH).await?;
        let Some(found) = found.filter(|found| found.media_type == OCI_INDEX) else { return Ok(Vec::new()) };
        let Some(body) = pull::manifest_body(self.db(), found.manifest).await? else { return Ok(Vec::new()) };
        let Ok(index) = serde_json::from_slice::<Index>(&body) else { return Ok(Vec::new()) };
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        for entry in index.manifests.into_iter().take(FALLBACK_ENTRIES) {
            let Ok(digest) = entry.digest.parse::<Digest>() else { continue };
            if !seen.insert(digest) {
                continue;
            }
            let Some((media_type, body)) = artifact::read(self.db(), repository, &digest).await? else { continue };
            let Ok(manifest) = Manifest::read(&body, Some(&media_type)) else { continue };
            // Those with this subject are answered by the database.
            if manifest.subject == Some(*subject) {
                continue;
            }
            let descriptor = complete(entry, manifest.descriptor(&digest, body.len()));
            if artifact_type.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted)) {
                entries.push(to_json(&descriptor)?);
            }
        }
        Ok(entries)
    }
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// What the client wrote, with what it left out taken from the manifest.
fn complete(entry: Descriptor, stored: Descriptor) -> Descriptor {
    Descriptor {
        media_type: stored.media_type,
        digest: stored.digest,
        size: stored.size,
        artifact_type: entry.artifact_type.or(stored.artifact_type),
        annotations: if entry.annotations.is_empty() { stored.annotations } else { entry.annotations },
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.to_string()))
}

impl ReferrersPage {
    fn of(entries: Vec<String>, next: Option<String>) -> Result<Self> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            schema_version: u32,
            media_type: &'static str,
            manifests: Vec<Box<RawValue>>,
        }
        let manifests = entries
            .into_iter()
            .map(RawValue::from_string)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| Error::Internal(error.to_string()))?;
        let body = to_json(&Answer { schema_version: 2, media_type: OCI_INDEX, manifests })?;
        Ok(Self { body: Bytes::from(body), next })
    }
}
