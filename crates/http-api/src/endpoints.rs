//! One file a resource, and the one list of all endpoints.

mod artifacts;
mod audit;
mod buckets;
mod identities;
mod keys;
mod me;
mod members;
mod openapi;
mod people;
mod projects;
mod pulls;
mod quotas;
mod registries;
mod repositories;
mod robots;
mod session;
mod sign_on;
mod tags;
mod trash;
mod trusts;
mod usage;

use std::str::FromStr;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use roadstead_access::{ManageError, Right, Subject};
use roadstead_model::{Digest, NameError, Place};
use roadstead_registry::{Image, RegistryError};
use serde::Serialize;
use utoipa_axum::routes;

use crate::{
    body::Json,
    caller::{Allowed, Caller},
    endpoint::Endpoints,
    problem::Problem,
    rights::Row,
    service::Api,
    version::{Conditions, Versioned},
};

/// All endpoints, each with its row of the permission matrix.
pub fn all() -> Endpoints {
    let (see, own, change, members, audit, system) = (
        Row::Right(Right::See),
        Row::Right(Right::Own),
        Row::Right(Right::ChangeRegistries),
        Row::Right(Right::Members),
        Row::Right(Right::Audit),
        Row::Right(Right::System),
    );
    let (see_images, change_images, push, collect) = (
        Row::Right(Right::SeeImages),
        Row::Right(Right::ChangeImages),
        Row::Right(Right::Push),
        Row::Right(Right::Collect),
    );
    Endpoints::new()
        .with(Row::Open, routes!(openapi::get_openapi))
        .with(Row::Open, routes!(session::post_session))
        .with(Row::Open, routes!(session::delete_session))
        .with(Row::Open, routes!(sign_on::begin_sign_on))
        .with(Row::Open, routes!(sign_on::finish_sign_on))
        .with(Row::SignedIn, routes!(me::get_me))
        .with(own, routes!(me::put_my_password))
        .with(own, routes!(keys::list_my_keys, keys::post_my_key))
        .with(own, routes!(keys::delete_my_key))
        .with(system, routes!(people::list_people))
        .with(system, routes!(people::get_person, people::put_person, people::patch_person, people::delete_person))
        .with(system, routes!(people::put_password))
        .with(system, routes!(buckets::list_buckets))
        .with(system, routes!(buckets::get_bucket))
        .with(system, routes!(buckets::check_bucket))
        .with(system, routes!(identities::get_identity, identities::put_identity, identities::delete_identity))
        .with(see, routes!(projects::list_projects))
        .with(see, routes!(projects::get_project))
        .with(system, routes!(projects::put_project, projects::patch_project, projects::delete_project))
        .with(see, routes!(members::list_of_project))
        .with(members, routes!(members::put_in_project, members::delete_in_project))
        .with(see, routes!(members::list_of_registry))
        .with(members, routes!(members::put_in_registry, members::delete_in_registry))
        .with(see, routes!(robots::list_robots))
        .with(see, routes!(robots::get_robot))
        .with(members, routes!(robots::put_robot, robots::patch_robot, robots::delete_robot))
        .with(members, routes!(keys::list_robot_keys, keys::post_robot_key))
        .with(members, routes!(keys::delete_robot_key))
        .with(members, routes!(trusts::list_trusts, trusts::post_trust))
        .with(members, routes!(trusts::delete_trust))
        .with(see, routes!(registries::list_registries))
        .with(see, routes!(registries::get_registry))
        .with(change, routes!(registries::put_registry, registries::patch_registry, registries::delete_registry))
        .with(see_images, routes!(repositories::list_repositories))
        .with(see_images, routes!(repositories::get_repository))
        .with(change_images, routes!(repositories::patch_repository, repositories::delete_repository))
        .with(see_images, routes!(pulls::list_pulls))
        .with(see_images, routes!(artifacts::list_artifacts))
        .with(see_images, routes!(artifacts::get_artifact))
        .with(change_images, routes!(artifacts::delete_artifact))
        .with(see_images, routes!(artifacts::list_referrers))
        .with(see_images, routes!(tags::list_tags))
        .with(see_images, routes!(tags::get_tag))
        .with(push, routes!(tags::put_tag))
        .with(change_images, routes!(tags::delete_tag))
        .with(see_images, routes!(tags::list_tag_history))
        .with(see, routes!(trash::list_trash))
        .with(collect, routes!(trash::empty_trash))
        .with(collect, routes!(trash::delete_trash_entry))
        .with(change_images, routes!(trash::restore_trash))
        .with(change, routes!(trash::restore_registry))
        .with(see, routes!(usage::get_project_usage))
        .with(see, routes!(quotas::get_project_quotas))
        .with(system, routes!(quotas::put_project_quotas))
        .with(see, routes!(quotas::get_registry_quotas))
        .with(system, routes!(quotas::put_registry_quotas))
        .with(audit, routes!(audit::list_audit))
        .with(audit, routes!(audit::export_audit))
        .with(audit, routes!(audit::list_project_audit))
        .with(audit, routes!(audit::export_project_audit))
}

