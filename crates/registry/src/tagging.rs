//! Tags as management sees them: listed, made and moved by hand, deleted, and what became of each.

use roadstead_db::{
    Tx, artifact,
    audit::{self, By},
    event,
    figures::Looked,
    repository,
    tag::{self, Because, Set},
    tag_views::{self, TagChange, Tagged},
    usage::{self, Change},
};
use roadstead_model::{Digest, Reference, Tag};
use serde_json::json;

use crate::{Core, Error, Image, ImageError, artifacts::missing, push::can_be_moved};

impl Core {
    /// A page of the tags of a repository.
    pub async fn tagged(&self, image: &Image, asked: &tag_views::Asked<'_>) -> Result<Vec<Looked<Tagged>>, ImageError> {
        Ok(tag_views::list(self.db(), image.repository, asked).await?)
    }

    /// One tag.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn tag(&self, image: &Image, tag: &Tag) -> Result<Tagged, ImageError> {
        tag_views::show(self.db(), image.repository, tag.as_str()).await?.ok_or(ImageError::Missing("tag"))
    }

    /// Points a tag to an artifact of its repository, as a push would. True: there was no such tag. `only_new`: it must not be there.
    ///
    /// # Errors
    /// `Missing` without the artifact, `Exists` for a tag that must be new and is not; `TagImmutable`.
    pub async fn set_tag(
        &self,
        image: &Image,
        tag: &Tag,
        digest: &Digest,
        only_new: bool,
        by: &By,
    ) -> Result<bool, ImageError> {
        let input = (image.clone(), tag.clone(), *digest, only_new, by.clone());
        self.db()
            .write(input, |tx, (image, tag, digest, only_new, by)| {
                Box::pin(set_in(tx, image, tag, digest, *only_new, by))
            })
            .await
    }

    /// Takes a tag away, into the trash; its artifact stays.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn delete_tag(&self, image: &Image, tag: &Tag, by: &By) -> Result<(), ImageError> {
        self.delete_reference(image.repository, &Reference::Tag(tag.clone()), by)
            .await
            .map_err(|error| missing(error, "tag"))
    }

    /// What became of a tag, the newest first, before the row `before`.
    pub async fn tag_history(
        &self,
        image: &Image,
        tag: &Tag,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<TagChange>, ImageError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(tag_views::history(self.db(), image.repository, tag.as_str(), before, limit).await?)
    }
}

async fn set_in(
    tx: &mut Tx<'_>,
    image: &Image,
    tag: &Tag,
    digest: &Digest,
    only_new: bool,
    by: &By,
) -> Result<bool, ImageError> {
    let held = repository::hold(tx, image.repository).await?.ok_or(ImageError::Missing("repository"))?;
    let artifact = artifact::find_living(tx, image.repository, digest).await?;
    let artifact = artifact.ok_or(ImageError::Missing("artifact"))?;
    let because = Because { why: "create", by: &by.who };
    let mutable = can_be_moved(tag.as_str(), held.mutable_tags);
    let set = tag::set(tx, image.repository, tag.as_str(), (artifact, digest), because, mutable).await?;
    let before = match set {
        Set::Refused | Set::Moved(_) | Set::Same if only_new => return Err(ImageError::Exists("tag")),
        Set::Refused => return Err(Error::TagImmutable(tag.to_string()).into()),
        Set::Same => return Ok(false),
        Set::Moved(before) => Some(before),
        Set::Made => None,
    };
    let tags = i64::from(before.is_none());
    usage::add(tx, &Change { tags, changed: true, ..Change::of(held.registry, image.repository) }).await?;
    let body = json!({ "by": by.who, "digest": digest.to_string() }).to_string();
    event::record(tx, "tag.create", held.registry, Some(&held.name), tag.as_str(), &body).await?;
    let led = |to: &Digest| json!({ "digest": to.to_string() }).to_string();
    let object = format!("{}:{tag}", image.object());
    audit::record(tx, by, "tag.set", &object, before.as_ref().map(led).as_deref(), Some(&led(digest))).await?;
    Ok(before.is_none())
}
