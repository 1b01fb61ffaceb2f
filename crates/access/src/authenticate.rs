//! From the `Authorization` header of a request to its [`Caller`].

use std::{fmt, hash::BuildHasher as _, net::IpAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use foldhash::quality::RandomState;
use moka::sync::Cache;
use roadstead_db::{
    Db, DbError,
    keys::{self, StoredKey},
};
use roadstead_oidc::Issuers;

use crate::{
    caller::Caller,
    claims::Verified,
    credentials::Authorization,
    decide::Refusal,
    jobs::Trusts,
    keys::{Keys, is_key_id, secret_fits},
    refusals::Refusals,
    sign_on::{SignOn, SignOnOptions},
    signing::SigningKeys,
    sources::{Clock, Entropy},
};

/// How tokens are made.
#[derive(Clone)]
pub struct AccessOptions {
    /// What seals the signing keys at rest; the same on all nodes.
    pub secret_key: [u8; 32],
    /// How long a token lives: 60 seconds to 12 hours.
    pub token_lifetime: Duration,
    /// How long a refresh token lives; one that is used when less than half of it is left lives as long again.
    pub refresh_lifetime: Duration,
    /// Nobody needs to sign in: who comes without credentials may do everything. Off unless the operator says so.
    pub open: bool,
    /// Whose tokens jobs of a CI may show.
    pub issuers: Issuers,
    /// How long what a job gets for its token lives: 60 seconds to 12 hours.
    pub job_lifetime: Duration,
    /// Where people sign in beside their passwords.
    pub sign_on: Option<SignOnOptions>,
    /// The node's clock.
    pub clock: Clock,
    /// Where keys and secrets come from.
    pub entropy: Entropy,
}

impl AccessOptions {
    /// Tokens of one hour, refresh tokens of 90 days, the machine's clock and randomness.
    pub fn new(secret_key: [u8; 32]) -> Self {
        Self {
            secret_key,
            token_lifetime: Duration::from_secs(3600),
            refresh_lifetime: Duration::from_secs(90 * 24 * 3600),
            open: false,
            issuers: Issuers::default(),
            job_lifetime: Duration::from_secs(3600),
            sign_on: None,
            clock: Clock::system(),
            entropy: Entropy::system(),
        }
    }
}

impl fmt::Debug for AccessOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessOptions")
            .field("token_lifetime", &self.token_lifetime)
            .field("refresh_lifetime", &self.refresh_lifetime)
            .finish_non_exhaustive()
    }
}

/// Why access control can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is wrong; the text says which and what would be right.
    #[error("{0}")]
    Refused(String),
    /// The database failed.
    #[error(transparent)]
    Database(DbError),
}

/// Checks credentials and makes tokens. Clones share everything.
#[derive(Clone)]
pub struct Access(pub(crate) Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) keys: Keys,
    pub(crate) trusts: Trusts,
    pub(crate) issuers: Issuers,
    sign_on: Option<SignOn>,
    pub(crate) signing: SigningKeys,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) token_lifetime: Duration,
    pub(crate) refresh_lifetime: Duration,
    pub(crate) job_lifetime: Duration,
    open: bool,
    /// Tokens whose signature was right, by a hash that is another one in each process.
    verified: Cache<u64, Arc<Known>, RandomState>,
    /// Those of them that came last, each at a place by its hash: found without the books that the cache keeps.
    recent: Box<[ArcSwapOption<Known>]>,
    hasher: RandomState,
    pub(crate) refusals: Refusals,
    /// Keys whose use this node noted, or failed to note, in the last minutes.
    noted: Cache<i64, ()>,
}

/// A token whose signature was right.
struct Known {
    /// Several tokens may have one hash.
    token: Box<str>,
    says: Arc<Verified>,
}

/// How many bytes of tokens the signature cache holds.
const VERIFIED_BYTES: u64 = 16 << 20;
/// How many tokens are found without a look into it.
pub(crate) const RECENT: usize = 256;
/// How long a verified token can stay in the cache: as long as the longest can live.
const VERIFIED_FOR: Duration = Duration::from_secs(12 * 3600);
/// How long this node leaves a key's use alone after it tried to note it.
const NOTED_FOR: Duration = Duration::from_secs(300);

