//! Quotas of projects and registries: how much they may hold, and how much they do (product.md 4).

use axum::extract::State;
use roadstead_access::Subject;
use roadstead_db::quota::{Quota, Quotas};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::named;
use crate::{body::Json, caller::Caller, problem::Problem, query::Segments, service::Api};

/// How much there may be, and how much there is.
#[derive(Serialize, ToSchema)]
#[schema(as = Quota)]
pub(super) struct QuotaView {
    /// The most; `null` for no limit.
    limit: Option<i64>,
    /// What there is, what lies in the trash included.
    used: i64,
}

impl From<Quota> for QuotaView {
    fn from(quota: Quota) -> Self {
        Self { limit: quota.limit, used: quota.used }
    }
}

/// The quotas of a project.
#[derive(Serialize, ToSchema)]
#[schema(as = ProjectQuotas)]
pub(super) struct ProjectQuotasView {
    /// Registries.
    registries: QuotaView,
    /// Bytes of all its registries, each blob once a registry.
    bytes: QuotaView,
}

impl From<Quotas> for ProjectQuotasView {
    fn from(quotas: Quotas) -> Self {
        Self { registries: quotas.count.into(), bytes: quotas.bytes.into() }
    }
}

/// The quotas of a registry.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistryQuotas)]
pub(super) struct RegistryQuotasView {
    /// Repositories that have an artifact.
    repositories: QuotaView,
    /// Bytes, each blob once.
    bytes: QuotaView,
}

impl From<Quotas> for RegistryQuotasView {
    fn from(quotas: Quotas) -> Self {
        Self { repositories: quotas.count.into(), bytes: quotas.bytes.into() }
    }
}

/// What a project may have from now on.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewProjectQuotas {
    /// Registries, those in the trash included.
    registries: i64,
    /// Bytes; `null` for no limit.
    #[serde(default)]
    bytes: Option<i64>,
}

/// What a registry may have from now on.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewRegistryQuotas {
    /// Repositories, those in the trash included.
    repositories: i64,
    /// Bytes; `null` for no limit.
    #[serde(default)]
    bytes: Option<i64>,
}

/// The quotas of a project
#[utoipa::path(get, path = "/api/v1/projects/{project}/quotas", tag = "Quotas",
    params(("project" = String, Path, description = "Name")),
    responses((status = 200, description = "Each limit with what is used of it.", body = ProjectQuotasView)))]
pub(super) async fn get_project_quotas(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
) -> Result<Json<ProjectQuotasView>, Problem> {
    caller.allow(&api, Subject::Project(&project)).await?;
    Ok(Json(api.core().project_quotas(&named("project", &project)?).await?.into()))
}

/// Set the quotas of a project
///
/// What the project has stays, also if that is more: then nothing is added until it is less.
#[utoipa::path(put, path = "/api/v1/projects/{project}/quotas", tag = "Quotas",
    params(("project" = String, Path, description = "Name")), request_body = NewProjectQuotas,
    responses((status = 200, description = "They hold from now on.", body = ProjectQuotasView)))]
pub(super) async fn put_project_quotas(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
    Json(new): Json<NewProjectQuotas>,
) -> Result<Json<ProjectQuotasView>, Problem> {
    let allowed = caller.allow(&api, Subject::Region).await?;
    let name = named("project", &project)?;
    let set = api.core().set_project_quotas(&name, new.registries, new.bytes, &allowed.by).await?;
    Ok(Json(set.into()))
}

/// The quotas of a registry
#[utoipa::path(get, path = "/api/v1/registries/{registry}/quotas", tag = "Quotas",
    params(("registry" = String, Path, description = "Name")),
    responses((status = 200, description = "Each limit with what is used of it.", body = RegistryQuotasView)))]
pub(super) async fn get_registry_quotas(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
) -> Result<Json<RegistryQuotasView>, Problem> {
    caller.allow(&api, Subject::Registry(&registry)).await?;
    Ok(Json(api.core().registry_quotas(&named("registry", &registry)?).await?.into()))
}

/// Set the quotas of a registry
///
/// What the registry has stays, also if that is more: then nothing is added until it is less.
#[utoipa::path(put, path = "/api/v1/registries/{registry}/quotas", tag = "Quotas",
    params(("registry" = String, Path, description = "Name")), request_body = NewRegistryQuotas,
    responses((status = 200, description = "They hold from now on.", body = RegistryQuotasView)))]
pub(super) async fn put_registry_quotas(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
    Json(new): Json<NewRegistryQuotas>,
) -> Result<Json<RegistryQuotasView>, Problem> {
    let allowed = caller.allow(&api, Subject::Registry(&registry)).await?;
    let name = named("registry", &registry)?;
    let set = api.core().set_registry_quotas(&name, new.repositories, new.bytes, &allowed.by).await?;
    Ok(Json(set.into()))
}
