//! `/api/v1/me/keys` and `/api/v1/projects/{project}/robots/{robot}/keys`: access keys, each for oneself, and those of robots.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use roadstead_access::{KeyEntry, KeyFor, NewKey, Of, Owner, Subject};
use roadstead_db::keys;
use roadstead_model::{Limit, Limits, scope::Actions};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Made, named};
use crate::{
    body::Json,
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::Segments,
    service::Api,
    time::Time,
};

/// After so many days a key should be changed for a new one (product.md 3), in microseconds.
const OLD: i64 = 90 * 24 * 3_600_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An access key. Its secret is not known any more.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessKey)]
pub(super) struct KeyView {
    /// User name for `docker login` and for this API.
    key_id: String,
    /// What it is for.
    description: String,
    /// All that it may do, if it is a robot's.
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Vec<LimitView>>,
    /// When it was made.
    #[schema(inline)]
    created: Time,
    /// When it was last used, to the hour.
    #[schema(inline)]
    used: Option<Time>,
    /// When it ends by itself.
    #[schema(inline)]
    expires: Option<Time>,
    /// When it was revoked.
    #[schema(inline)]
    revoked: Option<Time>,
    /// It works: it has neither ended nor been revoked, and its owner may use it.
    living: bool,
    /// It was made more than 90 days ago: change it for a new one.
    old: bool,
}

/// A key that was just made: the only time that its secret is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = NewAccessKey)]
pub(super) struct NewKeyView {
    /// User name for `docker login` and for this API.
    key_id: String,
    /// Password for `docker login` and for this API. It is not shown again.
    secret: String,
    /// Whose it is: a person's name, or `PROJECT/ROBOT`.
    owner: String,
}

impl From<NewKey> for NewKeyView {
    fn from(key: NewKey) -> Self {
        Self { key_id: key.key_id, secret: key.secret, owner: key.owner }
    }
}

/// What a robot's key may do: actions on some repositories.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Limit)]
pub(super) struct LimitView {
    /// In this registry; left out: in each of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    /// On repositories of these names: `*` is anything but `/`, `**` anything, `?` one character, `{a,b}` one of several. Left out: on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repositories: Option<String>,
    /// `pull`, `push`, `delete`.
    actions: Vec<String>,
}

impl LimitView {
    pub(super) fn of(limit: &Limit) -> Self {
        Self {
            registry: limit.registry.as_ref().map(ToString::to_string),
            repositories: limit.repositories.as_ref().map(ToString::to_string),
            actions: limit.actions.names().map(str::to_owned).collect(),
        }
    }

    fn read(&self, number: usize) -> Result<Limit, Problem> {
        let wrong = |field: &str, words: String| Problem::field(format!("limits[{number}].{field}"), words);
        let actions = self.actions.iter().try_fold(Actions::NONE, |all, name| match Actions::named(name) {
            Some(action) => Ok(all.union(action)),
            None => Err(wrong("actions", format!("there is no action {name:?}: take `pull`, `push`, `delete`"))),
        })?;
        let registry = self.registry.as_ref().map(|name| name.parse()).transpose();
        let repositories = self.repositories.as_ref().map(|pattern| pattern.parse()).transpose();
        Ok(Limit {
            registry: registry.map_err(|error: roadstead_model::NameError| wrong("registry", error.to_string()))?,
            repositories: repositories
                .map_err(|error: roadstead_model::pattern::PatternError| wrong("repositories", error.to_string()))?,
            actions,
        })
    }
}

/// All limits of a key or trust.
pub(super) fn read_limits(limits: &[LimitView]) -> Result<Limits, Problem> {
    let limits = limits.iter().enumerate().map(|(number, limit)| limit.read(number));
    let limits = Limits::new(limits.collect::<Result<_, _>>()?);
    limits.map_err(|error| Problem::field("limits", error.to_string()))
}

/// What a new key is to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct KeyFields {
    /// What it is for; at most 200 characters.
    #[serde(default)]
    description: String,
    /// It ends by itself after so many days.
    days: Option<u32>,
}

/// What a new key of a robot is to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct RobotKeyFields {
    /// What it is for; at most 200 characters.
    #[serde(default)]
    description: String,
    /// It ends by itself after so many days.
    days: Option<u32>,
    /// All that it may do: 1 to 50.
    limits: Vec<LimitView>,
}

pub(super) fn lifetime(days: Option<u32>) -> Result<Option<Duration>, Problem> {
    match days {
        Some(0) => Err(Problem::field("days", "must be at least 1; left out, it does not end by itself")),
        days => Ok(days.map(|days| DAY * days)),
    }
}

