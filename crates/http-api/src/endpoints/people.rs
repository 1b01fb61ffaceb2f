//! `/api/v1/people`: who may sign in to the region.

use axum::extract::State;
use http::StatusCode;
use roadstead_access::{Person, PersonChange, Subject};
use roadstead_model::PersonName;
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

/// A person.
#[derive(Serialize, ToSchema)]
#[schema(as = Person)]
pub(super) struct PersonView {
    /// 1 to 64 lower-case letters, digits, `-`, `_`, `.` and `@`; fixed for good.
    name: String,
    /// What people call them.
    full_name: String,
    /// Where mail reaches them; may be empty.
    email: String,
    /// Runs the region.
    administrator: bool,
    /// None of their access keys works.
    barred: bool,
    /// They can't sign in at all.
    disabled: bool,
    /// They can sign in with a password.
    has_password: bool,
    /// When they were made.
    #[schema(inline)]
    created: Time,
}

impl From<Person> for PersonView {
    fn from(person: Person) -> Self {
        Self {
            name: person.name,
            full_name: person.full_name,
            email: person.email,
            administrator: person.administrator,
            barred: person.barred,
            disabled: person.disabled,
            has_password: person.has_password,
            created: Time(person.created),
        }
    }
}

/// What is to be of a person; what is left out stays as it is, or is empty or false for a new one.
#[derive(Deserialize, ToSchema)]
pub(super) struct PersonFields {
    /// At most 200 characters.
    full_name: Option<String>,
    /// Such as `name@example.com`.
    email: Option<String>,
    /// Runs the region.
    administrator: Option<bool>,
    /// None of their access keys works.
    barred: Option<bool>,
    /// They can't sign in at all.
    disabled: Option<bool>,
}

impl From<PersonFields> for PersonChange {
    fn from(fields: PersonFields) -> Self {
        let PersonFields { full_name, email, administrator, barred, disabled } = fields;
        Self { full_name, email, administrator, barred, disabled }
    }
}

/// A new password.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewPassword {
    /// 12 to 128 characters; `null`: they can't sign in with a password any more.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    password: Option<String>,
}

/// All people
#[utoipa::path(get, path = "/api/v1/people", tag = "People", params(Paging),
    responses((status = 200, description = "People by name.", body = Page<PersonView>)))]
pub(super) async fn list_people(
    State(api): State<Api>,
    caller: Caller,
    paging: Paging,
) -> Result<Page<PersonView>, Problem> {
    caller.allow(&api, Subject::Region).await?;
    let found = api.people().list(paging.after().unwrap_or_default(), paging.fetch()).await?;
    Ok(paging.page(found, |person| person.name.clone()).map(PersonView::from))
}

/// One person
#[utoipa::path(get, path = "/api/v1/people/{person}", tag = "People", params(("person" = String, Path, description = "Name")),
    responses((status = 200, description = "The person.", body = PersonView)))]
pub(super) async fn get_person(
    State(api): State<Api>,
    caller: Caller,
    Segments(person): Segments<String>,
) -> Result<Versioned<PersonView>, Problem> {
    caller.allow(&api, Subject::Region).await?;
    let found = api.people().show(&named("person", &person)?).await?;
    Ok(Versioned(found.epoch, found.into()))
}

/// Make a person
///
/// Doing it again with the same content changes nothing. A new person has no password: see `/api/v1/people/{person}/password`.
#[utoipa::path(put, path = "/api/v1/people/{person}", tag = "People",
    params(("person" = String, Path, description = "Name of the new person"), Conditions), request_body = PersonFields,
    responses((status = 201, description = "The person was made.", body = PersonView),
        (status = 200, description = "There was just such a person.", body = PersonView)))]
pub(super) async fn put_person(
    State(api): State<Api>,
    caller: Caller,
    Segments(person): Segments<String>,
    conditions: Conditions,
    Json(fields): Json<PersonFields>,
) -> Result<Created<PersonView>, Problem> {
    conditions.only_new()?;
    let by = caller.allow(&api, Subject::Region).await?.by;
    let name: PersonName = named("person", &person)?;
    let change = PersonChange::from(fields);
    if change.barred.is_some() || change.disabled.is_some() {
        let words = "somebody new is neither barred nor disabled: leave these out, and change them afterwards";
        return Err(Problem::invalid(words));
    }
    let made = api.people().create(&name, change.clone(), &by).await;
    let same = |there: &Person| {
        let PersonChange { full_name, email, administrator, .. } = change;
        there.full_name == full_name.unwrap_or_default()
            && there.email == email.unwrap_or_default()
            && there.administrator == administrator.unwrap_or_default()
    };
    let found = super::made_or_same(made, &conditions, api.people().show(&name), |it| it.epoch, same).await?;
    Ok(found.map(|it| (it.epoch, it.into())))
}

/// Change a person
#[utoipa::path(patch, path = "/api/v1/people/{person}", tag = "People",
    params(("person" = String, Path, description = "Name"), Conditions), request_body = PersonFields,
    responses((status = 200, description = "The person as they are now.", body = PersonView)))]
pub(super) async fn patch_person(
    State(api): State<Api>,
    caller: Caller,
    Segments(person): Segments<String>,
    conditions: Conditions,
    Json(fields): Json<PersonFields>,
) -> Result<Versioned<PersonView>, Problem> {
    let by = caller.allow(&api, Subject::Region).await?.by;
    let name = named("person", &person)?;
    let expected = conditions.expected(api.people().show(&name).await?.epoch)?;
    let changed = api.people().change(&name, expected, fields.into(), &by).await?;
    Ok(Versioned(changed.epoch, changed.into()))
}

/// Forget a person
///
/// Their access keys, roles and sessions end at once. What they pushed stays.
#[utoipa::path(delete, path = "/api/v1/people/{person}", tag = "People",
    params(("person" = String, Path, description = "Name"), Conditions),
    responses((status = 204, description = "There is no such person any more.")))]
pub(super) async fn delete_person(
    State(api): State<Api>,
    caller: Caller,
    Segments(person): Segments<String>,
    conditions: Conditions,
) -> Result<StatusCode, Problem> {
    let by = caller.allow(&api, Subject::Region).await?.by;
    let name = named("person", &person)?;
    let expected = conditions.expected(api.people().show(&name).await?.epoch)?;
    api.people().remove(&name, expected, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a person a password
///
/// All of their sessions end.
#[utoipa::path(put, path = "/api/v1/people/{person}/password", tag = "People",
    params(("person" = String, Path, description = "Name")), request_body = NewPassword,
    responses((status = 204, description = "The password was set.")))]
pub(super) async fn put_password(
    State(api): State<Api>,
    caller: Caller,
    Segments(person): Segments<String>,
    Json(new): Json<NewPassword>,
) -> Result<StatusCode, Problem> {
    let by = caller.allow(&api, Subject::Region).await?.by;
    api.sessions().set_password(&named("person", &person)?, new.password, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
