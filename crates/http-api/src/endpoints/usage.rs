//! `/api/v1/projects/{project}/usage`: what a project stores.

use axum::extract::State;
use roadstead_access::Subject;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{body::Json, caller::Caller, problem::Problem, query::Segments, service::Api};

/// What a project stores, what lies in the trash included.
#[derive(Serialize, ToSchema)]
pub(super) struct ProjectUsage {
    /// Registries.
    registries: i64,
    /// Repositories that have an artifact.
    repositories: i64,
    /// Artifacts.
    artifacts: i64,
    /// Tags.
    tags: i64,
    /// Bytes that are stored of layers, each counted once in its registry.
    bytes: i64,
    /// Bytes of all artifacts, with layers that several of them have counted for each.
    image_bytes: i64,
}

/// What a project stores
#[utoipa::path(get, path = "/api/v1/projects/{project}/usage", tag = "Projects", params(("project" = String, Path, description = "Name")),
    responses((status = 200, description = "The figures.", body = ProjectUsage)))]
pub(super) async fn get_project_usage(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
) -> Result<Json<ProjectUsage>, Problem> {
    let project = caller.allow(&api, Subject::Project(&project)).await?.project()?;
    let (registries, usage) = api.core().project_usage(project).await?;
    Ok(Json(ProjectUsage {
        registries,
        repositories: usage.repositories,
        artifacts: usage.artifacts,
        tags: usage.tags,
        bytes: usage.bytes,
        image_bytes: usage.image_bytes,
    }))
}
