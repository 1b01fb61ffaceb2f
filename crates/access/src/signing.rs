//! Signing tokens, and checking their signatures, with keys that all nodes share through the database.
//!
//! Time is cut into periods of 30 days, and each period has one Ed25519 key, named by its number: nodes that make a key at once
//! make one of the same name, the first insert wins and all read that. The key of a period that is over verifies until its last
//! token has ended. The next period's key is made a day ahead, so that no node meets one that it does not know.
//! At rest a key is sealed with the installation's secret key.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use roadstead_db::{Db, DbError, keys};
use tokio::sync::Mutex;

use crate::{
    claims::Claims,
    seal::Sealer,
    sources::{Clock, Entropy},
};

const DAY: i64 = 24 * 3600 * 1_000_000;
/// How long one key signs, in microseconds.
const PERIOD: i64 = 30 * DAY;
/// How soon after reading the keys they are read again because of a key that is not known, in microseconds.
const REREAD: i64 = 1_000_000;
/// The longest token that is looked at, in bytes. What [`crate::grant`] makes stays below.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

pub(crate) struct SigningKeys {
    db: Db,
    sealer: Sealer,
    clock: Clock,
    entropy: Entropy,
    validation: Validation,
    known: RwLock<Arc<BTreeMap<i64, SigningKey>>>,
    /// When the keys were read last; held while they are read or made, so that all who wait for a key share one reading.
    last_read: Mutex<i64>,
}

struct SigningKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl SigningKeys {
    /// Whether a secret key opens the keys that are there. Makes none.
    ///
    /// # Errors
    /// [`DbError::Refused`] when it does not.
    pub(crate) async fn check(db: &Db, secret_key: &[u8; 32]) -> Result<(), DbError> {
        let sealer = Sealer::new(secret_key);
        let stored = if db.has_tables().await? { keys::signing_keys(db).await? } else { Vec::new() };
        let opens = stored.iter().all(|key| sealer.open(&sealed_as(&key.kid), &key.sealed).is_some());
        if opens { Ok(()) } else { Err(refused()) }
    }

    /// Reads the keys, and makes the first one.
    ///
    /// # Errors
    /// [`DbError::Refused`] when the secret key does not open a key that is there.
    pub(crate) async fn open(db: Db, secret_key: &[u8; 32], clock: Clock, entropy: Entropy) -> Result<Self, DbError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The library reads the machine's clock; times and audience are checked by `Verified::is_valid` with ours.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let keys = Self {
            db,
            sealer: Sealer::new(secret_key),
            clock,
            entropy,
            validation,
            known: RwLock::default(),
            last_read: Mutex::new(i64::MIN),
        };
        if !keys.read().await? {
            return Err(refused());
        }
        let period = keys.period(0);
        keys.make(period).await?;
        // Another node with another secret key was faster a moment ago.
        if keys.known().contains_key(&period) { Ok(keys) } else { Err(refused()) }
    }

    /// The signed token.
    pub(crate) async fn sign(&self, claims: &Claims) -> Result<String, DbError> {
        let period = self.period(0);
        self.make(period).await?;
        if let Err(error) = self.make(self.period(DAY)).await {
            tracing::warn!(%error, "the next signing key could not be made; it will be tried again");
        }
        let known = self.known();
        let key = known.get(&period).ok_or_else(|| {
            DbError::Internal("the signing key of this period does not open with this node's secret_key".to_owned())
        })?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(period.to_string());
        encode(&header, claims, &key.encoding).map_err(|error| DbError::Internal(format!("signing a token: {error}")))
    }

    /// The claims of a token, if the signature is one of ours. Says nothing about its times and audience.
    pub(crate) async fn verify(&self, token: &str) -> Result<Option<Claims>, DbError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        let kid =
            decode_header(token).ok().filter(|header| header.alg == Algorithm::EdDSA).and_then(|header| header.kid);
        let Some(period) = kid.and_then(|kid| kid.parse::<i64>().ok()) else { return Ok(None) };
        // Only a key that can have been made since we looked is worth looking for.
        if !self.known().contains_key(&period) && (self.period(-DAY)..=self.period(DAY)).contains(&period) {
            self.look_for(period).await?;
        }
        let known = self.known();
        let Some(key) = known.get(&period) else { return Ok(None) };
        Ok(decode::<Claims>(token, &key.decoding, &self.validation).ok().map(|data| data.claims))
    }

    /// The period in which the time lies that is so many microseconds from now.
    fn period(&self, ahead: i64) -> i64 {
        self.clock.micros().saturating_add(ahead).div_euclid(PERIOD)
    }

    fn known(&self) -> Arc<BTreeMap<i64, SigningKey>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the key of a period that is not known, unless another node was faster, and reads what is there then.
    async fn make(&self, period: i64) -> Result<(), DbError> {
        if self.known().contains_key(&period) {
            return Ok(());
        }
        let mut last_read = self.last_read.lock().await;
        if self.known().contains_key(&period) {
            return Ok(());
        }
        let kid = period.to_string();
        let sealed = self.sealer.seal(&sealed_as(&kid), &self.entropy.bytes::<32>());
        // The last token it signs is made at the end of its period at the latest and lives half a day.
        let expires = (period + 1) * PERIOD + DAY;
        self.db
            .write((kid, sealed, expires), |tx, (kid, sealed, expires)| {
                Box::pin(keys::insert_signing_key(tx, kid, sealed, *expires))
            })
            .await?;
        self.read().await?;
        *last_read = self.clock.micros();
        Ok(())
    }

    /// Reads the keys again because of one that is not known; not more often than once in [`REREAD`].
    async fn look_for(&self, period: i64) -> Result<(), DbError> {
        let mut last_read = self.last_read.lock().await;
        let now = self.clock.micros();
        if self.known().contains_key(&period) || now.abs_diff(*last_read) < REREAD.unsigned_abs() {
            return Ok(());
        }
        *last_read = now;
        self.read().await?;
        Ok(())
    }

    /// Takes over what is in the database. False when a key there does not open; the others count all the same.
    async fn read(&self) -> Result<bool, DbError> {
        let mut opened = BTreeMap::new();
        let mut all = true;
        for stored in keys::signing_keys(&self.db).await? {
            let key = self.sealer.open(&sealed_as(&stored.kid), &stored.sealed).and_then(|seed| SigningKey::new(&seed));
            match (stored.kid.parse(), key) {
                (Ok(period), Some(key)) => drop(opened.insert(period, key)),
                _ => {
                    all = false;
                    tracing::warn!(kid = stored.kid, "a signing key in the database does not open with secret_key");
                }
            }
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(opened);
        Ok(all)
    }
}

impl SigningKey {
    fn new(seed: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        Some(Self {
            encoding: EncodingKey::from_ed_der(pair.to_pkcs8().ok()?.as_ref()),
            decoding: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        })
    }
}

fn refused() -> DbError {
    DbError::Refused("secret_key is not the one this database's signing keys were sealed with".to_owned())
}

fn sealed_as(kid: &str) -> String {
    format!("signing key {kid}")
}
