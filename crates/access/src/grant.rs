//! Making tokens: what `GET /token` and `POST /token` have in common (protocol.md 2.2, 2.3).

use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use roadstead_db::{
    DbError,
    facts::{self, Asker, Facts, View},
    keys::{self, StoredKey},
};
use roadstead_model::{
    Place, RegistryName,
    scope::{Actions, Scope, Scopes},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use sha2::{Digest as _, Sha256};

use crate::{
    authenticate::Access,
    claims::{Access as Claim, Claims, ISSUER},
    credentials::Credentials,
    decide::grantable_here,
};

/// How many refresh tokens a key can have; for all hosts together, since a host is what the client calls it. Who asks for more gets none with its token, which clients take for
/// "keep the password".
const MAX_REFRESH_TOKENS: i64 = 1000;
/// How many bytes of names and actions a token can hold: resources beyond are dropped, like all that is not granted.
const MAX_ACCESS_BYTES: usize = 7 * 1024;
/// How many registries one token can name: each is one look into the database. Those beyond are dropped.
const MAX_REGISTRIES: usize = 64;
/// The longest host name with port.
const MAX_SERVICE_BYTES: usize = 300;

/// No token lives shorter: clients take that for granted (protocol.md 2.2).
const SHORTEST: Duration = Duration::from_secs(60);

/// What a client asks a token for.
pub struct TokenRequest<'a> {
    /// The host that was asked, and on which kind of listener. It becomes the audience: the token is good for it alone.
    pub service: &'a str,
    /// The client's address.
    pub from: IpAddr,
    /// What the client shows.
    pub credentials: Credentials,
    /// What it wants to do.
    pub scopes: Scopes,
    /// Which registries there are where it was asked: what names another one is dropped.
    pub view: View<'a>,
    /// Which place a repository name in a scope means on the host that was asked (host style or path style); `None` for one that
    /// is no name, which is dropped.
    pub resolve: &'a (dyn Fn(&str) -> Option<Place> + Sync),
    /// Whether it wants a refresh token too (`offline_token=true`, `access_type=offline`).
    pub offline: bool,
}

/// A token, and what is said with it. Serialises as the JSON answer of both endpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenGrant {
    /// The token; answered as `token` and `access_token`.
    pub token: String,
    /// Seconds that it lives: 60 to 43,200.
    pub expires_in: u64,
    /// When it was made, RFC 3339 in UTC.
    pub issued_at: String,
    /// A refresh token, if one was asked for by somebody with a key.
    pub refresh_token: Option<String>,
    /// What was granted, in the client's own names.
    pub scope: Scopes,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// 401: key id or secret is wrong, or the key was revoked or has expired.
    #[error("the access key id or secret is wrong")]
    WrongCredentials,
    /// 400 `invalid_grant`: not a refresh token, or one for another host, or one that has ended with its key or by itself.
    #[error("the login is not valid, or not any more: log in again")]
    InvalidGrant,
    /// 400: the request makes no sense; the text says why.
    #[error("{0}")]
    Invalid(&'static str),
    /// 503: it can't be found out now. The text is for the log.
    #[error("tokens can't be made at the moment: {0}")]
    Unavailable(String),
}

impl Access {
    /// Makes a token that allows what is both asked for and within the caller's rights now; what is not is dropped without a word.
    /// Without credentials it is an anonymous one, and wrong credentials never give one.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn token(&self, request: TokenRequest<'_>) -> Result<TokenGrant, TokenError> {
        let TokenRequest { service, from, credentials, scopes, view, resolve, offline } = request;
        if service.is_empty() || service.len() > MAX_SERVICE_BYTES || service.contains('\0') {
            return Err(TokenError::Invalid("the service is not a host"));
        }
        let mut lifetime = self.0.token_lifetime;
        let (key, refresh_token) = match credentials {
            Credentials::Nobody => (None, None),
            Credentials::Key { id, secret } => {
                let key = self.sign_in(&id, &secret, from).await?.ok_or(TokenError::WrongCredentials)?;
                if key.is_trust {
                    lifetime = lifetime.min(self.0.job_lifetime);
                }
                let refresh_token = if offline { self.new_refresh_token(&key, service).await? } else { None };
                (Some(key), refresh_token)
            }
            Credentials::Refresh(token) => {
                let used = self.use_refresh_token(&token, service).await?;
                let (key, remaining) = used.ok_or(TokenError::InvalidGrant)?;
                if key.is_trust {
                    lifetime = lifetime.min(remaining);
                }
                // It is not rotated: docker keeps the first one it got.
                (Some(key), offline.then_some(token))
            }
        };
        let (scope, access) = self.granted(key.as_ref(), &scopes, view, resolve).await?;

