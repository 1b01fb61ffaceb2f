//! Robots: what programs sign in as.

use roadstead_db::{
    Tx,
    audit::By,
    robot::{self, Robot},
};
use roadstead_model::{PersonName, ProjectName};
use serde_json::json;

use super::{People, check_words, fresh, hold_project, record, rows};
use crate::manage::ManageError;

/// What is to change of a robot; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct RobotChange {
    /// What it is for.
    pub description: Option<String>,
    /// None of its keys works.
    pub disabled: Option<bool>,
}

impl People {
    /// Robots of a project by name, after `after`.
    pub async fn robots(&self, project: i64, after: &str, limit: usize) -> Result<Vec<Robot>, ManageError> {
        Ok(robot::list(&self.db, project, after, rows(limit)).await?)
    }

    /// One robot of a project.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn robot(&self, project: i64, name: &PersonName) -> Result<Robot, ManageError> {
        robot::show(&self.db, project, name.as_str()).await?.ok_or(ManageError::Missing("robot"))
    }

    /// Makes a robot. It can do nothing before it has a key.
    ///
    /// # Errors
    /// `Missing`, `Taken`, `Invalid`.
    pub async fn create_robot(
        &self,
        project: &ProjectName,
        name: &PersonName,
        description: &str,
        by: &By,
    ) -> Result<Robot, ManageError> {
        check_words("the description of a robot", description)?;
        let input = (project.clone(), name.clone(), description.to_owned(), by.clone());
        let project = self
            .db
            .write(input, |tx, (project, name, description, by)| {
                Box::pin(async move {
                    let held = hold_project(tx, project).await?;
                    let made = robot::insert(tx, held.id, name.as_str(), description).await?;
                    made.ok_or(ManageError::Taken("robot"))?;
                    let after = json!({"description": description});
                    record(tx, &by.about(held.id), "robot.create", &format!("{project}/{name}"), None, Some(&after))
                        .await?;
                    Ok::<_, ManageError>(held.id)
                })
            })
            .await?;
        self.robot(project, name).await
    }

    /// Changes a robot.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`.
    pub async fn change_robot(
        &self,
        project: &ProjectName,
        name: &PersonName,
        expected: Option<i64>,
        change: RobotChange,
        by: &By,
    ) -> Result<Robot, ManageError> {
        check_words("the description of a robot", change.description.as_deref().unwrap_or_default())?;
        let input = (project.clone(), name.clone(), expected, change, by.clone());
        self.db
            .write(input, |tx, (project, name, expected, change, by)| {
                Box::pin(async move {
                    let mut robot = lock_robot(tx, project, name).await?;
                    fresh(*expected, robot.epoch)?;
                    let words = |robot: &Robot| json!({"description": robot.description, "disabled": robot.disabled});
                    let before = words(&robot);
                    robot.description = change.description.clone().unwrap_or(robot.description);
                    robot.disabled = change.disabled.unwrap_or(robot.disabled);
                    robot::update(tx, &robot).await?;
                    robot.epoch += 1;
                    let object = format!("{project}/{name}");
                    record(tx, by, "robot.change", &object, Some(&before), Some(&words(&robot))).await?;
                    Ok(robot)
                })
            })
            .await
    }

    /// Forgets a robot, with its keys.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn remove_robot(&self, project: &ProjectName, name: &PersonName, by: &By) -> Result<(), ManageError> {
        let input = (project.clone(), name.clone(), by.clone());
        self.db
            .write(input, |tx, (project, name, by)| {
                Box::pin(async move {
                    let robot = lock_robot(tx, project, name).await?;
                    robot::remove(tx, robot.id).await?;
                    record(tx, by, "robot.remove", &format!("{project}/{name}"), None, None).await
                })
            })
            .await
    }
}

async fn lock_robot(tx: &mut Tx<'_>, project: &ProjectName, name: &PersonName) -> Result<Robot, ManageError> {
    let project = hold_project(tx, project).await?;
    robot::lock(tx, project.id, name.as_str()).await?.ok_or(ManageError::Missing("robot"))
}
