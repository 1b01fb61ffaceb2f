//! Projects: the tenants of a region.

use roadstead_db::{
    DbError,
    audit::By,
    project::{self, Project},
};
use roadstead_model::ProjectName;
use serde_json::json;

use super::{People, check_words, fresh, hold_project, record, rows};
use crate::manage::ManageError;

impl People {
    /// Projects by name, after `after`; of a person's row only those in which they have a role.
    pub async fn projects(&self, person: Option<i64>, after: &str, limit: usize) -> Result<Vec<Project>, ManageError> {
        Ok(project::list(&self.db, person, after, rows(limit)).await?)
    }

    /// One project.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn project(&self, name: &ProjectName) -> Result<Project, ManageError> {
        project::show(&self.db, name).await?.ok_or(ManageError::Missing("project"))
    }

    /// Makes a project.
    ///
    /// # Errors
    /// `Taken`, `Invalid`.
    pub async fn create_project(&self, name: &ProjectName, description: &str, by: &By) -> Result<Project, ManageError> {
        check_words("the description of a project", description)?;
        let input = (name.clone(), description.to_owned(), by.clone());
        self.db
            .write(input, |tx, (name, description, by)| {
                Box::pin(async move {
                    let made = project::insert(tx, name, description, by).await?;
                    made.map(drop).ok_or(ManageError::Taken("project"))
                })
            })
            .await?;
        self.project(name).await
    }

    /// Changes the description of a project.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`.
    pub async fn change_project(
        &self,
        name: &ProjectName,
        expected: Option<i64>,
        description: &str,
        by: &By,
    ) -> Result<Project, ManageError> {
        check_words("the description of a project", description)?;
        let input = (name.clone(), expected, description.to_owned(), by.clone());
        self.db
            .write(input, |tx, (name, expected, description, by)| {
                Box::pin(async move {
                    let project = project::lock(tx, name).await?.ok_or(ManageError::Missing("project"))?;
                    fresh(*expected, project.epoch)?;
                    project::update(tx, project.id, description).await?;
                    let (before, after) =
                        (json!({"description": project.description}), json!({"description": description}));
                    record(tx, &by.about(project.id), "project.change", name.as_str(), Some(&before), Some(&after))
                        .await?;
                    Ok(Project { description: description.clone(), epoch: project.epoch + 1, ..project })
                })
            })
            .await
    }

    /// Forgets a project without registries, with its members and robots.
    ///
    /// # Errors
    /// `Missing`; `InTheWay` while it has a registry, also one in the trash.
    pub async fn remove_project(&self, name: &ProjectName, by: &By) -> Result<(), ManageError> {
        let input = (name.clone(), by.clone());
        self.db
            .write(input, |tx, (name, by)| {
                Box::pin(async move {
                    let project = hold_project(tx, name).await?;
                    match project::remove(tx, project.id).await {
                        Err(DbError::ForeignKey) => {
                            let words = "the project still has registries (perhaps in the trash): delete them first";
                            return Err(ManageError::InTheWay(words.to_owned()));
                        }
                        removed => removed?,
                    }
                    record(tx, &by.about(project.id), "project.remove", name.as_str(), None, None).await
                })
            })
            .await
    }
}