        let now = self.0.clock.seconds();
        let lifetime = lifetime.as_secs();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: key.as_ref().map_or_else(String::new, |key| key.key_id.clone()),
            aud: service.to_owned(),
            exp: now.saturating_add_unsigned(lifetime),
            nbf: now,
            iat: now,
            jti: URL_SAFE_NO_PAD.encode(self.0.entropy.bytes::<16>()),
            key: key.as_ref().map(|key| key.id),
            access,
        };
        let token = self.0.signing.sign(&claims).await?;
        let issued_at = jiff::Timestamp::from_second(now).unwrap_or_default().to_string();
        Ok(TokenGrant { token, expires_in: lifetime, issued_at, refresh_token, scope })
    }

    /// What of the scopes the caller may do now: in the client's names for the answer, and as places for the token.
    async fn granted(
        &self,
        key: Option<&StoredKey>,
        scopes: &Scopes,
        view: View<'_>,
        resolve: &(dyn Fn(&str) -> Option<Place> + Sync),
    ) -> Result<(Scopes, Vec<Claim>), DbError> {
        let administrator = key.is_some_and(|key| key.administrator);
        let mut known = BTreeMap::<RegistryName, Facts>::new();
        let mut room = MAX_ACCESS_BYTES;
        let mut scope = Vec::new();
        let mut access = Vec::new();
        for wanted in scopes.iter() {
            let (granted, claim) = match wanted {
                Scope::Catalog if administrator => (Scope::Catalog, Claim::catalog()),
                Scope::Catalog => continue,
                Scope::Repository { name, actions } => {
                    let Some(place) = resolve(name) else { continue };
                    let may = if administrator {
                        Actions::ALL
                    } else {
                        if !known.contains_key(&place.registry) {
                            if known.len() >= MAX_REGISTRIES {
                                continue;
                            }
                            let asker = Asker { key: key.map(|key| key.id), view };
                            let facts = facts::of_registry(&self.0.db, &place.registry, asker).await?;
                            known.insert(place.registry.clone(), facts);
                        }
                        grantable_here(&place, &known[&place.registry])
                    };
                    let actions = actions.intersection(may);
                    if actions == Actions::NONE {
                        continue;
                    }
                    (Scope::Repository { name: name.clone(), actions }, Claim::repository(&place, actions))
                }
            };
            // The rest of an entry is at most `{"type":"repository","name":"","actions":["pull","push","delete"]},`.
            let Some(left) = room.checked_sub(claim.name.len() + 72) else { break };
            room = left;
            scope.push(granted);
            access.push(claim);
        }
        Ok((scope.into_iter().collect(), access))
    }

    /// A new refresh token for this key and host; `None` when the key has very many.
    async fn new_refresh_token(&self, key: &StoredKey, service: &str) -> Result<Option<String>, DbError> {
        let token = URL_SAFE_NO_PAD.encode(self.0.entropy.bytes::<32>());
        let lifetime = if key.is_trust { self.0.job_lifetime } else { self.0.refresh_lifetime };
        let input = (key.id, refresh_hash(&token), service.to_owned(), micros(lifetime));
        let made = self
            .0
            .db
            .write(input, |tx, (key, hash, service, lifetime)| {
                Box::pin(async move {
                    if keys::count_refresh(tx, *key, MAX_REFRESH_TOKENS).await? >= MAX_REFRESH_TOKENS {
                        return Ok(false);
                    }
                    keys::insert_refresh(tx, hash, *key, service, *lifetime).await?;
                    Ok::<_, DbError>(true)
                })
            })
            .await?;
        Ok(made.then_some(token))
    }

    /// The living key that this refresh token stands for, and how long it still does. One that is used goes on: see
    /// [`AccessOptions::refresh_lifetime`](crate::AccessOptions::refresh_lifetime). That of a job ends when it ends, and nothing that is
    /// got for it lives longer.
    async fn use_refresh_token(&self, token: &str, service: &str) -> Result<Option<(StoredKey, Duration)>, DbError> {
        let found = keys::find_refresh(&self.0.db, &refresh_hash(token), service).await?;
        let Some(refresh) = found.filter(|refresh| refresh.key.living) else { return Ok(None) };
        let remaining = Duration::from_micros(refresh.remaining.max(0).unsigned_abs());
        if refresh.key.is_trust && remaining < SHORTEST {
            return Ok(None);
        }
        let lifetime = micros(self.0.refresh_lifetime);
        if !refresh.key.is_trust && refresh.remaining < lifetime / 2 {
            let extended: Result<(), DbError> = self
                .0
                .db
                .write((refresh.id, lifetime), |tx, (id, lifetime)| Box::pin(keys::extend_refresh(tx, *id, *lifetime)))
                .await;
            if let Err(error) = extended {
                tracing::warn!(key = refresh.key.key_id, %error, "a refresh token could not be extended");
            }
        }
        self.note_use(&refresh.key).await;
        Ok(Some((refresh.key, remaining)))
    }
}

impl TokenGrant {
    /// The body of the answer.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of texts and a number is always JSON")
    }
}

impl Serialize for TokenGrant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("TokenGrant", 6)?;
        // Both names: some clients read one, some the other.
        answer.serialize_field("token", &self.token)?;
        answer.serialize_field("access_token", &self.token)?;
        answer.serialize_field("expires_in", &self.expires_in)?;
        answer.serialize_field("issued_at", &self.issued_at)?;
        answer.serialize_field("scope", &self.scope.to_string())?;
        if let Some(refresh_token) = &self.refresh_token {
            answer.serialize_field("refresh_token", refresh_token)?;
        }
        answer.end()
    }
}

impl fmt::Debug for TokenGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenGrant").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl From<DbError> for TokenError {
    fn from(error: DbError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The token has 256 random bits, so a plain hash hides it.
fn refresh_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
