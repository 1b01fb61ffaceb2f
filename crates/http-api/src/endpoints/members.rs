//! `/api/v1/projects/{project}/members` and `/api/v1/registries/{registry}/members`: who has which role.

use axum::extract::State;
use http::StatusCode;
use roadstead_access::{In, Member, RoleIn, Subject};
use roadstead_model::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::named;
use crate::{
    body::Json,
    caller::{Allowed, Caller},
    paging::{Page, Paging},
    problem::Problem,
    query::Segments,
    service::Api,
    time::Time,
};

/// What a person may do in a project or registry; each role may do all that the one before it may.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = Role)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoleName {
    /// Sees everything, and pulls.
    Viewer,
    /// Pushes, too.
    Uploader,
    /// Changes, deletes, and says who else may.
    Manager,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Uploader => Self::Uploader,
            Role::Manager => Self::Manager,
        }
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Uploader => Self::Uploader,
            RoleName::Manager => Self::Manager,
        }
    }
}

/// A member.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberView {
    /// Name of the person.
    person: String,
    /// What people call them.
    full_name: String,
    /// Their role there: the stronger of the two below.
    role: RoleName,
    /// The role that was given by hand.
    by_hand: Option<RoleName>,
    /// The role that groups gave at the last sign-in at the provider of OpenID Connect.
    by_groups: Option<RoleName>,
    /// Since when.
    #[schema(inline)]
    since: Time,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        let Member { person, full_name, role, given, since } = member;
        let (by_hand, by_groups) = (given.by_hand.map(RoleName::from), given.by_groups.map(RoleName::from));
        Self { person, full_name, role: role.into(), by_hand, by_groups, since: Time(since) }
    }
}

/// The role that a person is to have.
#[derive(Deserialize, ToSchema)]
pub(super) struct MemberFields {
    /// Instead of the one that they had there.
    role: RoleName,
}

async fn list(api: &Api, place: In, paging: &Paging) -> Result<Page<MemberView>, Problem> {
    let found = api.people().members(place, paging.after().unwrap_or_default(), paging.fetch()).await?;
    Ok(paging.page(found, |member| member.person.clone()).map(MemberView::from))
}

async fn put(
    api: &Api,
    allowed: Allowed,
    place: RoleIn,
    person: &str,
    fields: &MemberFields,
) -> Result<StatusCode, Problem> {
    let is_new = api.people().set_role(place, &named("person", person)?, fields.role.into(), &allowed.by).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::OK })
}

async fn delete(api: &Api, allowed: Allowed, place: RoleIn, person: &str) -> Result<StatusCode, Problem> {
    api.people().remove_role(place, &named("person", person)?, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Members of a project
#[utoipa::path(get, path = "/api/v1/projects/{project}/members", tag = "Members",
    params(("project" = String, Path, description = "Name"), Paging),
    responses((status = 200, description = "Members by name.", body = Page<MemberView>)))]
pub(super) async fn list_of_project(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
    paging: Paging,
) -> Result<Page<MemberView>, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    list(&api, In::Project(allowed.project()?), &paging).await
}

/// Give a role in a project
///
/// It holds in all registries of the project.
#[utoipa::path(put, path = "/api/v1/projects/{project}/members/{person}", tag = "Members",
    params(("project" = String, Path, description = "Name of the project"), ("person" = String, Path, description = "Name of the person")),
    request_body = MemberFields,
    responses((status = 201, description = "The person is a member now."), (status = 200, description = "The person was a member, and has this role now.")))]
pub(super) async fn put_in_project(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, person)): Segments<(String, String)>,
    Json(fields): Json<MemberFields>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    put(&api, allowed, RoleIn::Project(named("project", &project)?), &person, &fields).await
}

/// Take a role in a project away
///
/// Gone with the next request, on every node. Roles on single registries stay.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/members/{person}", tag = "Members",
    params(("project" = String, Path, description = "Name of the project"), ("person" = String, Path, description = "Name of the person")),
    responses((status = 204, description = "The person is no member any more.")))]
pub(super) async fn delete_in_project(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, person)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    delete(&api, allowed, RoleIn::Project(named("project", &project)?), &person).await
}

/// Members of a registry
///
/// Those who have a role on this registry; members of its project are listed there.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/members", tag = "Members",
    params(("registry" = String, Path, description = "Name"), Paging),
    responses((status = 200, description = "Members by name.", body = Page<MemberView>)))]
pub(super) async fn list_of_registry(
    State(api): State<Api>,
    caller: Caller,
    Segments(registry): Segments<String>,
    paging: Paging,
) -> Result<Page<MemberView>, Problem> {
    let allowed = caller.allow(&api, Subject::Registry(&registry)).await?;
    list(&api, In::Registry(allowed.project()?, allowed.registry()?), &paging).await
}

/// Give a role on a registry
#[utoipa::path(put, path = "/api/v1/registries/{registry}/members/{person}", tag = "Members",
    params(("registry" = String, Path, description = "Name of the registry"), ("person" = String, Path, description = "Name of the person")),
    request_body = MemberFields,
    responses((status = 201, description = "The person is a member now."), (status = 200, description = "The person was a member, and has this role now.")))]
pub(super) async fn put_in_registry(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, person)): Segments<(String, String)>,
    Json(fields): Json<MemberFields>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Registry(&registry)).await?;
    put(&api, allowed, RoleIn::Registry(named("registry", &registry)?), &person, &fields).await
}

/// Take a role on a registry away
///
/// Gone with the next request, on every node. A role in its project stays.
#[utoipa::path(delete, path = "/api/v1/registries/{registry}/members/{person}", tag = "Members",
    params(("registry" = String, Path, description = "Name of the registry"), ("person" = String, Path, description = "Name of the person")),
    responses((status = 204, description = "The person is no member any more.")))]
pub(super) async fn delete_in_registry(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, person)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Registry(&registry)).await?;
    delete(&api, allowed, RoleIn::Registry(named("registry", &registry)?), &person).await
}