impl Access {
    /// Whether a secret key is the one that this database's signing keys were sealed with. Only reads; the database may have no tables yet.
    ///
    /// # Errors
    /// As [`Access::open`].
    pub async fn check_secret_key(db: &Db, secret_key: &[u8; 32]) -> Result<(), OpenError> {
        Ok(SigningKeys::check(db, secret_key).await?)
    }

    /// Reads the signing keys, and makes the first one.
    ///
    /// # Errors
    /// [`OpenError::Refused`] for a lifetime out of bounds or a secret key that does not open the signing keys that are there.
    pub async fn open(db: Db, options: AccessOptions) -> Result<Self, OpenError> {
        let AccessOptions {
            secret_key,
            token_lifetime,
            refresh_lifetime,
            open,
            issuers,
            job_lifetime,
            sign_on,
            clock,
            entropy,
        } = options;
        if !(60..=12 * 3600).contains(&token_lifetime.as_secs()) {
            return Err(OpenError::Refused(
                "a token's lifetime must be from 60 seconds to 12 hours (43200)".to_owned(),
            ));
        }
        if !(token_lifetime..=Duration::from_secs(3660 * 24 * 3600)).contains(&refresh_lifetime) {
            return Err(OpenError::Refused(
                "a refresh token's lifetime must be at least a token's, and 10 years at most".to_owned(),
            ));
        }
        if !(60..=12 * 3600).contains(&job_lifetime.as_secs()) {
            return Err(OpenError::Refused(
                "what a job gets for its token lives from 60 seconds to 12 hours (43200)".to_owned(),
            ));
        }
        let signing = SigningKeys::open(db.clone(), &secret_key, clock.clone(), entropy.clone()).await?;
        let verified = Cache::builder()
            .max_capacity(VERIFIED_BYTES)
            .weigher(|_, known: &Arc<Known>| {
                known.says.weight().saturating_add(u32::try_from(known.token.len()).unwrap_or(u32::MAX))
            })
            .time_to_live(VERIFIED_FOR)
            .build_with_hasher(RandomState::default());
        let noted = Cache::builder().max_capacity(10_000).time_to_live(NOTED_FOR).build();
        let keys = Keys::new(db.clone(), entropy.clone());
        let trusts = Trusts::new(db.clone(), entropy.clone(), issuers.clone());
        let sign_on =
            sign_on.map(|options| SignOn::new(db.clone(), clock.clone(), entropy.clone(), &secret_key, options));
        Ok(Self(Arc::new(Parts {
            db,
            keys,
            trusts,
            issuers,
            sign_on,
            signing,
            clock,
            entropy,
            token_lifetime,
            refresh_lifetime,
            job_lifetime,
            open,
            verified,
            recent: (0..RECENT).map(|_| ArcSwapOption::empty()).collect(),
            hasher: RandomState::default(),
            refusals: Refusals::default(),
            noted,
        })))
    }

    /// Making, listing and revoking access keys.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Making, listing and deleting trusts of robots.
    pub fn trusts(&self) -> &Trusts {
        &self.0.trusts
    }

    /// Signing in at a provider, where there is one.
    pub fn sign_on(&self) -> Option<&SignOn> {
        self.0.sign_on.as_ref()
    }

