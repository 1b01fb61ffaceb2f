//! Repositories as management sees them: listed, shown, changed, put into the trash. Rights are not looked at.

use roadstead_db::{
    DbError, Tx,
    audit::{self, By},
    event,
    facts::Asker,
    figures::{self, Looked, Repository},
    repository::{self, Settings},
    trash,
    usage::{self, Change, Usage},
};
use roadstead_model::Place;
use serde_json::json;

use crate::{Core, Error};

/// The longest short description, in characters.
const MAX_DESCRIPTION: usize = 100;
/// The longest full description, in bytes.
const MAX_FULL_DESCRIPTION: usize = 25_000;

/// Why something could not be done with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is none.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// It must be new, and is there.
    #[error("there is a {0} of this name already, and it was to be new")]
    Exists(&'static str),
    /// It was changed since it was read.
    #[error("it has been changed since you read it: read it again, and decide anew")]
    Stale,
    /// What is there does not allow it; the text says what that is.
    #[error("{0}")]
    InTheWay(String),
    /// What was given is not right: the member, and what would be right.
    #[error("{1}")]
    Invalid(&'static str, String),
    /// As for clients that push and pull.
    #[error(transparent)]
    Core(#[from] Error),
}

impl From<DbError> for ImageError {
    fn from(error: DbError) -> Self {
        Self::Core(error.into())
    }
}

/// A repository that lives and was pushed to.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its registry and name.
    pub place: Place,
    pub(crate) repository: i64,
}

impl Image {
    /// As the audit log names it.
    pub(crate) fn object(&self) -> String {
        format!("{}/{}", self.place.registry, self.place.repository)
    }
}

/// What is to change of a repository; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct RepositoryChange {
    /// A few words.
    pub description: Option<String>,
    /// As many as it takes, in Markdown.
    pub full_description: Option<String>,
    /// Whether a tag that exists can be pushed over.
    pub mutable_tags: Option<bool>,
}

impl RepositoryChange {
    fn check(&self) -> Result<(), ImageError> {
        let short = self.description.as_deref().unwrap_or_default();
        if short.chars().count() > MAX_DESCRIPTION || short.chars().any(char::is_control) {
            let words = format!("has at most {MAX_DESCRIPTION} characters, in one line");
            return Err(ImageError::Invalid("description", words));
        }
        let full = self.full_description.as_deref().unwrap_or_default();
        if full.len() > MAX_FULL_DESCRIPTION || full.contains('\0') {
            let words = format!("has at most {MAX_FULL_DESCRIPTION} bytes, and no NUL");
            return Err(ImageError::Invalid("full_description", words));
        }
        Ok(())
    }
}

impl Core {
    /// The repositories of a registry (by its row) that were pushed to.
    pub async fn repositories(
        &self,
        registry: i64,
        asked: &figures::Asked<'_>,
    ) -> Result<Vec<Looked<Repository>>, ImageError> {
        Ok(figures::list(self.db(), registry, asked).await?)
    }

    /// A repository that lives and was pushed to.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn image(&self, place: Place) -> Result<Image, ImageError> {
        let facts = self.gate(&place, Asker::LET_THROUGH).await?.facts;
        facts.registry.ok_or(ImageError::Missing("registry"))?;
        let repository = facts.repository.ok_or(ImageError::Missing("repository"))?;
        if !repository::is_listed(self.db(), repository).await? {
            return Err(ImageError::Missing("repository"));
        }
        Ok(Image { place, repository })
    }

    /// A repository with its full description.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn repository(&self, image: &Image) -> Result<(Repository, String), ImageError> {
        figures::show(self.db(), image.repository).await?.ok_or(ImageError::Missing("repository"))
    }

    /// Changes words and mutability, if the epoch is still `expected` where one is given.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`.
    pub async fn change_repository(
        &self,
        image: &Image,
        expected: Option<i64>,
        change: RepositoryChange,
        by: &By,
    ) -> Result<(Repository, String), ImageError> {
        change.check()?;
        let input = (image.clone(), expected, change, by.clone());
        self.db()
            .write(input, |tx, (image, expected, change, by)| Box::pin(change_in(tx, image, *expected, change, by)))
            .await?;
        self.repository(image).await
    }

    /// Puts a repository into the trash, with all that is in it.
    ///
    /// # Errors
    /// `Missing`, `Stale`.
    pub async fn delete_repository(&self, image: &Image, expected: Option<i64>, by: &By) -> Result<(), ImageError> {
        let input = (image.clone(), expected, by.clone(), self.options().trash_life);
        self.db()
            .write(input, |tx, (image, expected, by, life)| Box::pin(delete_in(tx, image, *expected, by, *life)))
            .await
    }

    /// How many registries a project (by its row) has, and what they store.
    pub async fn project_usage(&self, project: i64) -> Result<(i64, Usage), ImageError> {
        Ok(usage::of_project(self.db(), project).await?)
    }
}

async fn change_in(
    tx: &mut Tx<'_>,
    image: &Image,
    expected: Option<i64>,
    change: &RepositoryChange,
    by: &By,
) -> Result<(), ImageError> {
    let found = repository::lock_settings(tx, image.repository).await?;
    let (epoch, old) = found.ok_or(ImageError::Missing("repository"))?;
    if expected.is_some_and(|expected| expected != epoch) {
        return Err(ImageError::Stale);
    }
    let new = Settings {
        description: change.description.clone().unwrap_or_else(|| old.description.clone()),
        full_description: change.full_description.clone().unwrap_or_else(|| old.full_description.clone()),
        mutable_tags: change.mutable_tags.unwrap_or(old.mutable_tags),
    };
    repository::update(tx, image.repository, &new).await?;
    // Of a text that may be long only how long it is.
    let words = |it: &Settings| json!({"description": it.description, "full_description_bytes": it.full_description.len(), "mutable_tags": it.mutable_tags});
    let (before, after) = (words(&old).to_string(), words(&new).to_string());
    audit::record(tx, by, "repository.change", &image.object(), Some(&before), Some(&after)).await?;
    Ok(())
}

async fn delete_in(
    tx: &mut Tx<'_>,
    image: &Image,
    expected: Option<i64>,
    by: &By,
    life: i64,
) -> Result<(), ImageError> {
    let found = repository::lock(tx, image.repository).await?;
    let (registry, name, epoch) = found.ok_or(ImageError::Missing("repository"))?;
    if expected.is_some_and(|expected| expected != epoch) {
        return Err(ImageError::Stale);
    }
    let row = image.repository;
    let deletion = trash::begin(tx, "repository", registry, Some(row), &name, &by.who, life).await?;
    repository::put(tx, row, deletion).await?;
    usage::add(tx, &Change { changed: true, ..Change::of(registry, row) }).await?;
    let body = json!({ "by": by.who }).to_string();
    event::record(tx, "repository.delete", registry, Some(&name), &name, &body).await?;
    audit::record(tx, by, "repository.delete", &image.object(), None, None).await?;
    Ok(())
}
