//! Access keys: what a person or robot logs in with from a client (product.md 3).

use std::{fmt, time::Duration};

use roadstead_db::{
    Db, DbError, Tx,
    audit::{self, By},
    keys::{self, KeyEntry, NewKeyRow, Of, Owner},
    person, project, robot,
};
use roadstead_model::{Limits, PersonName, ProjectName};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::sources::Entropy;

/// How many living access keys a person or robot can have (product.md 3).
pub const MAX_LIVING_KEYS: i64 = 5;
/// What the first administrator is called.
pub const FIRST_PERSON: &str = "administrator";
/// Who the audit log says did what commands do: whoever may run them on the machine.
pub const OPERATOR: &str = "operator";
/// The longest description of a key, in characters.
const MAX_DESCRIPTION: usize = 200;
/// How long a secret is that we make, in characters.
const SECRET_CHARACTERS: usize = 40;

/// Makes, lists and revokes access keys. Needs the database only, so that commands work beside a running server.
#[derive(Clone)]
pub struct Keys {
    db: Db,
    entropy: Entropy,
}

/// What the first administrator's key shall be; what is not given is made up.
#[derive(Clone, Default)]
pub struct FirstKey {
    /// 3 to 64 letters, digits, `-`, `_`, `.`, `@`; starts with a letter or digit.
    pub key_id: Option<String>,
    /// 16 to 128 bytes, no control characters, no white space at its ends.
    pub secret: Option<String>,
}

/// An access key that was just made: the only time that its secret is known. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What a client sends as user name.
    pub key_id: String,
    /// What a client sends as password.
    pub secret: String,
    /// Whose it is: a person's name, or `PROJECT/ROBOT`.
    pub owner: String,
}

/// Whom a key is made for.
#[derive(Clone, Debug)]
pub enum KeyFor {
    /// A person, by name.
    Person(String),
    /// A robot of a project, and what the key shall allow.
    Robot(ProjectName, PersonName, Limits),
}