async fn list(api: &Api, of: Of<'_>, paging: &Paging) -> Result<Page<KeyView>, Problem> {
    let now = api.core().db().now().await?;
    let limit = u32::try_from(paging.fetch()).unwrap_or(u32::MAX);
    let found = api.access().keys().list(of, paging.after().unwrap_or_default(), limit).await?;
    let view = |key: KeyEntry| KeyView {
        limits: key.limits.map(|text| {
            text.parse::<Limits>().map(|limits| limits.iter().map(LimitView::of).collect()).unwrap_or_default()
        }),
        key_id: key.key_id,
        description: key.description,
        created: Time(key.created),
        used: key.used.map(Time),
        expires: key.expires.map(Time),
        revoked: key.revoked.map(Time),
        living: key.living,
        old: key.living && now - key.created > OLD,
    };
    Ok(paging.page(found, |key| key.key_id.clone()).map(view))
}

/// My keys
#[utoipa::path(get, path = "/api/v1/me/keys", tag = "Callers", params(Paging),
    responses((status = 200, description = "Access keys by id, revoked ones too.", body = Page<KeyView>)))]
pub(super) async fn list_my_keys(
    State(api): State<Api>,
    caller: Caller,
    paging: Paging,
) -> Result<Page<KeyView>, Problem> {
    let allowed = caller.allow(&api, Subject::Region).await?;
    allowed.person()?;
    list(&api, Of::Person(&allowed.name), &paging).await
}

/// Make a key for me
///
/// 5 can live at a time. The secret is in this answer, and never shown again. One that is made with a key that ends does not outlive it.
#[utoipa::path(post, path = "/api/v1/me/keys", tag = "Callers", request_body = KeyFields,
    responses((status = 201, description = "The key was made.", body = NewKeyView)))]
pub(super) async fn post_my_key(
    State(api): State<Api>,
    caller: Caller,
    Json(fields): Json<KeyFields>,
) -> Result<Made<NewKeyView>, Problem> {
    let allowed = caller.allow(&api, Subject::Region).await?;
    allowed.person()?;
    let mut lifetime = lifetime(fields.days)?;
    // A key that ends makes none that outlives it.
    if let Some(key) = caller.who().key()
        && let Some(left) = keys::remaining(api.core().db(), key).await?
    {
        let left = Duration::from_micros(left.unsigned_abs());
        lifetime = Some(lifetime.map_or(left, |lifetime| lifetime.min(left)));
    }
    let whose = KeyFor::Person(allowed.name.clone());
    let made = api.access().keys().create(whose, &fields.description, lifetime, &allowed.by).await?;
    Ok(Made(made.into()))
}

/// Revoke a key of mine
///
/// Refused with the next request, on every node; so are the tokens made for it. Doing it again changes nothing.
#[utoipa::path(delete, path = "/api/v1/me/keys/{key}", tag = "Callers", params(("key" = String, Path, description = "Id of the key")),
    responses((status = 204, description = "The key is revoked.")))]
pub(super) async fn delete_my_key(
    State(api): State<Api>,
    caller: Caller,
    Segments(key): Segments<String>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Region).await?;
    let owner = Owner::Person(allowed.person()?);
    api.access().keys().revoke(&key, Some(owner), &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keys of a robot
#[utoipa::path(get, path = "/api/v1/projects/{project}/robots/{robot}/keys", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot"), Paging),
    responses((status = 200, description = "Access keys by id, revoked ones too.", body = Page<KeyView>)))]
pub(super) async fn list_robot_keys(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot)): Segments<(String, String)>,
    paging: Paging,
) -> Result<Page<KeyView>, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    let robot = api.people().robot(allowed.project()?, &named("robot", &robot)?).await?;
    list(&api, Of::Robot(robot.id), &paging).await
}

/// Make a key for a robot
///
/// 5 can live at a time. It may do what its limits say, and nothing else but what anyone may. The secret is in this answer, and never
/// shown again.
#[utoipa::path(post, path = "/api/v1/projects/{project}/robots/{robot}/keys", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot")),
    request_body = RobotKeyFields,
    responses((status = 201, description = "The key was made.", body = NewKeyView)))]
pub(super) async fn post_robot_key(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot)): Segments<(String, String)>,
    Json(fields): Json<RobotKeyFields>,
) -> Result<Made<NewKeyView>, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    let limits = read_limits(&fields.limits)?;
    let whose = KeyFor::Robot(named("project", &project)?, named("robot", &robot)?, limits);
    let made = api.access().keys().create(whose, &fields.description, lifetime(fields.days)?, &allowed.by).await?;
    Ok(Made(made.into()))
}

/// Revoke a key of a robot
///
/// Refused with the next request, on every node; so are the tokens made for it. Doing it again changes nothing.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/robots/{robot}/keys/{key}", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot"),
        ("key" = String, Path, description = "Id of the key")),
    responses((status = 204, description = "The key is revoked.")))]
pub(super) async fn delete_robot_key(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot, key)): Segments<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    let robot = api.people().robot(allowed.project()?, &named("robot", &robot)?).await?;
    // Limits are of the keys, and say nothing of whose they are.
    let owner = Owner::Robot(robot.id, String::new());
    api.access().keys().revoke(&key, Some(owner), &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}
