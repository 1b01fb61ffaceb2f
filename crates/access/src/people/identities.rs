//! Whom the provider of sign-ins means by a person: linked at the first sign-in, or by a system administrator.

use roadstead_db::{
    audit::By,
    identity::{self, Identity},
    person, session,
};
use roadstead_model::PersonName;
use serde_json::{Value, json};

use super::{People, lock_person, record};
use crate::manage::ManageError;

/// The longest address of an issuer, and the longest subject, in bytes.
const MAX_BYTES: usize = 1024;

impl People {
    /// Whom the provider means by a person.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn identity(&self, name: &PersonName) -> Result<Identity, ManageError> {
        person::show(&self.db, name.as_str()).await?.ok_or(ManageError::Missing("person"))?;
        identity::of_person(&self.db, name.as_str()).await?.ok_or(ManageError::Missing("identity"))
    }

    /// Links a person with whom a provider means, instead of what there was; sessions end, if that was somebody else.
    ///
    /// # Errors
    /// `Missing`, `Invalid`; `InTheWay` where that is somebody else already.
    pub async fn link(&self, name: &PersonName, issuer: &str, subject: &str, by: &By) -> Result<Identity, ManageError> {
        for (what, text) in [("issuer", issuer), ("subject", subject)] {
            if text.is_empty() || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
                return Err(ManageError::Invalid(format!("the {what} of an identity has 1 to {MAX_BYTES} bytes")));
            }
        }
        let input = (name.clone(), issuer.to_owned(), subject.to_owned(), by.clone());
        self.db
            .write(input, |tx, (name, issuer, subject, by)| {
                Box::pin(async move {
                    let person = lock_person(tx, name, None).await?.id;
                    let before = identity::find(tx, person).await?;
                    if let Some(same) = before.clone().filter(|it| it.issuer == *issuer && it.subject == *subject) {
                        return Ok(same);
                    }
                    let linked = identity::link(tx, person, issuer, subject).await?.ok_or_else(|| {
                        ManageError::InTheWay("this subject of the provider is linked with another person".to_owned())
                    })?;
                    session::end_all(tx, person).await?;
                    let before = before.as_ref().map(words_of);
                    record(tx, by, "person.link", name.as_str(), before.as_ref(), Some(&words_of(&linked))).await?;
                    Ok(linked)
                })
            })
            .await
    }

    /// Forgets whom the provider means by a person, and ends their sessions.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn unlink(&self, name: &PersonName, by: &By) -> Result<(), ManageError> {
        self.db
            .write((name.clone(), by.clone()), |tx, (name, by)| {
                Box::pin(async move {
                    let person = lock_person(tx, name, None).await?.id;
                    let before = identity::find(tx, person).await?.ok_or(ManageError::Missing("identity"))?;
                    identity::unlink(tx, person).await?;
                    session::end_all(tx, person).await?;
                    record(tx, by, "person.unlink", name.as_str(), Some(&words_of(&before)), None).await
                })
            })
            .await
    }
}

pub(crate) fn words_of(identity: &Identity) -> Value {
    json!({"issuer": identity.issuer, "subject": identity.subject})
}
