//! `/api/v1/registries/{registry}/repositories`: images (product.md 4).

use axum::extract::State;
use http::StatusCode;
use roadstead_access::Subject;
use roadstead_db::figures::{Asked, Order, Repository};
use roadstead_registry::RepositoryChange;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{image, searched};
use crate::{
    body::Json,
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::{Params, Segments},
    service::Api,
    time::Time,
    version::{Conditions, Versioned},
};

/// A repository: an image by its name.
#[derive(Serialize, ToSchema)]
#[schema(as = Repository)]
pub(super) struct RepositoryView {
    /// Its name in the registry, such as `team/app`.
    name: String,
    /// A few words about it.
    description: String,
    /// As many words as it takes, in Markdown as it was written; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    full_description: Option<String>,
    /// Whether a tag that exists can be pushed over.
    mutable_tags: bool,
    /// When it was made.
    #[schema(inline)]
    created: Time,
    /// When something was pushed to it, tagged, deleted or restored.
    #[schema(inline)]
    changed: Time,
    /// How many manifests were pulled.
    pulls: i64,
    /// How many tags there are.
    tags: i64,
    /// How many artifacts there are.
    artifacts: i64,
    /// Bytes that are stored of its layers, each once, what lies in the trash included.
    size: i64,
    /// Bytes of all its artifacts, with layers that several of them have counted for each.
    image_size: i64,
}

impl From<Repository> for RepositoryView {
    fn from(it: Repository) -> Self {
        Self {
            name: it.name,
            description: it.description,
            full_description: None,
            mutable_tags: it.mutable_tags,
            created: Time(it.created),
            changed: Time(it.changed),
            pulls: it.pulls,
            tags: it.tags,
            artifacts: it.artifacts,
            size: it.bytes,
            image_size: it.image_bytes,
        }
    }
}

fn whole((repository, full_description): (Repository, String)) -> Versioned<RepositoryView> {
    let epoch = repository.epoch;
    Versioned(epoch, RepositoryView { full_description: Some(full_description), ..repository.into() })
}

/// What is to change of a repository; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
pub(super) struct RepositoryFields {
    /// At most 100 characters, in one line.
    description: Option<String>,
    /// Markdown, at most 25,000 bytes.
    full_description: Option<String>,
    /// Whether a tag that exists can be pushed over.
    mutable_tags: Option<bool>,
}

/// What a list of repositories is sorted by, with `-` from the last one to the first.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(super) enum RepositorySort {
    #[default]
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDown,
    #[serde(rename = "changed")]
    Changed,
    #[serde(rename = "-changed")]
    ChangedDown,
    #[serde(rename = "pulls")]
    Pulls,
    #[serde(rename = "-pulls")]
    PullsDown,
    #[serde(rename = "size")]
    Size,
    #[serde(rename = "-size")]
    SizeDown,
}

impl RepositorySort {
    /// The order, whether it is from the last one to the first, and the word for it.
    fn order(self) -> (Order, bool, &'static str) {
        match self {
            Self::Name => (Order::Name, false, "name"),
            Self::NameDown => (Order::Name, true, "-name"),
            Self::Changed => (Order::Changed, false, "changed"),
            Self::ChangedDown => (Order::Changed, true, "-changed"),
            Self::Pulls => (Order::Pulls, false, "pulls"),
            Self::PullsDown => (Order::Pulls, true, "-pulls"),
            Self::Size => (Order::Size, false, "size"),
            Self::SizeDown => (Order::Size, true, "-size"),
        }
    }
}

/// What is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RepositoryFilter {
    /// Part of the name.
    #[serde(default)]
    search: String,
    /// By what they are sorted. Figures may be some seconds old for this.
    #[serde(default)]
    #[param(inline)]
    sort: RepositorySort,
}

/// Repositories of a registry
///
/// Those that were pushed to. With `search` a page may hold fewer entries than `limit`, even none, while there is a `next`.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories", tag = "Repositories",
    params(("registry" = String, Path, description = "Name"), RepositoryFilter, Paging),
    responses((status = 200, description = "Repositories.", body = Page<RepositoryView>)))]
pub(super) async fn list_repositories(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
    Params(filter): Params<RepositoryFilter>,
    paging: Paging,
) -> Result<Page<RepositoryView>, Problem> {
    let registry = caller.allow(&api, Subject::Registry(&registry)).await?.registry()?;
    let (order, descending, word) = filter.sort.order();
    let asked = Asked {
        search: searched(&filter.search)?,
        order,
        descending,
        after: paging.sorted(word)?,
        limit: paging.rows(),
    };
    let found = api.core().repositories(registry, &asked).await?;
    Ok(paging.looked(found, |(key, name)| format!("{word}:{key}:{name}")).map(RepositoryView::from))
}

/// One repository
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories/{repository}", tag = "Repositories",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`")),
    responses((status = 200, description = "The repository.", body = RepositoryView)))]
pub(super) async fn get_repository(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository)): Segments<(String, String)>,
) -> Result<Versioned<RepositoryView>, Problem> {
    let (_, image) = image(&api, &caller, &registry, &repository).await?;
    Ok(whole(api.core().repository(&image).await?))
}

/// Change a repository
///
/// Its descriptions, and whether its tags can be pushed over.
#[utoipa::path(patch, path = "/api/v1/registries/{registry}/repositories/{repository}", tag = "Repositories",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        Conditions), request_body = RepositoryFields,
    responses((status = 200, description = "The repository as it is now.", body = RepositoryView)))]
pub(super) async fn patch_repository(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository)): Segments<(String, String)>,
    conditions: Conditions,
    Json(fields): Json<RepositoryFields>,
) -> Result<Versioned<RepositoryView>, Problem> {
    let (allowed, image) = image(&api, &caller, &registry, &repository).await?;
    let (there, _) = api.core().repository(&image).await?;
    let expected = conditions.expected(there.epoch)?;
    let change = RepositoryChange {
        description: fields.description,
        full_description: fields.full_description,
        mutable_tags: fields.mutable_tags,
    };
    Ok(whole(api.core().change_repository(&image, expected, change, &allowed.by).await?))
}

/// Delete a repository
///
/// It goes to the trash with all its tags and artifacts.
#[utoipa::path(delete, path = "/api/v1/registries/{registry}/repositories/{repository}", tag = "Repositories",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        Conditions),
    responses((status = 204, description = "The repository lies in the trash.")))]
pub(super) async fn delete_repository(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository)): Segments<(String, String)>,
    conditions: Conditions,
) -> Result<StatusCode, Problem> {
    let (allowed, image) = image(&api, &caller, &registry, &repository).await?;
    let (there, _) = api.core().repository(&image).await?;
    let expected = conditions.expected(there.epoch)?;
    api.core().delete_repository(&image, expected, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}
