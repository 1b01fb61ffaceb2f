//! What the groups of a person at the provider give: roles, kept apart from those given by hand, and the right of a system administrator.
//! Brought up to date at each sign-in.

use roadstead_db::{
    Tx,
    audit::{self, By},
    identity,
    member::{self, Given, In},
    person::Person,
};
use roadstead_model::Role;
use serde_json::json;

use super::SignOnError;
use crate::{
    manage::ManageError,
    people::{RoleIn, hold, keep_an_administrator},
};

/// A role that a group gives.
#[derive(Clone, Debug)]
pub struct GroupRole {
    /// The group, as the provider calls it.
    pub group: String,
    /// Where.
    pub place: RoleIn,
    /// Which.
    pub role: Role,
}

/// The places where these groups give a role, held, each with the strongest one.
pub(super) async fn hold(
    tx: &mut Tx<'_>,
    roles: &[GroupRole],
    groups: &[String],
) -> Result<Vec<(In, Role)>, SignOnError> {
    let mut places: Vec<(In, Role)> = Vec::new();
    for GroupRole { group, place, role } in roles.iter().filter(|it| groups.contains(&it.group)) {
        let rows = match hold::place(tx, place).await {
            Ok((rows, _)) => rows,
            Err(ManageError::Missing(what)) => {
                tracing::warn!(group, ?place, "a group gives a role in a {what} that is not there");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match places.iter_mut().find(|(known, _)| *known == rows) {
            Some((_, known)) => *known = (*known).max(*role),
            None => places.push((rows, *role)),
        }
    }
    Ok(places)
}

/// Gives a person, who is locked, just these roles by groups.
pub(super) async fn give(tx: &mut Tx<'_>, person: &Person, places: &[(In, Role)], by: &By) -> Result<(), SignOnError> {
    for (place, had) in member::by_groups(tx, person.id).await? {
        if !places.iter().any(|(wanted, _)| *wanted == place) {
            change(tx, person, place, had, None, by).await?;
        }
    }
    for (place, role) in places {
        let had = member::find(tx, *place, person.id).await?;
        if had.by_groups != Some(*role) {
            change(tx, person, *place, had, Some(*role), by).await?;
        }
    }
    Ok(())
}

async fn change(
    tx: &mut Tx<'_>,
    person: &Person,
    place: In,
    had: Given,
    role: Option<Role>,
    by: &By,
) -> Result<(), SignOnError> {
    member::write(tx, place, person.id, Given { by_groups: role, ..had }).await?;
    let object = format!("{}: {}", member::place_name(tx, place).await?, person.name);
    let words = |role: Role| json!({"role": role.name(), "by": "groups"}).to_string();
    let (before, after) = (had.by_groups.map(words), role.map(words));
    let what = if role.is_some() { "member.set" } else { "member.remove" };
    let by = by.about(place.project());
    Ok(audit::record(tx, &by, what, &object, before.as_deref(), after.as_deref()).await?)
}

/// Gives a person, who is locked, the right of a system administrator, or takes it away if a group gave it.
pub(super) async fn lead(tx: &mut Tx<'_>, person: &Person, leads: bool, by: &By) -> Result<(), SignOnError> {
    let (is, by_group) = identity::administrator(tx, person.id).await?;
    if leads == is || (!leads && !by_group) {
        return Ok(());
    }
    if !leads && person.is_in_charge() {
        match keep_an_administrator(tx, person).await {
            Err(ManageError::InTheWay(words)) => {
                tracing::warn!(person = person.name, "no group makes this person a system administrator, but {words}");
                return Ok(());
            }
            kept => kept?,
        }
    }
    identity::set_administrator(tx, person.id, leads).await?;
    let words = |yes: bool| json!({"administrator": yes, "by": "groups"}).to_string();
    Ok(audit::record(tx, by, "person.change", &person.name, Some(&words(is)), Some(&words(leads))).await?)
}
