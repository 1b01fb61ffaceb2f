//! `/api/v1/registries/{registry}/trash`: what was deleted, until its time is over (product.md 7).

use axum::extract::State;
use http::StatusCode;
use roadstead_access::Subject;
use roadstead_db::restore::{Choice, Entry};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{named, registries::RegistryView};
use crate::{
    body::Json,
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::Segments,
    service::Api,
    time::Time,
    version::Versioned,
};

/// Something in the trash.
#[derive(Serialize, ToSchema)]
#[schema(as = TrashEntry)]
pub(super) struct EntryView {
    /// Names it, to restore it or to have it gone.
    id: String,
    /// `repository`, `artifact` or `tag`.
    kind: String,
    /// What was deleted: `REPOSITORY`, `REPOSITORY@DIGEST` or `REPOSITORY:TAG`.
    subject: String,
    /// Who deleted it: the id of an access key over `/v2`, the name of a person otherwise.
    by: String,
    /// When it was deleted.
    #[schema(inline)]
    at: Time,
    /// Until when it can be restored.
    #[schema(inline)]
    until: Time,
}

impl From<Entry> for EntryView {
    fn from(it: Entry) -> Self {
        let Entry { id, kind, subject, by, at, until } = it;
        Self { id: id.to_string(), kind, subject, by, at: Time(at), until: Time(until) }
    }
}

/// How to restore.
#[derive(Deserialize, ToSchema)]
pub(super) struct RestoreFields {
    /// What becomes of tags that lead to something else now.
    tags: Option<TagsInTheWay>,
}

/// What becomes of tags that lead to something else now.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TagsInTheWay {
    /// They stay as they are.
    Keep,
    /// They lead again where they led.
    Replace,
}

/// What lies in the trash
///
/// Repositories, artifacts and tags of a registry that were deleted, the newest first; also of a registry that lies in the trash itself.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/trash", tag = "Trash",
    params(("registry" = String, Path, description = "Name"), Paging),
    responses((status = 200, description = "What can be restored.", body = Page<EntryView>)))]
pub(super) async fn list_trash(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
    paging: Paging,
) -> Result<Page<EntryView>, Problem> {
    let registry = caller.allow(&api, Subject::AnyRegistry(&registry)).await?.registry()?;
    let found = api.core().trash(registry, paging.row()?, paging.fetch()).await?;
    Ok(paging.page(found, |entry| entry.id.to_string()).map(EntryView::from))
}

/// Empty the trash
///
/// What lies there can't be restored from now on, and is gone within seconds; so is the registry, if it lies in the trash itself.
#[utoipa::path(delete, path = "/api/v1/registries/{registry}/trash", tag = "Trash",
    params(("registry" = String, Path, description = "Name")),
    responses((status = 204, description = "Nothing of it can be restored any more.")))]
pub(super) async fn empty_trash(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::AnyRegistry(&registry)).await?;
    api.core().empty_trash_of(allowed.registry()?, &named("registry", &registry)?, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Restore what was deleted
///
/// An artifact comes with the children, referrers and tags that went with it, a repository with all that it had; one that lives again takes it in. Where tags are in the
/// way and `tags` does not say what becomes of them, nothing is restored (409).
#[utoipa::path(post, path = "/api/v1/registries/{registry}/trash/{entry}/restore", tag = "Trash",
    params(("registry" = String, Path, description = "Name"), ("entry" = String, Path, description = "Id")), request_body = RestoreFields,
    responses((status = 204, description = "It is back.")))]
pub(super) async fn restore_trash(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, entry)): Segments<(String, String)>,
    Json(fields): Json<RestoreFields>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Registry(&registry)).await?;
    let choice = match fields.tags {
        None => Choice::Ask,
        Some(TagsInTheWay::Keep) => Choice::Keep,
        Some(TagsInTheWay::Replace) => Choice::Replace,
    };
    let name = named("registry", &registry)?;
    api.core().restore((allowed.registry()?, &name), id(&entry)?, choice, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove something from the trash
///
/// It can't be restored from now on, and is gone within seconds.
#[utoipa::path(delete, path = "/api/v1/registries/{registry}/trash/{entry}", tag = "Trash",
    params(("registry" = String, Path, description = "Name"), ("entry" = String, Path, description = "Id")),
    responses((status = 204, description = "It can't be restored any more.")))]
pub(super) async fn delete_trash_entry(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, entry)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::AnyRegistry(&registry)).await?;
    let name = named("registry", &registry)?;
    api.core().end_deletion((allowed.registry()?, &name), id(&entry)?, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Restore a registry
///
/// One that lies in the trash comes back as it was.
#[utoipa::path(post, path = "/api/v1/registries/{registry}/restore", tag = "Trash",
    params(("registry" = String, Path, description = "Name")),
    responses((status = 200, description = "The registry.", body = RegistryView)))]
pub(super) async fn restore_registry(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
) -> Result<Versioned<RegistryView>, Problem> {
    let allowed = caller.allow(&api, Subject::AnyRegistry(&registry)).await?;
    let name = named("registry", &registry)?;
    api.core().restore_registry(allowed.registry()?, &name, &allowed.by).await?;
    let found = api.core().registry(&name).await?;
    Ok(Versioned(found.epoch, RegistryView::new(&api, &caller, found)))
}

/// The row of an entry.
fn id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::not_found("there is no such entry in the trash"))
}