    /// Who a request comes from: called once, at its start (protocol.md 2.4: what began with a valid token may finish).
    /// `service` is the host that was asked, as it was told to [`Access::token`]; `from` is the client.
    ///
    /// No header, and Basic with empty user and password, are [`Caller::nobody`]. Rights are not looked at: that is
    /// [`decide`](crate::decide).
    ///
    /// # Errors
    /// `InvalidToken` for a bearer token that is not ours, for another host, not valid yet or no more; `Unauthenticated` for wrong
    /// Basic credentials (unknown key id, wrong secret, key revoked or expired: all the same) and for schemes we don't know;
    /// `Unavailable` when the database can't be asked.
    pub async fn authenticate(
        &self,
        authorization: Option<&str>,
        service: &str,
        from: IpAddr,
    ) -> Result<Caller, Refusal> {
        let without = || if self.0.open { Caller::anyone() } else { Caller::nobody() };
        let Some(header) = authorization else { return Ok(without()) };
        match Authorization::parse(header) {
            Some(Authorization::Bearer(token)) => self.bearer(token, service).await,
            Some(Authorization::Basic { id, secret }) if id.is_empty() && secret.is_empty() => Ok(without()),
            Some(Authorization::Basic { id, secret }) => {
                let key = Box::pin(self.sign_in(&id, &secret, from)).await?.ok_or(Refusal::Unauthenticated)?;
                Ok(Caller::basic(key.id, &key.key_id))
            }
            None => Err(Refusal::Unauthenticated),
        }
    }

    async fn bearer(&self, token: &str, service: &str) -> Result<Caller, Refusal> {
        let parts = &*self.0;
        let hash = parts.hasher.hash_one(token);
        let place = &parts.recent[usize::try_from(hash % RECENT as u64).unwrap_or(0)];
        let recent = place.load().as_ref().filter(|known| *known.token == *token).map(|known| Arc::clone(&known.says));
        let verified = match recent {
            Some(says) => says,
            None => {
                let known = self.known(token, hash).await?;
                let says = Arc::clone(&known.says);
                place.store(Some(known));
                says
            }
        };
        if verified.is_valid(service, parts.clock.seconds()) {
            Ok(Caller::token(verified))
        } else {
            Err(Refusal::InvalidToken)
        }
    }

    /// What a token says whose signature is right, by its `hash`.
    async fn known(&self, token: &str, hash: u64) -> Result<Arc<Known>, Refusal> {
        let parts = &*self.0;
        if let Some(known) = parts.verified.get(&hash).filter(|known| *known.token == *token) {
            return Ok(known);
        }
        let claims = Box::pin(parts.signing.verify(token)).await?;
        let says = Arc::new(claims.and_then(Verified::new).ok_or(Refusal::InvalidToken)?);
        let known = Arc::new(Known { token: token.into(), says });
        parts.verified.insert(hash, Arc::clone(&known));
        Ok(known)
    }

    /// The living key with this id and secret, or the living trust that a job's token fits. A key id that is not there takes the same way as a
    /// wrong secret; only what can't be a key id at all is not looked up. A key that is refused is counted for the audit log.
    pub(crate) async fn sign_in(&self, id: &str, secret: &str, from: IpAddr) -> Result<Option<StoredKey>, DbError> {
        if id.contains('/') {
            return Box::pin(self.sign_in_job(id, secret)).await;
        }
        let stored = if is_key_id(id) { keys::find(&self.0.db, id).await? } else { None };
        let right = secret_fits(secret, stored.as_ref().map(|key| key.secret_hash.as_slice()));
        let is_known = stored.is_some();
        let Some(key) = stored.filter(|key| right && key.living) else {
            if is_key_id(id) {
                self.0.refusals.count(is_known, id, from);
            }
            return Ok(None);
        };
        self.note_use(&key).await;
        Ok(Some(key))
    }

    /// Notes that a key was used: once an hour, and never to the harm of the request.
    pub(crate) async fn note_use(&self, key: &StoredKey) {
        let parts = &*self.0;
        if key.used_lately || !parts.noted.entry(key.id).or_insert(()).is_fresh() {
            return;
        }
        let noted: Result<(), DbError> = parts.db.write(key.id, |tx, key| Box::pin(keys::note_use(tx, *key))).await;
        if let Err(error) = noted {
            tracing::warn!(key = key.key_id, %error, "the use of an access key could not be noted");
        }
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<DbError> for OpenError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Refused(words) => Self::Refused(words),
            error => Self::Database(error),
        }
    }
}
