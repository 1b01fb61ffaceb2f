//! `/api/v1/projects/{project}/robots/{robot}/trusts`: jobs of a CI that sign in as a robot with a token of their own.

use std::collections::BTreeMap;

use axum::extract::State;
use http::StatusCode;
use roadstead_access::{ManageError, Subject, TrustEntry, TrustFields, Trusts};
use roadstead_model::{Limits, TrustedClaims};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Made,
    keys::{LimitView, lifetime, read_limits},
    named,
};
use crate::{
    body::Json,
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::Segments,
    service::Api,
    time::Time,
};

/// A trust: which jobs may sign in as the robot, and what they may do.
#[derive(Serialize, ToSchema)]
#[schema(as = Trust)]
pub(super) struct TrustView {
    /// Its id.
    id: String,
    /// What it is for.
    description: String,
    /// Who makes the tokens: their `iss`.
    issuer: String,
    /// Whom they must be for, and nobody else: their `aud`.
    audience: String,
    /// What else they must say: names of claims and patterns.
    claims: BTreeMap<String, String>,
    /// All that such a job may do.
    limits: Vec<LimitView>,
    /// When it was made.
    #[schema(inline)]
    created: Time,
    /// When a job last signed in by it, to the hour.
    #[schema(inline)]
    used: Option<Time>,
    /// When it ends by itself.
    #[schema(inline)]
    expires: Option<Time>,
    /// It works: it has neither ended nor been revoked, and the robot is not disabled.
    living: bool,
}

impl From<TrustEntry> for TrustView {
    fn from(trust: TrustEntry) -> Self {
        let TrustEntry { id, description, issuer, audience, claims, limits, created, used, expires, living } = trust;
        let claims = TrustedClaims::read(&claims)
            .map(|claims| claims.iter().map(|(name, pattern)| (name.to_owned(), pattern.to_string())).collect());
        let limits = limits.parse::<Limits>().map(|limits| limits.iter().map(LimitView::of).collect());
        Self {
            id,
            description,
            issuer,
            audience,
            claims: claims.unwrap_or_default(),
            limits: limits.unwrap_or_default(),
            created: Time(created),
            used: used.map(Time),
            expires: expires.map(Time),
            living,
        }
    }
}

/// What a new trust is to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewTrust {
    /// What it is for; at most 200 characters.
    #[serde(default)]
    description: String,
    /// Who makes the tokens: one of those that the region trusts.
    issuer: String,
    /// Whom a token must be for, and nobody else: 1 to 255 bytes, such as the address of this service.
    audience: String,
    /// What else it must say: 1 to 20 names of claims, each with a value or a pattern: `*` is anything but `/`, `**` anything, `?` one
    /// character, `{a,b}` one of several. One of them has to say whose job it is, such as `repository`, `project_path` or `sub`.
    claims: BTreeMap<String, String>,
    /// All that such a job may do: 1 to 50.
    limits: Vec<LimitView>,
    /// It ends by itself after so many days.
    days: Option<u32>,
}

/// Trusts of a robot
#[utoipa::path(get, path = "/api/v1/projects/{project}/robots/{robot}/trusts", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot"), Paging),
    responses((status = 200, description = "Trusts by id.", body = Page<TrustView>)))]
pub(super) async fn list_trusts(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot)): Segments<(String, String)>,
    paging: Paging,
) -> Result<Page<TrustView>, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    let robot = api.people().robot(allowed.project()?, &named("robot", &robot)?).await?;
    let trusts = api.access().trusts();
    let found = trusts.list(robot.id, paging.after().unwrap_or_default(), paging.fetch()).await?;
    Ok(paging.page(found, |trust| trust.id.clone()).map(TrustView::from))
}

/// Let a robot trust jobs of a CI
///
/// A job signs in with the user name `PROJECT/ROBOT` and, as its password, the token that its CI service made for it. It may do what the
/// limits say, and nothing else but what anyone may. 20 can be there at a time; of several that a token fits the oldest counts.
#[utoipa::path(post, path = "/api/v1/projects/{project}/robots/{robot}/trusts", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot")),
    request_body = NewTrust,
    responses((status = 201, description = "The trust was made.", body = TrustView)))]
pub(super) async fn post_trust(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot)): Segments<(String, String)>,
    Json(new): Json<NewTrust>,
) -> Result<Made<TrustView>, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    let trusts = api.access().trusts();
    let of = |field: &'static str| move |error: ManageError| Problem::field(field, error.to_string());
    trusts.check_issuer(&new.issuer).map_err(of("issuer"))?;
    Trusts::check_audience(&new.audience).map_err(of("audience"))?;
    let claims = TrustedClaims::new(new.claims).map_err(|error| Problem::field("claims", error.to_string()))?;
    let fields = TrustFields {
        description: new.description,
        issuer: new.issuer,
        audience: new.audience,
        claims,
        limits: read_limits(&new.limits)?,
        lifetime: lifetime(new.days)?,
    };
    let made = trusts.create(&named("project", &project)?, &named("robot", &robot)?, fields, &allowed.by).await?;
    Ok(Made(made.into()))
}

/// Let a robot trust such jobs no more
///
/// What they got by it is refused with their next request, on every node.
#[utoipa::path(delete, path = "/api/v1/projects/{project}/robots/{robot}/trusts/{trust}", tag = "Robots",
    params(("project" = String, Path, description = "Name of the project"), ("robot" = String, Path, description = "Name of the robot"),
        ("trust" = String, Path, description = "Id of the trust")),
    responses((status = 204, description = "There is no such trust any more.")))]
pub(super) async fn delete_trust(
    State(api): State<Api>,
    caller: Caller,
    Segments((project, robot, trust)): Segments<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    let robot = api.people().robot(allowed.project()?, &named("robot", &robot)?).await?;
    api.access().trusts().delete(robot.id, &trust, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}
