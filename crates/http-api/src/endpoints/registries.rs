//! `/api/v1/registries`: where images are stored (product.md 2).

use axum::extract::State;
use http::StatusCode;
use roadstead_access::Subject;
use roadstead_db::registry::Registry;
use roadstead_http_oci::Endpoint;
use roadstead_model::Reach;
use roadstead_registry::{RegistryChange, RegistryError, RegistryPlan};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Created, named};
use crate::{
    body::Json,
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::Segments,
    service::Api,
    time::Time,
    version::{Conditions, Versioned},
};

/// A registry.
#[derive(Serialize, ToSchema)]
#[schema(as = Registry)]
pub(super) struct RegistryView {
    /// 3 to 30 lower-case letters, digits and `-`; fixed for good.
    name: String,
    /// The project it belongs to.
    project: String,
    /// `standard` or `image-cache`.
    kind: String,
    /// The bucket that its layers live in.
    bucket: String,
    /// Words about it.
    description: String,
    /// Anyone may pull.
    public_pull: bool,
    /// Clients outside the network reach it. Without it, it answers on private listeners alone.
    public_endpoint: bool,
    endpoints: EndpointsView,
    status: RegistryStatus,
    /// When it was made.
    #[schema(inline)]
    created: Time,
    /// It lies in the trash, and is gone for good then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    trashed_until: Option<Time>,
    usage: UsageView,
}

/// The first of these that holds: `in_deletion`, it lies in the trash; `bucket_trouble`, its bucket did not do what is needed when it was last
/// tried (a system administrator sees what); `over_quota`, it or its project has more than its quotas allow; `ready`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RegistryStatus {
    /// Nothing is in the way.
    Ready,
    /// What was found is shown with the bucket.
    BucketTrouble,
    /// Nothing is added until it is less.
    OverQuota,
    /// Its name stays taken until it is gone.
    InDeletion,
}

impl RegistryStatus {
    fn of(registry: &Registry) -> Self {
        match registry {
            Registry { trashed_until: Some(_), .. } => Self::InDeletion,
            Registry { bucket_trouble: true, .. } => Self::BucketTrouble,
            Registry { over_quota: true, .. } => Self::OverQuota,
            _ => Self::Ready,
        }
    }
}

/// Where clients find a registry.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistryEndpoints)]
pub(super) struct EndpointsView {
    /// From outside; missing while the public endpoint is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    public: Option<EndpointView>,
    /// Inside the network; missing where there are no private listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    private: Option<EndpointView>,
}

/// An address of a registry.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistryEndpoint)]
pub(super) struct EndpointView {
    /// `HOST/REGISTRY`, which `/REPOSITORY:TAG` follows; missing where the name of the host is not configured and was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// A host of its own, which `/REPOSITORY:TAG` follows, where a domain is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

/// What a registry stores, what lies in the trash included.
#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub(super) struct UsageView {
    /// Repositories that have an artifact.
    repositories: i64,
    /// Artifacts.
    artifacts: i64,
    /// Tags.
    tags: i64,
    /// Bytes that are stored of its layers, each counted once.
    bytes: i64,
    /// Bytes of all artifacts, with layers that several of them have counted for each.
    image_bytes: i64,
}

impl RegistryView {
    pub(super) fn new(api: &Api, caller: &Caller, registry: Registry) -> Self {
        let usage = registry.usage;
        let endpoint = |reach| {
            let found = api.naming().endpoint(reach, caller.origin(), &registry.name, &registry.private_id);
            found.map(|Endpoint { path, host }| EndpointView { path, host })
        };
        let public = if registry.public_endpoint { endpoint(Reach::Public) } else { None };
        let endpoints = EndpointsView { public, private: endpoint(Reach::Private) };
        Self {
            status: RegistryStatus::of(&registry),
            name: registry.name,
            project: registry.project,
            kind: registry.kind,
            bucket: registry.bucket,
            description: registry.description,
            public_pull: registry.public_pull,
            public_endpoint: registry.public_endpoint,
            endpoints,
            created: Time(registry.created),
            trashed_until: registry.trashed_until.map(Time),
            usage: UsageView {
                repositories: usage.repositories,
                artifacts: usage.artifacts,
                tags: usage.tags,
                bytes: usage.bytes,
                image_bytes: usage.image_bytes,
            },
        }
    }
}

/// What a new registry is to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewRegistry {
    /// The project it is to belong to, which has to be there.
    project: String,
    /// The bucket that its layers are to live in; left out: the default one. One that is for one registry alone must have none, not in the trash either.
    bucket: Option<String>,
    /// At most 200 characters.
    #[serde(default)]
    description: String,
    /// Anyone may pull.
    #[serde(default)]
    public_pull: bool,
    /// Clients outside the network reach it. Without it, it answers on private listeners alone.
    #[serde(default = "yes")]
    #[schema(default = true)]
    public_endpoint: bool,
}

fn yes() -> bool {
    true
}

/// What is to be of a registry; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
pub(super) struct RegistryFields {
    /// At most 200 characters.
    description: Option<String>,
    /// Anyone may pull.
    public_pull: Option<bool>,
    /// Clients outside the network reach it. Turned off, systems outside the network will no longer reach it, from the next request on.
    public_endpoint: Option<bool>,
}

