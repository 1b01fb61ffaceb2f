//! `.../repositories/{repository}/tags`: names that lead to artifacts.

use axum::extract::State;
use http::StatusCode;
use roadstead_db::tag_views::{Asked, TagChange, Tagged};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{digest, image, named, searched};
use crate::{
    body::Json,
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::{Params, Segments},
    service::Api,
    time::Time,
    version::Conditions,
};

/// A tag.
#[derive(Serialize, ToSchema)]
#[schema(as = Tag)]
pub(super) struct TagView {
    /// Its name.
    name: String,
    /// Digest of the artifact that it leads to.
    digest: String,
    /// Media type of that artifact.
    media_type: String,
    /// Its kind.
    kind: String,
    /// Its compressed bytes; of an index with its children.
    size: i64,
    /// When it was pushed, made or moved for the last time.
    #[schema(inline)]
    changed: Time,
    /// By whom: the id of an access key for a push, the name of a person otherwise.
    changed_by: String,
}

impl From<Tagged> for TagView {
    fn from(it: Tagged) -> Self {
        Self {
            name: it.name,
            digest: it.digest.to_string(),
            media_type: it.media_type,
            kind: it.kind,
            size: it.size,
            changed: Time(it.changed),
            changed_by: it.changed_by,
        }
    }
}

/// A change of a tag.
#[derive(Serialize, ToSchema)]
#[schema(as = TagChange)]
pub(super) struct TagChangeView {
    /// When it was.
    #[schema(inline)]
    at: Time,
    /// Who did it: the id of an access key over `/v2`, the name of a person otherwise.
    by: String,
    /// `push`, `create` (made or moved by hand), `delete`, `restore`.
    why: String,
    /// Where it led before; absent: it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Where it leads since; absent: it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

impl From<TagChange> for TagChangeView {
    fn from(it: TagChange) -> Self {
        Self {
            at: Time(it.at),
            by: it.by,
            why: it.why,
            from: it.from.map(|digest| digest.to_string()),
            to: it.to.map(|digest| digest.to_string()),
        }
    }
}

/// Where a tag is to lead.
#[derive(Deserialize, ToSchema)]
pub(super) struct TagFields {
    /// Digest of an artifact of the repository.
    digest: String,
}

/// What a list of tags is sorted by, with `-` from the last one to the first.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(super) enum TagSort {
    #[default]
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDown,
    #[serde(rename = "changed")]
    Changed,
    #[serde(rename = "-changed")]
    ChangedDown,
}

/// What is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TagFilter {
    /// Part of the name.
    #[serde(default)]
    search: String,
    /// By what they are sorted.
    #[serde(default)]
    #[param(inline)]
    sort: TagSort,
}

/// Tags of a repository
///
/// With `search` a page may hold fewer entries than `limit`, even none, while there is a `next`.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories/{repository}/tags", tag = "Tags",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        TagFilter, Paging),
    responses((status = 200, description = "Tags.", body = Page<TagView>)))]
pub(super) async fn list_tags(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository)): Segments<(String, String)>,
    Params(filter): Params<TagFilter>,
    paging: Paging,
) -> Result<Page<TagView>, Problem> {
    let (_, image) = image(&api, &caller, &registry, &repository).await?;
    let (by_change, descending, word) = match filter.sort {
        TagSort::Name => (false, false, "name"),
        TagSort::NameDown => (false, true, "-name"),
        TagSort::Changed => (true, false, "changed"),
        TagSort::ChangedDown => (true, true, "-changed"),
    };
    let (search, after) = (searched(&filter.search)?, paging.sorted(word)?);
    let asked = Asked { search, by_change, descending, after, limit: paging.rows() };
    let found = api.core().tagged(&image, &asked).await?;
    Ok(paging.looked(found, |(key, name)| format!("{word}:{key}:{name}")).map(TagView::from))
}

/// One tag
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories/{repository}/tags/{tag}", tag = "Tags",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        ("tag" = String, Path, description = "Name")),
    responses((status = 200, description = "The tag.", body = TagView)))]
pub(super) async fn get_tag(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository, tag)): Segments<(String, String, String)>,
) -> Result<Json<TagView>, Problem> {
    let (_, image) = image(&api, &caller, &registry, &repository).await?;
    Ok(Json(api.core().tag(&image, &named("tag", &tag)?).await?.into()))
}

/// Make or move a tag
///
/// Onto an artifact of the repository, as a push of it would. Where tags can't be pushed over, one that is there can't be moved either (409).
#[utoipa::path(put, path = "/api/v1/registries/{registry}/repositories/{repository}/tags/{tag}", tag = "Tags",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        ("tag" = String, Path, description = "Name"), Conditions), request_body = TagFields,
    responses((status = 201, description = "The tag was made.", body = TagView),
        (status = 200, description = "The tag was moved, or led there already.", body = TagView)))]
pub(super) async fn put_tag(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository, tag)): Segments<(String, String, String)>,
    conditions: Conditions,
    Json(fields): Json<TagFields>,
) -> Result<(StatusCode, Json<TagView>), Problem> {
    let (allowed, image) = image(&api, &caller, &registry, &repository).await?;
    let (tag, digest) = (named("tag", &tag)?, digest(&fields.digest)?);
    let only_new = conditions.without_tag()?;
    let is_new = api.core().set_tag(&image, &tag, &digest, only_new, &allowed.by).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(api.core().tag(&image, &tag).await?.into())))
}

/// Delete a tag
///
/// It goes to the trash; the artifact stays.
#[utoipa::path(delete, path = "/api/v1/registries/{registry}/repositories/{repository}/tags/{tag}", tag = "Tags",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        ("tag" = String, Path, description = "Name")),
    responses((status = 204, description = "The tag lies in the trash.")))]
pub(super) async fn delete_tag(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository, tag)): Segments<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let (allowed, image) = image(&api, &caller, &registry, &repository).await?;
    api.core().delete_tag(&image, &named("tag", &tag)?, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// History of a tag
///
/// Where it led when, the newest change first; also of a tag that is gone. Kept for `history.tag_days`.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories/{repository}/tags/{tag}/history", tag = "Tags",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        ("tag" = String, Path, description = "Name"), Paging),
    responses((status = 200, description = "Changes.", body = Page<TagChangeView>)))]
pub(super) async fn list_tag_history(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository, tag)): Segments<(String, String, String)>,
    paging: Paging,
) -> Result<Page<TagChangeView>, Problem> {
    let (_, image) = image(&api, &caller, &registry, &repository).await?;
    let found = api.core().tag_history(&image, &named("tag", &tag)?, paging.row()?, paging.fetch()).await?;
    Ok(paging.page(found, |one| one.id.to_string()).map(TagChangeView::from))
}