/// The name in a path.
///
/// # Errors
/// 400 in the words of its kind.
fn named<T: FromStr<Err = NameError>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: NameError| Problem::field(field, error.to_string()))
}

/// The repository in a path, for somebody who may do with it what was asked.
///
/// # Errors
/// Of the rights; 400 for what can't be a name, 404 for what is not there.
async fn image(api: &Api, caller: &Caller, registry: &str, repository: &str) -> Result<(Allowed, Image), Problem> {
    let allowed = caller.allow(api, Subject::Registry(registry)).await?;
    let place = Place { registry: named("registry", registry)?, repository: named("repository", repository)? };
    Ok((allowed, api.core().image(place).await?))
}

/// The digest in a path or body.
///
/// # Errors
/// 400.
fn digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|_| Problem::field("digest", "is a digest, such as `sha256:` and 64 hexadecimal digits"))
}

/// What is searched for.
///
/// # Errors
/// 400.
fn searched(text: &str) -> Result<&str, Problem> {
    if text.len() > 255 || text.contains('\0') {
        return Err(Problem::field("search", "has at most 255 bytes, and no NUL"));
    }
    Ok(text)
}

/// 201 with what was made.
pub(crate) struct Made<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

/// What a PUT answers, with its entity tag.
pub(crate) struct Created<T> {
    is_new: bool,
    epoch: i64,
    view: T,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let status = if self.is_new { StatusCode::CREATED } else { StatusCode::OK };
        (status, Versioned(self.epoch, self.view)).into_response()
    }
}

/// What a PUT found: made now, or there already just as it was asked for.
struct Found<T> {
    is_new: bool,
    found: T,
}

impl<T> Found<T> {
    /// As `show` gives it, with its epoch.
    fn map<U>(self, show: impl FnOnce(T) -> (i64, U)) -> Created<U> {
        let (epoch, view) = show(self.found);
        Created { is_new: self.is_new, epoch, view }
    }
}

/// What became of making something by its name: doing it again changes nothing, and something else of this name is a conflict.
///
/// # Errors
/// Of the making; 412 where `If-None-Match: *` wanted it to be new.
async fn made_or_same<T, E>(
    made: Result<T, E>,
    conditions: &Conditions,
    there: impl Future<Output = Result<T, E>>,
    epoch: impl FnOnce(&T) -> i64,
    same: impl FnOnce(&T) -> bool,
) -> Result<Found<T>, Problem>
where
    Problem: From<E>,
    E: IsTaken,
{
    match made {
        Ok(found) => Ok(Found { is_new: true, found }),
        Err(error) if error.is_taken() => {
            let found = there.await?;
            conditions.check(Some(epoch(&found)))?;
            if same(&found) { Ok(Found { is_new: false, found }) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

/// Errors that can say that a name is taken.
trait IsTaken {
    fn is_taken(&self) -> bool;
}

impl IsTaken for ManageError {
    fn is_taken(&self) -> bool {
        matches!(self, Self::Taken(_))
    }
}

impl IsTaken for RegistryError {
    fn is_taken(&self) -> bool {
        matches!(self, Self::Taken(_))
    }
}
