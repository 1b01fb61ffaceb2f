//! Jobs of a CI service: they sign in as a robot that trusts them, with a token that their service made for them, and hold no secret.
//!
//! The user name is `PROJECT/ROBOT`, which no key can be called, and the password is the job's token. Whether there is such a robot is
//! asked only once the token is proven, and then whoever fits no trust of it has the same answer as for a robot that is not there.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use roadstead_db::{
    Db, DbError,
    audit::By,
    keys::StoredKey,
    project, robot,
    trust::{self, NewTrust, StoredTrust, TrustEntry},
};
use roadstead_model::{Limits, PersonName, ProjectName, TrustedClaims};
use roadstead_oidc::{Claims, Issuers, TokenError, issuer_of};
use serde_json::{Value, json};

use crate::{authenticate::Access, manage::ManageError, people::check_words, sources::Entropy};

/// How many trusts a robot can have.
pub const MAX_TRUSTS: i64 = 20;
/// The longest audience, in bytes.
const MAX_AUDIENCE: usize = 255;
/// What is compared where there is no trust, so that this takes time, too.
const NOBODYS: &str = r#"{"ref":"refs/heads/*","repository":"nobodys/app"}"#;

impl Access {
    /// The living trust, the oldest, that a job's token fits. None: it is no token of an issuer that this region trusts, or not valid, or
    /// fits no trust of this robot, or there is no such robot.
    ///
    /// # Errors
    /// `Unavailable` where the keys of its issuer, or the database, can't be asked.
    pub(crate) async fn sign_in_job(&self, name: &str, token: &str) -> Result<Option<StoredKey>, DbError> {
        let parts = &*self.0;
        // What can't be a name is not sent to the database, which would refuse some of it, nor written to the log.
        let can_be = |(project, robot): &(&str, &str)| {
            project.parse::<ProjectName>().is_ok() && robot.parse::<PersonName>().is_ok()
        };
        let (project, robot) = name.split_once('/').filter(can_be).unwrap_or_default();
        let Some(named) = issuer_of(token) else { return Ok(None) };
        let Some(issuer) = parts.issuers.find(&named) else {
            // Anybody can write this: only so much of it.
            let named: String = named.chars().filter(char::is_ascii_graphic).take(200).collect();
            tracing::info!(
                issuer = named,
                project,
                robot,
                "a job's token is of an issuer that this region does not trust"
            );
            return Ok(None);
        };
        let claims = match issuer.verify(token, parts.clock.seconds()).await {
            Ok(claims) => claims,
            Err(TokenError::Invalid(words)) => {
                tracing::info!(issuer = issuer.address(), project, robot, "a job's token is refused: {words}");
                return Ok(None);
            }
            Err(TokenError::Unavailable(words)) => return Err(DbError::Unavailable(words)),
        };
        let trusts = trust::find(&parts.db, project, robot, claims.issuer()).await?;
        if trusts.is_empty() {
            black_box(fits(NOBODYS, &claims));
        }
        let fits = |trust: &StoredTrust| fits(&trust.claims, &claims) && claims.is_for_alone(&trust.audience);
        let Some(found) = trusts.into_iter().find(fits) else {
            let (issuer, subject) = (claims.issuer(), claims.subject());
            tracing::info!(
                issuer,
                subject,
                project,
                robot,
                "a job's token is right, but fits no trust of such a robot"
            );
            return Ok(None);
        };
        tracing::debug!(subject = claims.subject(), project, robot, trust = found.key.key_id, "a job signed in");
        self.note_use(&found.key).await;
        Ok(Some(found.key))
    }
}

fn fits(trusted: &str, claims: &Claims) -> bool {
    TrustedClaims::read(trusted).is_ok_and(|trusted| trusted.fit(|name| claims.text(name)))
}

/// Makes, lists and deletes trusts of robots.
#[derive(Clone)]
pub struct Trusts {
    db: Db,
    entropy: Entropy,
    issuers: Issuers,
}

/// What a new trust is to be.
#[derive(Clone, Debug)]
pub struct TrustFields {
    /// What it is for.
    pub description: String,
    /// Who makes the tokens: one that the region trusts.
    pub issuer: String,
    /// Whom a token must be for, and nobody else.
    pub audience: String,
    /// What it must say.
    pub claims: TrustedClaims,
    /// What the job may do.
    pub limits: Limits,
    /// The trust ends by itself.
    pub lifetime: Option<Duration>,
}