/// Registries
///
/// All, for a system administrator; for others those on which, or on whose project, they have a role. Those in the trash are listed too.
#[utoipa::path(get, path = "/api/v1/registries", tag = "Registries", params(Paging),
    responses((status = 200, description = "Registries by name.", body = Page<RegistryView>)))]
pub(super) async fn list_registries(
    State(api): State<Api>,
    caller: Caller,
    paging: Paging,
) -> Result<Page<RegistryView>, Problem> {
    let person = caller.visible(&api).await?;
    let found = api.core().registries(person, paging.after().unwrap_or_default(), paging.fetch()).await?;
    let page = paging.page(found, |registry| registry.name.clone());
    Ok(page.map(|registry| RegistryView::new(&api, &caller, registry)))
}

/// One registry
///
/// Also one that lies in the trash.
#[utoipa::path(get, path = "/api/v1/registries/{registry}", tag = "Registries",
    params(("registry" = String, Path, description = "Name")),
    responses((status = 200, description = "The registry.", body = RegistryView)))]
pub(super) async fn get_registry(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
) -> Result<Versioned<RegistryView>, Problem> {
    caller.allow(&api, Subject::AnyRegistry(&registry)).await?;
    let found = api.core().registry(&named("registry", &registry)?).await?;
    Ok(Versioned(found.epoch, RegistryView::new(&api, &caller, found)))
}

/// Make a registry
///
/// Images are then `HOST/REGISTRY/REPOSITORY`. Doing it again with the same content changes nothing.
#[utoipa::path(put, path = "/api/v1/registries/{registry}", tag = "Registries",
    params(("registry" = String, Path, description = "Name of the new registry"), Conditions), request_body = NewRegistry,
    responses((status = 201, description = "The registry was made.", body = RegistryView),
        (status = 200, description = "There was just such a registry.", body = RegistryView)))]
pub(super) async fn put_registry(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
    conditions: Conditions,
    Json(new): Json<NewRegistry>,
) -> Result<Created<RegistryView>, Problem> {
    conditions.only_new()?;
    let allowed = caller.allow(&api, Subject::Project(&new.project)).await?;
    let name = named("registry", &registry)?;
    let plan = RegistryPlan {
        project: named("project", &new.project)?,
        bucket: new.bucket.clone(),
        description: new.description.clone(),
        public_pull: new.public_pull,
        public_endpoint: new.public_endpoint,
        make_project: false,
    };
    let made = match api.core().create_registry(&name, plan, &allowed.by).await {
        // Whose it was is nobody's business.
        Err(RegistryError::InTrash(name)) => Err(RegistryError::Taken(name)),
        made => made,
    };
    let same = |there: &Registry| {
        there.project == new.project
            && new.bucket.as_ref().is_none_or(|bucket| *bucket == there.bucket)
            && there.description == new.description
            && there.public_pull == new.public_pull
            && there.public_endpoint == new.public_endpoint
            && there.trashed_until.is_none()
    };
    // Who has no rights on the one that is there learns no more than that the name is taken.
    let sees = caller.allow(&api, Subject::Registry(&registry)).await.is_ok();
    let there = async { if sees { api.core().registry(&name).await } else { Err(RegistryError::Taken(name.clone())) } };
    let found = super::made_or_same(made, &conditions, there, |it| it.epoch, same).await?;
    Ok(found.map(|it| (it.epoch, RegistryView::new(&api, &caller, it))))
}

/// Change a registry
///
/// With `public_endpoint` off, systems outside the network will no longer reach it, from the next request on. Who may see or change
/// it here still may, by every address of this API; nobody else notices that it is there.
#[utoipa::path(patch, path = "/api/v1/registries/{registry}", tag = "Registries",
    params(("registry" = String, Path, description = "Name"), Conditions), request_body = RegistryFields,
    responses((status = 200, description = "The registry as it is now.", body = RegistryView)))]
pub(super) async fn patch_registry(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
    conditions: Conditions,
    Json(fields): Json<RegistryFields>,
) -> Result<Versioned<RegistryView>, Problem> {
    let allowed = caller.allow(&api, Subject::AnyRegistry(&registry)).await?;
    let name = named("registry", &registry)?;
    let expected = conditions.expected(api.core().registry(&name).await?.epoch)?;
    let change = RegistryChange {
        description: fields.description,
        public_pull: fields.public_pull,
        public_endpoint: fields.public_endpoint,
    };
    let changed = api.core().change_registry(&name, expected, change, &allowed.by).await?;
    Ok(Versioned(changed.epoch, RegistryView::new(&api, &caller, changed)))
}

/// Delete a registry
///
/// It goes to the trash, where it keeps its name until its time there is over.
#[utoipa::path(delete, path = "/api/v1/registries/{registry}", tag = "Registries",
    params(("registry" = String, Path, description = "Name")),
    responses((status = 204, description = "The registry lies in the trash.")))]
pub(super) async fn delete_registry(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::AnyRegistry(&registry)).await?;
    api.core().delete_registry(&named("registry", &registry)?, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}
