//! Members: who has which role where.

use roadstead_db::{
    audit::By,
    member::{self, Given, In, Member},
    person,
};
use roadstead_model::{PersonName, ProjectName, RegistryName, Role};
use serde_json::json;

use super::{People, hold, lock_person, record, rows};
use crate::manage::ManageError;

/// Where a role is given.
#[derive(Clone, Debug)]
pub enum RoleIn {
    /// In a project.
    Project(ProjectName),
    /// In one registry.
    Registry(RegistryName),
}

impl People {
    /// Members by name, after `after`.
    pub async fn members(&self, place: In, after: &str, limit: usize) -> Result<Vec<Member>, ManageError> {
        Ok(member::list(&self.db, place, after, rows(limit)).await?)
    }

    /// Gives a person a role, instead of the one they had there. Gives back whether they had none.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn set_role(&self, place: RoleIn, person: &PersonName, role: Role, by: &By) -> Result<bool, ManageError> {
        let input = (place, person.clone(), role, by.clone());
        self.db
            .write(input, |tx, (place, name, role, by)| {
                Box::pin(async move {
                    let (rows, place) = hold::place(tx, place).await?;
                    let object = format!("{place}: {name}");
                    let person = lock_person(tx, name, None).await?.id;
                    let had = member::find(tx, rows, person).await?;
                    member::write(tx, rows, person, Given { by_hand: Some(*role), ..had }).await?;
                    let words = |role: Role| json!({"role": role.name()});
                    let by = by.about(rows.project());
                    record(tx, &by, "member.set", &object, had.by_hand.map(words).as_ref(), Some(&words(*role)))
                        .await?;
                    Ok(had.role().is_none())
                })
            })
            .await
    }

    /// Takes a person's role away that was given by hand.
    ///
    /// # Errors
    /// `Missing`; `InTheWay` where groups alone give it.
    pub async fn remove_role(&self, place: RoleIn, person: &PersonName, by: &By) -> Result<(), ManageError> {
        let input = (place, person.clone(), by.clone());
        self.db
            .write(input, |tx, (place, name, by)| {
                Box::pin(async move {
                    let (rows, place) = hold::place(tx, place).await?;
                    let object = format!("{place}: {name}");
                    let missing = || ManageError::Missing("member");
                    let person = person::lock(tx, name.as_str()).await?.ok_or_else(missing)?.id;
                    let had = member::find(tx, rows, person).await?;
                    if had.by_hand.is_none() && had.by_groups.is_some() {
                        let words = "the person has this role by a group: it goes with the group at their next sign-in";
                        return Err(ManageError::InTheWay(words.to_owned()));
                    }
                    let before = had.by_hand.ok_or_else(missing)?;
                    member::write(tx, rows, person, Given { by_hand: None, ..had }).await?;
                    let by = by.about(rows.project());
                    record(tx, &by, "member.remove", &object, Some(&json!({"role": before.name()})), None).await
                })
            })
            .await
    }
}
