//! `/api/v1/projects/{project}/robots`: what programs sign in as.

use axum::extract::State;
use http::StatusCode;
use roadstead_access::{Robot, RobotChange, Subject};
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

/// A robot.
#[derive(Serialize, ToSchema)]
#[schema(as = Robot)]
pub(super) struct RobotView {
    /// Unique in its project; fixed for good.
    name: String,
    /// What it is for.
    description: String,
    /// None of its keys works.
    disabled: bool,
    /// When it was made.
    #[schema(inline)]
    created: Time,
}

impl From<Robot> for RobotView {
    fn from(robot: Robot) -> Self {
        let Robot { name, description, disabled, created, .. } = robot;
        Self { name, description, disabled, created: Time(created) }
    }
}

/// What a new robot is to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewRobot {
    /// At most 200 characters.
    #[serde(default)]
    description: String,
}

/// What is to be of a robot; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
pub(super) struct RobotFields {
    /// At most 200 characters.
    description: Option<String>,
    /// None of its keys works.
    disabled: Option<bool>,
}

/// Robots of a project
#[utoipa::path(get, path = "/api/v1/projects/{project}/robots", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), Paging),
    responses((status = 200, description = "Robots by name.", body = Page<RobotView>)))]
pub(super) async fn list_robots(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
    paging: Paging,
) -> Result<Page<RobotView>, Problem> {
    let row = caller.allow(&api, Subject::Project(&project)).await?.project()?;
    let found = api.people().robots(row, paging.after().unwrap_or_default(), paging.fetch()).await?;
    Ok(paging.page(found, |robot| robot.name.clone()).map(RobotView::from))
}

/// One robot
#[utoipa::path(get, path = "/api/v1/projects/{project}/robots/{robot}", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot")),
    responses((status = 200, description = "The robot.", body = RobotView)))]
pub(super) async fn get_robot(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot)): Segments<(String, String)>,
) -> Result<Versioned<RobotView>, Problem> {
    let row = caller.allow(&api, Subject::Project(&project)).await?.project()?;
    let found = api.people().robot(row, &named("robot", &robot)?).await?;
    Ok(Versioned(found.epoch, found.into()))
}

/// Make a robot
///
/// It can do nothing before it has a key. Doing it again with the same content changes nothing.
#[utoipa::path(put, path = "/api/v1/projects/{project}/robots/{robot}", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the new robot"), Conditions),
    request_body = NewRobot,
    responses((status = 201, description = "The robot was made.", body = RobotView),
        (status = 200, description = "There was just such a robot.", body = RobotView)))]
pub(super) async fn put_robot(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot)): Segments<(String, String)>,
    conditions: Conditions,
    Json(new): Json<NewRobot>,
) -> Result<Created<RobotView>, Problem> {
    conditions.only_new()?;
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    let (row, name) = (allowed.project()?, named("robot", &robot)?);
    let made = api.people().create_robot(&named("project", &project)?, &name, &new.description, &allowed.by).await;
    let same = |there: &Robot| there.description == new.description;
    let found = super::made_or_same(made, &conditions, api.people().robot(row, &name), |it| it.epoch, same).await?;
    Ok(found.map(|it| (it.epoch, it.into())))
}

/// Change a robot
#[utoipa::path(patch, path = "/api/v1/projects/{project}/robots/{robot}", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot"), Conditions),
    request_body = RobotFields,
    responses((status = 200, description = "The robot as it is now.", body = RobotView)))]
pub(super) async fn patch_robot(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot)): Segments<(String, String)>,
    conditions: Conditions,
    Json(fields): Json<RobotFields>,
) -> Result<Versioned<RobotView>, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    let name = named("robot", &robot)?;
    let expected = conditions.expected(api.people().robot(allowed.project()?, &name).await?.epoch)?;
    let change = RobotChange { description: fields.description, disabled: fields.disabled };
    let project = named("project", &project)?;
    let changed = api.people().change_robot(&project, &name, expected, change, &allowed.by).await?;
    Ok(Versioned(changed.epoch, changed.into()))
}

/// Forget a robot
///
/// Its keys end at once.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/robots/{robot}", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot")),
    responses((status = 204, description = "There is no such robot any more.")))]
pub(super) async fn delete_robot(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let by = caller.allow(&api, Subject::Project(&project)).await?.by;
    api.people().remove_robot(&named("project", &project)?, &named("robot", &robot)?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
