//! `/api/v1/people/{person}/identity`: whom the provider of sign-ins means by a person.

use axum::extract::State;
use http::StatusCode;
use roadstead_access::{Identity, SignOn, Subject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::named;
use crate::{body::Json, caller::Caller, problem::Problem, query::Segments, service::Api, time::Time};

/// Whom a provider means by a person.
#[derive(Serialize, ToSchema)]
#[schema(as = Identity)]
pub(super) struct IdentityView {
    /// The provider.
    issuer: String,
    /// What it calls the person: unique there, and fixed for good.
    subject: String,
    /// Since when they are linked.
    #[schema(inline)]
    since: Time,
}

impl From<Identity> for IdentityView {
    fn from(identity: Identity) -> Self {
        let Identity { issuer, subject, since } = identity;
        Self { issuer, subject, since: Time(since) }
    }
}

/// Whom a person is to be linked with.
#[derive(Deserialize, ToSchema)]
pub(super) struct IdentityFields {
    /// The provider; left out, the one that people sign in at.
    issuer: Option<String>,
    /// What it calls the person. Whoever is refused because their name is taken is told theirs.
    subject: String,
}

/// Whom the provider means by a person
#[utoipa::path(get, path = "/api/v1/people/{person}/identity", tag = "People",
    params(("person" = String, Path, description = "Name")),
    responses((status = 200, description = "Whom the provider means.", body = IdentityView)))]
pub(super) async fn get_identity(
    State(api): State<Api>,
    caller: Caller,
    Segments(person): Segments<String>,
) -> Result<Json<IdentityView>, Problem> {
    caller.allow(&api, Subject::Region).await?;
    Ok(Json(api.people().identity(&named("person", &person)?).await?.into()))
}

/// Link a person with whom the provider means
///
/// From now on they sign in there, instead of or beside a password. Another one that was linked is not any more, and the person's sessions end.
#[utoipa::path(put, path = "/api/v1/people/{person}/identity", tag = "People",
    params(("person" = String, Path, description = "Name")),
    request_body = IdentityFields,
    responses((status = 200, description = "The person is linked.", body = IdentityView)))]
pub(super) async fn put_identity(
    State(api): State<Api>,
    caller: Caller,
    Segments(person): Segments<String>,
    Json(fields): Json<IdentityFields>,
) -> Result<Json<IdentityView>, Problem> {
    let by = caller.allow(&api, Subject::Region).await?.by;
    let configured = || api.access().sign_on().map(SignOn::issuer).map(str::to_owned);
    let issuer = fields.issuer.or_else(configured);
    let issuer = issuer.ok_or_else(|| Problem::field("issuer", "must be given: no provider is configured"))?;
    Ok(Json(api.people().link(&named("person", &person)?, &issuer, &fields.subject, &by).await?.into()))
}

/// Link a person with nobody
///
/// Their sessions end; a password and access keys stay.
#[utoipa::path(delete, path = "/api/v1/people/{person}/identity", tag = "People",
    params(("person" = String, Path, description = "Name")),
    responses((status = 204, description = "The person is linked with nobody.")))]
pub(super) async fn delete_identity(
    State(api): State<Api>,
    caller: Caller,
    Segments(person): Segments<String>,
) -> Result<StatusCode, Problem> {
    let by = caller.allow(&api, Subject::Region).await?.by;
    api.people().unlink(&named("person", &person)?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
