//! Members: who has which role where.

use roadstead_db::{
    Tx,
    audit::By,
    member::{self, In, Member},
    person, registry,
};
use roadstead_model::{PersonName, ProjectName, RegistryName, Role};
use serde_json::json;

use super::{People, hold_project, lock_person, record, rows};
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
                    let (rows, object) = hold_place(tx, place, name).await?;
                    let person = lock_person(tx, name, None).await?.id;
                    let had = member::find(tx, rows, person).await?;
                    member::set(tx, rows, person, *role).await?;
                    let words = |role: Role| json!({"role": role.name()});
                    let by = by.about(rows.project());
                    record(tx, &by, "member.set", &object, had.map(words).as_ref(), Some(&words(*role))).await?;
                    Ok(had.is_none())
                })
            })
            .await
    }

    /// Takes a person's role away.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn remove_role(&self, place: RoleIn, person: &PersonName, by: &By) -> Result<(), ManageError> {
        let input = (place, person.clone(), by.clone());
        self.db
            .write(input, |tx, (place, name, by)| {
                Box::pin(async move {
                    let (rows, object) = hold_place(tx, place, name).await?;
                    let missing = || ManageError::Missing("member");
                    let person = person::lock(tx, name.as_str()).await?.ok_or_else(missing)?.id;
                    let had = member::find(tx, rows, person).await?.ok_or_else(missing)?;
                    member::remove(tx, rows, person).await?;
                    let by = by.about(rows.project());
                    record(tx, &by, "member.remove", &object, Some(&json!({"role": had.name()})), None).await
                })
            })
            .await
    }
}

/// The rows of a place, and what the audit log calls a person's role in it.
async fn hold_place(tx: &mut Tx<'_>, place: &RoleIn, person: &PersonName) -> Result<(In, String), ManageError> {
    match place {
        RoleIn::Project(name) => {
            let project = hold_project(tx, name).await?;
            Ok((In::Project(project.id), format!("project {name}: {person}")))
        }
        RoleIn::Registry(name) => {
            let found = registry::hold_by_name(tx, name).await?;
            let (registry, project) = found.ok_or(ManageError::Missing("registry"))?;
            Ok((In::Registry(project, registry), format!("registry {name}: {person}")))
        }
    }
}
