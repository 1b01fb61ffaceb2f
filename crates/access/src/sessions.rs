//! Sessions: who signed in to the console, with a password or at a provider (`sign_on.rs`).
//!
//! A session's secret is random, is given once, and is stored as its SHA-256. Each sign-in has a new one, so nobody can be given one from
//! before (session fixation). Who fails often waits, by name and address.

use std::{net::IpAddr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use moka::sync::Cache;
use roadstead_db::{
    Db, DbError,
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
    people::keep_an_administrator,
    sources::Entropy,
};

/// A session ends after so long, microseconds: a week.
pub(crate) const LIFETIME: i64 = 7 * 24 * 3_600_000_000;
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
    pub(crate) passwords: Passwords,
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
        let tries = self.count(known, &by.from)?;
        let found = match &name {
            Some(name) => person::sign_in(&self.db, name.as_str()).await.map_err(ManageError::from)?,
            None => None,
        };
        let exists = found.is_some();
        let stored = found.as_ref().and_then(|found| found.password.clone());
        let fits = self.passwords.fits(password, stored.clone()).await?;
        let Some(person) = found.filter(|found| fits && !found.disabled) else {
            self.note_refusal(if exists { known } else { "" }, by).await?;
            return Err(SignInError::Wrong);
        };
        let (secret, hash) = self.new_secret();
        let input = (hash, person.id, known.to_owned(), stored, By { who: known.to_owned(), ..by.clone() });
        let begun = self.db.write(input, |tx, (hash, person, name, stored, by)| {
            Box::pin(async move {
                // The password may have been changed, or the person forgotten, while it was compared.
                let there = person::lock(tx, name).await?.filter(|there| there.id == *person);
                if there.is_none() || person::password(tx, *person).await? != *stored {
                    return Ok(false);
                }
                session::begin(tx, hash, *person, &by.from, LIFETIME).await?;
                audit::record(tx, by, "session.begin", name, None, None).await?;
                Ok::<_, ManageError>(true)
            })
        });
        if !begun.await? {
            return Err(SignInError::Wrong);
        }
        self.take_back(tries);
        Ok(NewSession { secret, lifetime: Duration::from_micros(LIFETIME.unsigned_abs()) })
    }

    /// The secret of a new session, and what is stored of it.
    pub(crate) fn new_secret(&self) -> (String, Vec<u8>) {
        let secret = URL_SAFE_NO_PAD.encode(self.entropy.bytes::<32>());
        let hash = hash(&secret);
        (secret, hash)
    }

    /// Counts a try before it is known whether it fails, so that many at once are counted too: what was counted.
    pub(crate) fn count(&self, name: &str, from: &str) -> Result<[String; 3], SignInError> {
        let from = network_of(from);
        let own = if name.is_empty() { String::new() } else { format!("{name} {from}") };
        let counted = [(own, TRIES), (format!(" {from}"), MANY_TRIES), (name.to_owned(), MANY_TRIES)];
        // Who is over already is not counted further, so that the pause ends.
        let over = counted.iter().any(|(key, most)| self.failures.get(key).is_some_and(|failed| failed >= *most));
        let mut allowed = !over;
        for (key, most) in counted.iter().filter(|(key, _)| !over && !key.is_empty()) {
            let count = self
                .failures
                .entry_by_ref(key)
                .and_upsert_with(|it| it.map_or(1, |it| it.into_value().saturating_add(1)));
            allowed &= count.into_value() <= *most;
        }
        if allowed { Ok(counted.map(|(key, _)| key)) } else { Err(SignInError::TooMany(PAUSE)) }
    }

    /// A try that was none.
    pub(crate) fn take_back(&self, [own, address, name]: [String; 3]) {
        self.failures.invalidate(&own);
        for key in [address, name] {
            self.failures.entry(key).and_upsert_with(|it| it.map_or(0, |it| it.into_value().saturating_sub(1)));
        }
    }

    /// Refused sign-ins are one line for each name, network and hour.
    pub(crate) async fn note_refusal(&self, name: &str, by: &By) -> Result<(), ManageError> {
        let by = By { who: name.to_owned(), from: network_of(&by.from), ..by.clone() };
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
            let noted: Result<(), DbError> = self.db.write(found.id, |tx, id| Box::pin(session::touch(tx, *id))).await;
            if let Err(error) = noted {
                tracing::warn!(person = found.name, %error, "the use of a session could not be noted");
            }
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

    /// Gives a person a new password, or none, and ends their sessions: for whoever runs the region.
    ///
    /// # Errors
    /// `Missing`, `Invalid` for a password that will not do; `InTheWay` where the last system administrator could not sign in any more.
    pub async fn set_password(&self, name: &PersonName, new: Option<String>, by: &By) -> Result<Person, ManageError> {
        self.replace_password(name, None, new, by).await
    }

    /// Changes the password of who knows it, and ends their sessions.
    ///
    /// # Errors
    /// `Wrong`, `TooMany`; `Invalid` for a new one that will not do; `InTheWay` where there is none: whoever has only a key may not be the person.
    pub async fn change_password(
        &self,
        name: &PersonName,
        old: String,
        new: String,
        by: &By,
    ) -> Result<Person, SignInError> {
        passwords::check(&new, name.as_str())?;
        let tries = self.count(name.as_str(), &by.from)?;
        let found = person::sign_in(&self.db, name.as_str()).await.map_err(ManageError::from)?;
        let Some(stored) = found.and_then(|found| found.password) else {
            let words = "you have no password yet: a system administrator gives you the first one";
            return Err(ManageError::InTheWay(words.to_owned()).into());
        };
        if !self.passwords.fits(old, Some(stored.clone())).await? {
            self.note_refusal(name.as_str(), by).await?;
            return Err(SignInError::Wrong);
        }
        let changed = self.replace_password(name, Some(stored), Some(new), by).await?;
        self.take_back(tries);
        Ok(changed)
    }

    /// `stored`: only if that is still what is stored of the one before.
    async fn replace_password(
        &self,
        name: &PersonName,
        stored: Option<String>,
        new: Option<String>,
        by: &By,
    ) -> Result<Person, ManageError> {
        let new = match new {
            Some(new) => {
                passwords::check(&new, name.as_str())?;
                Some(self.passwords.hash(new).await?)
            }
            None => None,
        };
        let input = (name.clone(), stored, new, by.clone());
        self.db
            .write(input, |tx, (name, stored, new, by)| {
                Box::pin(async move {
                    let person = person::lock(tx, name.as_str()).await?.ok_or(ManageError::Missing("person"))?;
                    if stored.is_some() && person::password(tx, person.id).await? != *stored {
                        return Err(ManageError::Stale);
                    }
                    let after = Person { has_password: new.is_some(), epoch: person.epoch + 1, ..person.clone() };
                    if person.is_in_charge() && !after.is_in_charge() {
                        keep_an_administrator(tx, &person).await?;
                    }
                    person::set_password(tx, person.id, new.as_deref()).await?;
                    let what = if new.is_some() { "person.password" } else { "person.no-password" };
                    audit::record(tx, by, what, name.as_str(), None, None).await?;
                    Ok(after)
                })
            })
            .await
    }
}

/// An IPv6 address stands for its /64, which one household has to itself.
pub(crate) fn network_of(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        _ => address.to_owned(),
    }
}

/// The secret has 256 random bits, so a plain hash hides it.
fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}
