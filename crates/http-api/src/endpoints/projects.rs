//! `/api/v1/projects`: the tenants of the region.

use axum::extract::State;
use http::StatusCode;
use roadstead_access::{Project, Subject};
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

/// A project.
#[derive(Serialize, ToSchema)]
#[schema(as = Project)]
pub(super) struct ProjectView {
    /// 3 to 30 lower-case letters, digits and `-`; fixed for good.
    name: String,
    /// Words about it.
    description: String,
    /// When it was made.
    #[schema(inline)]
    created: Time,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        Self { name: project.name, description: project.description, created: Time(project.created) }
    }
}

/// What is to be of a project.
#[derive(Deserialize, ToSchema)]
pub(super) struct ProjectFields {
    /// At most 200 characters.
    #[serde(default)]
    description: String,
}

/// What is to change of a project; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
pub(super) struct ProjectChange {
    /// At most 200 characters.
    description: Option<String>,
}

/// Projects
///
/// All, for a system administrator; for others those in which, or in a registry of which, they have a role.
#[utoipa::path(get, path = "/api/v1/projects", tag = "Projects", params(Paging),
    responses((status = 200, description = "Projects by name.", body = Page<ProjectView>)))]
pub(super) async fn list_projects(
    State(api): State<Api>,
    caller: Caller,
    paging: Paging,
) -> Result<Page<ProjectView>, Problem> {
    let person = caller.visible(&api).await?;
    let found = api.people().projects(person, paging.after().unwrap_or_default(), paging.fetch()).await?;
    Ok(paging.page(found, |project| project.name.clone()).map(ProjectView::from))
}

/// One project
#[utoipa::path(get, path = "/api/v1/projects/{project}", tag = "Projects", params(("project" = String, Path, description = "Name")),
    responses((status = 200, description = "The project.", body = ProjectView)))]
pub(super) async fn get_project(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
) -> Result<Versioned<ProjectView>, Problem> {
    caller.allow(&api, Subject::Project(&project)).await?;
    let found = api.people().project(&named("project", &project)?).await?;
    Ok(Versioned(found.epoch, found.into()))
}

/// Make a project
///
/// Doing it again with the same content changes nothing.
#[utoipa::path(put, path = "/api/v1/projects/{project}", tag = "Projects",
    params(("project" = String, Path, description = "Name of the new project"), Conditions), request_body = ProjectFields,
    responses((status = 201, description = "The project was made.", body = ProjectView),
        (status = 200, description = "There was just such a project.", body = ProjectView)))]
pub(super) async fn put_project(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
    conditions: Conditions,
    Json(fields): Json<ProjectFields>,
) -> Result<Created<ProjectView>, Problem> {
    conditions.only_new()?;
    let by = caller.allow(&api, Subject::Region).await?.by;
    let name = named("project", &project)?;
    let made = api.people().create_project(&name, &fields.description, &by).await;
    let same = |there: &Project| there.description == fields.description;
    let found = super::made_or_same(made, &conditions, api.people().project(&name), |it| it.epoch, same).await?;
    Ok(found.map(|it| (it.epoch, it.into())))
}

/// Change a project
#[utoipa::path(patch, path = "/api/v1/projects/{project}", tag = "Projects",
    params(("project" = String, Path, description = "Name"), Conditions), request_body = ProjectChange,
    responses((status = 200, description = "The project as it is now.", body = ProjectView)))]
pub(super) async fn patch_project(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
    conditions: Conditions,
    Json(change): Json<ProjectChange>,
) -> Result<Versioned<ProjectView>, Problem> {
    let by = caller.allow(&api, Subject::Region).await?.by;
    let name = named("project", &project)?;
    let there = api.people().project(&name).await?;
    let expected = conditions.expected(there.epoch)?;
    let description = change.description.unwrap_or(there.description);
    let changed = api.people().change_project(&name, expected, &description, &by).await?;
    Ok(Versioned(changed.epoch, changed.into()))
}

/// Forget a project
///
/// With its members and robots. Refused while it has registries, also in the trash.
#[utoipa::path(delete, path = "/api/v1/projects/{project}", tag = "Projects",
    params(("project" = String, Path, description = "Name")),
    responses((status = 204, description = "There is no such project any more.")))]
pub(super) async fn delete_project(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
) -> Result<StatusCode, Problem> {
    let by = caller.allow(&api, Subject::Region).await?.by;
    api.people().remove_project(&named("project", &project)?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
