//! The places where roles are given, held until the transaction ends.

use roadstead_db::{Tx, member::In, registry};

use super::{RoleIn, hold_project};
use crate::manage::ManageError;

/// The rows of a place, and what the audit log calls it.
///
/// # Errors
/// `Missing`.
pub(crate) async fn place(tx: &mut Tx<'_>, place: &RoleIn) -> Result<(In, String), ManageError> {
    match place {
        RoleIn::Project(name) => {
            let project = hold_project(tx, name).await?;
            Ok((In::Project(project.id), format!("project {name}")))
        }
        RoleIn::Registry(name) => {
            let found = registry::hold_by_name(tx, name).await?;
            let (registry, project) = found.ok_or(ManageError::Missing("registry"))?;
            Ok((In::Registry(project, registry), format!("registry {name}")))
        }
    }
}
