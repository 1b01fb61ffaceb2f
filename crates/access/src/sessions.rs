//! Sessions: who signed in to the console with a password.
//!
//! A session's secret is random, is given once, and is stored as its SHA-256. Each sign-in has a new one, so nobody can be given one from
//! before (session fixation). Who fails often waits, by name and address.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use moka::sync::Cache;
use roadstead_db::{
    Db,
    audit::{self, By},
    person::{self, Person},
    session,
};
use roadstead_model::PersonName;
use sha2::{Digest as _, Sha256};

use crate::{
    caller::Caller,
    manage::ManageError,
    passwords::{self, Passwords},
    sources::Entropy,
};

/// A session ends after so long, microseconds: a week.
const LIFETIME: i64 = 7 * 24 * 3_600_000_000;
/// And when nobody used it for so long: half a day.
const IDLE: i64 = 12 * 3_600_000_000;
/// Its use is noted once in so long.
const NOTED: i64 = 60_000_000;
/// So many wrong passwords for one name from one address, then the next ones are not even looked at.
const TRIES: u32 = 10;
/// From one address for any names, and for one name from anywhere.
const MANY_TRIES: u32 = 100;
/// Until this time has passed.
const PAUSE: Duration = Duration::from_secs(15 * 60);
/// Names and addresses that are counted at most.
const COUNTED: u64 = 100_000;

/// Signs people in and out.
#[derive(Clone)]
pub struct Sessions {
    db: Db,
    entropy: Entropy,
    passwords: Passwords,
    failures: Cache<String, u32>,
}

/// A session that has just begun: the only time that its secret is known.
#[derive(Clone)]
pub struct NewSession {
    /// What the browser sends from now on.
    pub secret: String,
    /// How long it lives at most.
    pub lifetime: Duration,
}

/// Why nobody was signed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Unknown name, wrong password, no password, or disabled: all the same.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many failures.
    #[error("too many failed tries: wait {} minutes", PAUSE.as_secs() / 60)]
    TooMany(Duration),
    /// It can't be found out now.
    #[error(transparent)]
    Failed(#[from] ManageError),
}

impl Sessions {
    /// Sessions in this database.
    pub fn new(db: Db, entropy: Entropy) -> Self {
        let failures = Cache::builder().max_capacity(COUNTED).time_to_live(PAUSE).build();
        Self { db, passwords: Passwords::new(entropy.clone()), entropy, failures }
    }

    /// Begins a session for a person with their password. `by.from` is the address that it comes from.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(&self, name: &str, password: String, by: &By) -> Result<NewSession, SignInError> {
        // What is no name is counted by its address alone.
        let name = name.parse::<PersonName>().ok();
        let known = name.as_ref().map_or("", PersonName::as_str);
        let counted = [
            (format!("{known} {}", by.from), TRIES),
            (format!(" {}", by.from), MANY_TRIES),
            (known.to_owned(), MANY_TRIES),
        ];
        if counted.iter().any(|(key, most)| self.failures.get(key).is_some_and(|failed| failed >= *most)) {
            return Err(SignInError::TooMany(PAUSE));
        }
        let found = match &name {
            Some(name) => person::sign_in(&self.db, name.as_str()).await.map_err(ManageError::from)?,
            None => None,
        };
        let exists = found.is_some();
        let stored = found.as_ref().and_then(|found| found.password.clone());
        let fits = self.passwords.fits(password, stored).await?;
        let Some(person) = found.filter(|found| fits && !found.disabled) else {
            for (key, _) in counted.into_iter().filter(|(key, _)| !key.is_empty()) {
                self.failures
                    .entry(key)
                    .and_upsert_with(|count| count.map_or(1, |it| it.into_value().saturating_add(1)));
            }
            self.note_refusal(if exists { known } else { "" }, by).await?;
            return Err(SignInError::Wrong);
        };
        let secret = URL_SAFE_NO_PAD.encode(self.entropy.bytes::<32>());
        let input = (hash(&secret), person.id, known.to_owned(), By { who: known.to_owned(), ..by.clone() });
        self.db
            .write(input, |tx, (hash, person, name, by)| {
                Box::pin(async move {
                    session::begin(tx, hash, *person, &by.from, LIFETIME).await?;
                    Ok::<_, ManageError>(audit::record(tx, by, "session.begin", name, None, None).await?)
                })
            })
            .await?;
        self.failures.invalidate(&format!("{known} {}", by.from));
        Ok(NewSession { secret, lifetime: Duration::from_micros(LIFETIME.unsigned_abs()) })
    }

    async fn note_refusal(&self, name: &str, by: &By) -> Result<(), ManageError> {
        let by = By { who: name.to_owned(), ..by.clone() };
        self.db.write(by, |tx, by| Box::pin(async move { Ok(audit::refused(tx, by).await?) })).await
    }

    /// Who a session's secret stands for. `None`: it has ended, or never began.
    ///
    /// # Errors
    /// Of the database only.
    pub async fn caller(&self, secret: &str) -> Result<Option<Caller>, ManageError> {
        if secret.len() > 64 {
            return Ok(None);
        }
        let Some(found) = session::find(&self.db, &hash(secret), IDLE).await? else { return Ok(None) };
        if found.idle > NOTED {
            self.db
                .write(found.id, |tx, id| Box::pin(async move { Ok::<_, ManageError>(session::touch(tx, *id).await?) }))
                .await?;
        }
        Ok(Some(Caller::session(found.person, &found.name)))
    }

    /// Ends a session; one that has ended is no matter.
    ///
    /// # Errors
    /// Of the database only.
    pub async fn sign_out(&self, secret: &str) -> Result<(), ManageError> {
        let Some(found) = session::find(&self.db, &hash(secret), IDLE).await? else { return Ok(()) };
        self.db.write(found.id, |tx, id| Box::pin(async move { Ok(session::end(tx, *id).await?) })).await
    }

    /// Gives a person a new password, or none, and ends their sessions. `old`: it has to be the right one.
    ///
    /// # Errors
    /// `Missing`, `Invalid` for a password that will not do; `Denied` where the old one is wrong.
    pub async fn set_password(
        &self,
        name: &PersonName,
        old: Option<String>,
        new: Option<String>,
        by: &By,
    ) -> Result<Person, ManageError> {
        if let Some(new) = &new {
            passwords::check(new, name.as_str())?;
        }
        if let Some(old) = old {
            let stored = person::sign_in(&self.db, name.as_str()).await?.and_then(|found| found.password);
            if stored.is_some() && !self.passwords.fits(old, stored).await? {
                return Err(ManageError::Denied);
            }
        }
        let new = match new {
            Some(new) => Some(self.passwords.hash(new).await?),
            None => None,
        };
        let input = (name.clone(), new, by.clone());
        self.db
            .write(input, |tx, (name, new, by)| {
                Box::pin(async move {
                    let person = person::lock(tx, name.as_str()).await?.ok_or(ManageError::Missing("person"))?;
                    person::set_password(tx, person.id, new.as_deref()).await?;
                    let what = if new.is_some() { "person.password" } else { "person.no-password" };
                    audit::record(tx, by, what, name.as_str(), None, None).await?;
                    Ok(Person { has_password: new.is_some(), epoch: person.epoch + 1, ..person })
                })
            })
            .await
    }
}

/// The secret has 256 random bits, so a plain hash hides it.
fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}