/// Why an access key could not be made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is nobody of this name.
    #[error("there is no person called \"{0}\"")]
    NoSuchPerson(String),
    /// There is no such robot.
    #[error("there is no robot \"{0}\"")]
    NoSuchRobot(String),
    /// There is no key with this id.
    #[error("there is no access key \"{0}\"")]
    NoSuchKey(String),
    /// The person has [`MAX_LIVING_KEYS`] already.
    #[error("{0} has {MAX_LIVING_KEYS} access keys already, which is the most: revoke one first")]
    TooMany(String),
    /// What was given is not right; the text says what would be.
    #[error("{0}")]
    Invalid(&'static str),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Keys {
    /// Keys in this database.
    pub fn new(db: Db, entropy: Entropy) -> Self {
        Self { db, entropy }
    }

    /// At the first start: makes a system administrator called `administrator` with one access key. `None` when there is anybody
    /// already, also when another node was faster a moment ago; then nothing is changed, whatever was given.
    ///
    /// # Errors
    /// `Invalid` when what was given will not do, also when it is not needed any more.
    pub async fn first_administrator(&self, given: FirstKey) -> Result<Option<NewKey>, KeyError> {
        if given.key_id.as_deref().is_some_and(|id| !is_key_id(id)) {
            return Err(KeyError::Invalid(
                "an access key id has 3 to 64 letters, digits, '-', '_', '.' and '@', and starts with a letter or digit",
            ));
        }
        if given.secret.as_deref().is_some_and(|secret| !is_secret(secret)) {
            return Err(KeyError::Invalid(
                "an access key secret has 16 to 128 bytes, no control characters, and no space at its start or end",
            ));
        }
        let key = NewKey {
            key_id: given.key_id.unwrap_or_else(|| self.make_key_id()),
            secret: given.secret.unwrap_or_else(|| self.make_secret()),
            owner: FIRST_PERSON.to_owned(),
        };
        let made = self
            .db
            .write((key.key_id.clone(), hash(&key.secret)), |tx, (key_id, secret_hash)| {
                Box::pin(async move {
                    let Some(first) = person::insert_first_administrator(tx, FIRST_PERSON).await? else {
                        return Ok(false);
                    };
                    let description = "made at the first start";
                    let (owner, by) = (Owner::Person(first), By::name(OPERATOR));
                    audit::record(tx, &by, "person.create", FIRST_PERSON, None, None).await?;
                    let audited = audited(FIRST_PERSON, &owner);
                    let row = NewKeyRow {
                        key_id,
                        secret_hash,
                        owner: &owner,
                        description,
                        lifetime: None,
                        by: &by,
                        audited: &audited,
                    };
                    keys::insert(tx, row).await?;
                    Ok::<_, KeyError>(true)
                })
            })
            .await?;
        Ok(made.then_some(key))
    }

    /// Makes an access key; one with a `lifetime` ends by itself.
    ///
    /// # Errors
    /// `NoSuchPerson`, `NoSuchRobot`, `TooMany`, or `Invalid` for a description of more than 200 characters or a lifetime beyond 100 years.
    pub async fn create(
        &self,
        whose: KeyFor,
        description: &str,
        lifetime: Option<Duration>,
        by: &By,
    ) -> Result<NewKey, KeyError> {
        if description.chars().count() > MAX_DESCRIPTION || description.contains('\0') {
            return Err(KeyError::Invalid("the description of an access key has at most 200 characters"));
        }
        let lifetime = match lifetime {
            Some(lifetime) if lifetime > Duration::from_secs(100 * 366 * 24 * 3600) => {
                return Err(KeyError::Invalid(
                    "an access key lives 100 years at most; leave the time out for one that does not end",
                ));
            }
            // A hundred years of microseconds fit.
            Some(lifetime) => Some(i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX)),
            None => None,
        };
        let owner = match &whose {
            KeyFor::Person(name) => name.clone(),
            KeyFor::Robot(project, robot, _) => format!("{project}/{robot}"),
        };
        let key = NewKey { key_id: self.make_key_id(), secret: self.make_secret(), owner };
        let input = (key.clone(), hash(&key.secret), whose, description.to_owned(), lifetime, by.clone());
        self.db
            .write(input, |tx, (key, secret_hash, whose, description, lifetime, by)| {
                Box::pin(async move {
                    let owner = lock_owner(tx, whose).await?;
                    keys::forget_dead(tx, &owner).await?;
                    if keys::count_living(tx, &owner).await? >= MAX_LIVING_KEYS {
                        return Err(KeyError::TooMany(key.owner.clone()));
                    }
                    let row = NewKeyRow {
                        key_id: &key.key_id,
                        secret_hash,
                        owner: &owner,
                        description,
                        lifetime: *lifetime,
                        by,
                        audited: &audited(&key.owner, &owner),
                    };
                    Ok(keys::insert(tx, row).await?)
                })
            })
            .await?;
        Ok(key)
    }

    /// Access keys by key id: at most `limit` of those after the key id `after` (empty: from the start). Revoked ones too.
    ///
    /// # Errors
    /// Of the database only.
    pub async fn list(&self, of: Of<'_>, after: &str, limit: u32) -> Result<Vec<KeyEntry>, KeyError> {
        Ok(keys::list(&self.db, of, after, i64::from(limit)).await?)
    }

    /// Revokes a key, of this owner if one is given: gone with the next request on every node, its refresh tokens too. Doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// `NoSuchKey`.
    pub async fn revoke(&self, key_id: &str, owner: Option<Owner>, by: &By) -> Result<(), KeyError> {
        let found = self
            .db
            .write((key_id.to_owned(), owner, by.clone()), |tx, (key_id, owner, by)| {
                Box::pin(async move {
                    // What can't be a key id is not sent to the database, which would refuse some of it.
                    Ok::<_, DbError>(is_key_id(key_id) && keys::revoke(tx, key_id, owner.as_ref(), by).await?)
                })
            })
            .await?;
        if found { Ok(()) } else { Err(KeyError::NoSuchKey(key_id.to_owned())) }
    }

    fn make_key_id(&self) -> String {
        self.entropy.id("RSK")
    }

    /// 40 characters that need no escape in a URL, 239 random bits. The first is a letter, lest a command takes it for a flag.
    fn make_secret(&self) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let random = self.entropy.bytes::<SECRET_CHARACTERS>();
        let masks = std::iter::once(31).chain(std::iter::repeat(63));
        random.iter().zip(masks).map(|(byte, mask)| char::from(LETTERS[usize::from(byte & mask)])).collect()
    }
}

/// What the audit log says of a new key: whose it is, and what it may do.
fn audited(name: &str, owner: &Owner) -> String {
    let limits = match owner {
        Owner::Person(_) => None,
        Owner::Robot(_, limits) => serde_json::from_str::<serde_json::Value>(limits).ok(),
    };
    serde_json::json!({ "owner": name, "limits": limits }).to_string()
}

/// The owner, held so that their keys are made one by one.
async fn lock_owner(tx: &mut Tx<'_>, whose: &KeyFor) -> Result<Owner, KeyError> {
    match whose {
        KeyFor::Person(name) => match person::lock(tx, name).await? {
            Some(person) => Ok(Owner::Person(person.id)),
            None => Err(KeyError::NoSuchPerson(name.clone())),
        },
        KeyFor::Robot(project, name, limits) => {
            let missing = || KeyError::NoSuchRobot(format!("{project}/{name}"));
            let project = project::hold(tx, project).await?.ok_or_else(missing)?;
            let robot = robot::lock(tx, project.id, name.as_str()).await?.ok_or_else(missing)?;
            Ok(Owner::Robot(robot.id, limits.to_json()))
        }
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("key_id", &self.key_id).field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl fmt::Debug for FirstKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Whether a secret is the one with this hash. Without a hash (there is no such key) it does the same work and says no.
pub(crate) fn secret_fits(secret: &str, stored: Option<&[u8]>) -> bool {
    let nobodys = [0; 32];
    let same = hash(secret).as_slice().ct_eq(stored.unwrap_or(&nobodys));
    bool::from(same) && stored.is_some()
}

/// Secrets are random or long, so a plain hash is enough (schema.md).
fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// Whether this can be a key id: nothing else is looked up.
pub(crate) fn is_key_id(text: &str) -> bool {
    (3..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'@'))
}

fn is_secret(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
}
