//! Artifacts as management sees them: listed, shown with all that is known of them, put into the trash.

use roadstead_db::{
    artifact::{self, Referrer},
    artifact_views::{self, Artifact, Asked, Between, Named},
    audit::By,
    facts::Asker,
    figures::Looked,
};
use roadstead_model::{Algorithm, Digest, Reference};

use crate::{
    Config, Core, Error, Image, ImageError, Step,
    configs::{self, Read},
};

/// So many layers and children of an artifact are shown.
const MOST_NAMED: i64 = 5000;

/// What of a repository's artifacts is asked for.
#[derive(Clone, Debug, Default)]
pub struct ArtifactsAsked {
    /// The beginning of the digest.
    pub search: String,
    /// The kind; empty: all.
    pub kind: String,
    /// With a tag, or without one.
    pub tagged: Option<bool>,
    /// The key behind which the page begins.
    pub before: Option<(i64, i64)>,
    /// How many are wanted.
    pub limit: usize,
}

/// All that is known of an artifact.
#[derive(Clone, Debug)]
pub struct ArtifactDetails {
    /// What lists show of it.
    pub artifact: Artifact,
    /// Of an index.
    pub children: Vec<Named>,
    /// In their order, the lowest first.
    pub layers: Vec<Named>,
    /// What is known of its config, if it has one.
    pub config: Option<Config>,
    /// How it was built, the first step first.
    pub history: Vec<Step>,
}

impl Core {
    /// A page of the artifacts of a repository, the newest push first.
    ///
    /// # Errors
    /// `Invalid`: the search.
    pub async fn artifacts(&self, image: &Image, asked: ArtifactsAsked) -> Result<Vec<Looked<Artifact>>, ImageError> {
        let asked = Asked {
            digests: digests(&asked.search)?,
            kind: asked.kind,
            tagged: asked.tagged,
            before: asked.before,
            limit: i64::try_from(asked.limit).unwrap_or(i64::MAX),
        };
        Ok(artifact_views::list(self.db(), image.repository, &asked).await?)
    }

    /// One artifact with its layers, children, config and history.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn artifact(&self, image: &Image, digest: &Digest) -> Result<ArtifactDetails, ImageError> {
        let found = artifact_views::show(self.db(), image.repository, digest).await?;
        let artifact = found.ok_or(ImageError::Missing("artifact"))?;
        let named = artifact_views::named(self.db(), artifact.id, MOST_NAMED).await?;
        let of = |role: &str| named.iter().filter(|one| one.role == role).cloned().collect();
        let Read { config, history } = match named.iter().find(|one| one.role == "config") {
            Some(config) => self.read_config(image, config).await?,
            None => Read::default(),
        };
        Ok(ArtifactDetails { artifact, children: of("child"), layers: of("layer"), config, history })
    }

    /// What refers to an artifact, after the row `after`.
    pub async fn referrers_of(
        &self,
        image: &Image,
        subject: &Digest,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Referrer>, ImageError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(artifact::referrers(self.db(), image.repository, subject, None, after, limit).await?)
    }

    /// Puts an artifact into the trash, with its tags, and with the children and referrers that nothing else holds.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn delete_artifact(&self, image: &Image, digest: &Digest, by: &By) -> Result<(), ImageError> {
        self.delete_reference(image.repository, &Reference::Digest(*digest), by)
            .await
            .map_err(|error| missing(error, "artifact"))
    }

    /// A config that is few bytes and JSON is read; of others it is said why not.
    async fn read_config(&self, image: &Image, named: &Named) -> Result<Read, ImageError> {
        let unread = |why: &str| Read::unread(named, why);
        if usize::try_from(named.size).is_ok_and(|size| size > configs::MOST_BYTES) {
            return Ok(unread("it is too large to be shown"));
        }
        let (_, blob) = self.find_blob(&image.place, &named.digest, Asker::LET_THROUGH).await?;
        let Some(blob) = blob else { return Ok(unread("the repository does not have it")) };
        if usize::try_from(blob.size).map_or(true, |size| size > configs::MOST_BYTES) {
            return Ok(unread("it is too large to be shown"));
        }
        match self.read_whole(&blob).await {
            Ok(bytes) => Ok(configs::read(named, &bytes)),
            Err(Error::BlobUnknown(_)) => Ok(unread("the repository does not have it")),
            Err(error @ Error::Unavailable(_)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(digest = %named.digest, %error, detail = ?error, "a config can't be read");
                Ok(unread("it can't be read"))
            }
        }
    }
}

/// What a deletion does not find, in the words of management.
pub(crate) fn missing(error: Error, what: &'static str) -> ImageError {
    match error {
        Error::NameUnknown => ImageError::Missing("repository"),
        Error::ManifestUnknown(_) => ImageError::Missing(what),
        error => ImageError::Core(error),
    }
}

/// The digests that begin so; `None`: all.
fn digests(search: &str) -> Result<Option<Between>, ImageError> {
    if search.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        let words = "is the beginning of a digest, such as `sha256:1a2b` or `1a2b`";
        ImageError::Invalid("search", words.to_owned())
    };
    let (algorithm, hex) = match search.split_once(':') {
        Some(("sha256", hex)) => (Algorithm::Sha256, hex),
        Some(("sha512", hex)) => (Algorithm::Sha512, hex),
        Some(_) => return Err(wrong()),
        None => (Algorithm::Sha256, search),
    };
    let length = Digest::of(algorithm, b"").hex().len();
    if hex.len() > length || !hex.bytes().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(wrong());
    }
    let filled = |with: &str| {
        let text = format!("{}:{hex}{}", algorithm.name(), with.repeat(length - hex.len()));
        text.parse::<Digest>().map(|digest| digest.to_stored()).map_err(|_| wrong())
    };
    Ok(Some(Between { first: filled("0")?, last: filled("f")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_digest_is_searched_for() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let stored = digest.to_stored();
        let found =
            |search: &str| digests(search).expect("right").is_some_and(|it| it.first <= stored && stored <= it.last);
        let hex = digest.hex();
        assert!(found(&hex[..1]) && found(&hex[..7]) && found(&hex) && found(&format!("sha256:{}", &hex[..9])));
        let other = if hex.starts_with('0') { "1" } else { "0" };
        assert!(!found(other) && !found(&format!("sha512:{}", &hex[..1])));
        for wrong in ["x", "A", "md5:0", "sha256:g", &"0".repeat(65)] {
            assert!(digests(wrong).is_err(), "{wrong}");
        }
    }
}
