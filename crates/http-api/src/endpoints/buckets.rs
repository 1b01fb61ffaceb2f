//! `/api/v1/buckets`: where the bytes of layers lie. Which buckets there are is a matter of the configuration, which holds their secrets.

use axum::extract::State;
use roadstead_access::{ManageError, Subject};
use roadstead_db::bucket::{self, BucketUse};
use roadstead_registry::{DEFAULT_BUCKET, too_many};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    body::Json,
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::Segments,
    service::Api,
    time::Time,
};

/// A bucket.
#[derive(Serialize, ToSchema)]
#[schema(as = Bucket)]
pub(super) struct BucketView {
    /// The name that registries choose it by.
    name: String,
    /// `directory`, `s3`, `gcs` or `azure`.
    kind: String,
    /// It is what a registry gets that names none.
    default: bool,
    /// It is in the configuration of this node. One that nothing lies in may be left out of it.
    configured: bool,
    /// When it was first used.
    #[schema(inline)]
    created: Time,
    /// Registries in it, those in the trash included.
    registries: i64,
    /// Bytes that these store; what several of them have is counted for each.
    bytes: i64,
    /// It is for one registry alone.
    exclusive: bool,
    /// The registry that has it for itself, be it in the trash.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    /// When it was last tried, which is done when it is new and from time to time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    checked: Option<Time>,
    /// What it did not do then, in words; its registries are in trouble with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// What is no trouble but should be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// What was found when a bucket was tried.
#[derive(Serialize, ToSchema)]
pub(super) struct BucketCheck {
    /// It does all that is needed of it.
    works: bool,
    /// What it does not do, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// What is no trouble but should be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

fn view(api: &Api, found: BucketUse) -> BucketView {
    let exclusive = api.core().is_for_one(&found.name);
    let too_many = if exclusive { too_many(found.registries) } else { None };
    let warnings: Vec<_> = too_many.into_iter().chain(found.found.warning).collect();
    BucketView {
        exclusive,
        registry: found.registry.filter(|_| exclusive && found.registries == 1),
        checked: found.checked.map(Time),
        trouble: found.found.trouble,
        warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
        default: found.name == DEFAULT_BUCKET,
        configured: api.core().bucket_row(&found.name).is_some(),
        name: found.name,
        kind: found.kind,
        created: Time(found.created),
        registries: found.registries,
        bytes: found.bytes,
    }
}

/// Buckets
#[utoipa::path(get, path = "/api/v1/buckets", tag = "Buckets", params(Paging),
    responses((status = 200, description = "Buckets by name.", body = Page<BucketView>)))]
pub(super) async fn list_buckets(
    State(api): State<Api>,
    caller: Caller,
    paging: Paging,
) -> Result<Page<BucketView>, Problem> {
    caller.allow(&api, Subject::Region).await?;
    let limit = i64::try_from(paging.fetch()).unwrap_or(i64::MAX);
    let found = bucket::list(api.core().db(), paging.after().unwrap_or_default(), limit).await?;
    Ok(paging.page(found, |bucket| bucket.name.clone()).map(|found| view(&api, found)))
}

/// One bucket
#[utoipa::path(get, path = "/api/v1/buckets/{bucket}", tag = "Buckets", params(("bucket" = String, Path, description = "Name")),
    responses((status = 200, description = "The bucket.", body = BucketView)))]
pub(super) async fn get_bucket(
    State(api): State<Api>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<BucketView>, Problem> {
    caller.allow(&api, Subject::Region).await?;
    let found = bucket::show(api.core().db(), known(&api, &name)?).await?;
    Ok(Json(view(&api, found.ok_or_else(missing)?)))
}

/// Try a bucket
///
/// Writes, reads, lists and deletes what a running service would, presigned addresses included, and leaves nothing behind. Also looked at is
/// whether object lock or a life-cycle rule would keep or remove objects (S3, if the key may read these settings). What was found is shown
/// with the bucket from then on.
#[utoipa::path(post, path = "/api/v1/buckets/{bucket}/check", tag = "Buckets", params(("bucket" = String, Path, description = "Name")),
    responses((status = 200, description = "What was found.", body = BucketCheck)))]
pub(super) async fn check_bucket(
    State(api): State<Api>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<BucketCheck>, Problem> {
    caller.allow(&api, Subject::Region).await?;
    let found = api.core().try_bucket(known(&api, &name)?).await?.ok_or_else(missing)?;
    Ok(Json(BucketCheck { works: found.trouble.is_none(), trouble: found.trouble, warning: found.warning }))
}

/// The name, if it is that of a bucket of this node.
fn known<'a>(api: &Api, name: &'a str) -> Result<&'a str, Problem> {
    api.core().bucket_row(name).map(|_| name).ok_or_else(missing)
}

fn missing() -> Problem {
    ManageError::Missing("bucket").into()
}