impl TrustFields {
    fn to_words(&self, owner: &str) -> Value {
        let claims: BTreeMap<_, _> = self.claims.iter().map(|(name, pattern)| (name, pattern.as_str())).collect();
        let limits = serde_json::from_str::<Value>(&self.limits.to_json()).ok();
        json!({"owner": owner, "issuer": self.issuer, "audience": self.audience, "claims": claims, "limits": limits})
    }
}

impl Trusts {
    pub(crate) fn new(db: Db, entropy: Entropy, issuers: Issuers) -> Self {
        Self { db, entropy, issuers }
    }

    /// Trusts of a robot by id, after `after`.
    ///
    /// # Errors
    /// Of the database only.
    pub async fn list(&self, robot: i64, after: &str, limit: usize) -> Result<Vec<TrustEntry>, ManageError> {
        Ok(trust::list(&self.db, robot, after, i64::try_from(limit).unwrap_or(i64::MAX)).await?)
    }

    /// Whether the region trusts an issuer.
    ///
    /// # Errors
    /// `Invalid`, with those that it trusts.
    pub fn check_issuer(&self, issuer: &str) -> Result<(), ManageError> {
        if self.issuers.find(issuer).is_some() {
            return Ok(());
        }
        let known: Vec<_> = self.issuers.addresses().collect();
        let known = match known.as_slice() {
            [] => "none yet: whoever runs it sets `ci.issuers`".to_owned(),
            some => some.join(", "),
        };
        Err(ManageError::Invalid(format!("the region does not trust the issuer {issuer:?}; it trusts {known}")))
    }

    /// Whether this can be whom a token is for.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check_audience(audience: &str) -> Result<(), ManageError> {
        if audience.is_empty() || audience.len() > MAX_AUDIENCE || audience.chars().any(char::is_control) {
            let words =
                format!("an audience has 1 to {MAX_AUDIENCE} bytes: the job asks for a token for just this one");
            return Err(ManageError::Invalid(words));
        }
        Ok(())
    }

    /// Makes a trust of a robot.
    ///
    /// # Errors
    /// `Missing`, `Invalid`; `InTheWay` where there are [`MAX_TRUSTS`].
    pub async fn create(
        &self,
        project: &ProjectName,
        robot: &PersonName,
        fields: TrustFields,
        by: &By,
    ) -> Result<TrustEntry, ManageError> {
        check_words("the description of a trust", &fields.description)?;
        self.check_issuer(&fields.issuer)?;
        Self::check_audience(&fields.audience)?;
        if fields.lifetime.is_some_and(|lifetime| lifetime > Duration::from_secs(100 * 366 * 24 * 3600)) {
            let words = "a trust lives 100 years at most; leave the time out for one that does not end";
            return Err(ManageError::Invalid(words.to_owned()));
        }
        let audited = fields.to_words(&format!("{project}/{robot}")).to_string();
        let new = NewTrust {
            id: self.entropy.id("RST"),
            description: fields.description,
            issuer: fields.issuer,
            audience: fields.audience,
            claims: fields.claims.to_json(),
            limits: fields.limits.to_json(),
            lifetime: fields.lifetime.map(|lifetime| i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX)),
        };
        let input = (project.clone(), robot.clone(), new, audited, by.clone());
        self.db
            .write(input, |tx, (project, robot, new, audited, by)| {
                Box::pin(async move {
                    let project = project::hold(tx, project).await?.ok_or(ManageError::Missing("project"))?;
                    let robot =
                        robot::lock(tx, project.id, robot.as_str()).await?.ok_or(ManageError::Missing("robot"))?;
                    if trust::count(tx, robot.id).await? >= MAX_TRUSTS {
                        let words =
                            format!("the robot has {MAX_TRUSTS} trusts already, which is the most: delete one first");
                        return Err(ManageError::InTheWay(words));
                    }
                    Ok(trust::insert(tx, robot.id, new, by, audited).await?)
                })
            })
            .await
    }

    /// Forgets a trust of a robot: what jobs got by it ends with their next request, on every node.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn delete(&self, robot: i64, id: &str, by: &By) -> Result<(), ManageError> {
        let found = self
            .db
            .write((robot, id.to_owned(), by.clone()), |tx, (robot, id, by)| {
                // What can't be an id is not sent to the database, which would refuse some of it.
                Box::pin(async move {
                    Ok::<_, ManageError>(crate::keys::is_key_id(id) && trust::remove(tx, *robot, id, by).await?)
                })
            })
            .await?;
        if found { Ok(()) } else { Err(ManageError::Missing("trust")) }
    }
}
