//! An issuer of tokens: its keys, fetched when they are needed and remembered.
//!
//! Keys are fetched anew after an hour, and when a token names one that is not known, but never twice in half a minute: nobody can make
//! us hammer an issuer with made-up names of keys. While an issuer can't be reached its keys hold for a day.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use jsonwebtoken::{Algorithm, DecodingKey};
use roadstead_outgoing::{Outgoing, Request};
use tokio::sync::Mutex;

use crate::{
    TokenError,
    claims::Claims,
    document::{self, Document},
    keys::Keys,
    token,
};

/// After so many seconds keys are fetched anew.
const FRESH: i64 = 3600;
/// After so many seconds without success they are not believed any more.
const USABLE: i64 = 24 * 3600;
/// Seconds between two tries.
const BETWEEN: i64 = 30;

/// What an issuer is.
#[derive(Clone, Debug)]
pub struct IssuerOptions {
    /// What its tokens name as `iss`, exactly, and where its document lies.
    pub address: String,
    /// It lies inside the network: plain `http` and private addresses are allowed.
    pub internal: bool,
    /// Its keys (JWKS), where it can't be reached: nothing is ever fetched.
    pub keys: Option<String>,
}

/// An issuer of tokens.
pub struct Issuer {
    address: String,
    internal: bool,
    offline: bool,
    outgoing: Outgoing,
    state: RwLock<Arc<State>>,
    /// Held while its keys are fetched, so that all who wait for them share one fetch.
    turn: Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    keys: Keys,
    document: Option<Arc<Document>>,
    /// When they were fetched, and when that was tried last.
    fetched: Option<i64>,
    tried: Option<i64>,
    trouble: String,
}

impl State {
    fn is_within(&self, age: i64, now: i64) -> bool {
        self.fetched.is_some_and(|fetched| now.saturating_sub(fetched) < age)
    }
}

impl Issuer {
    /// An issuer; nothing is fetched yet.
    ///
    /// # Errors
    /// In words: of the keys that are given.
    pub fn new(options: IssuerOptions, outgoing: Outgoing) -> Result<Self, String> {
        let IssuerOptions { address, internal, keys } = options;
        let offline = keys.is_some();
        let keys = match keys {
            Some(text) => {
                let keys = Keys::read(text.as_bytes()).map_err(|words| format!("the keys of {address}: {words}"))?;
                if keys.is_empty() {
                    return Err(format!("the keys of {address}: there is none that can check a signature"));
                }
                keys
            }
            None => Keys::default(),
        };
        let state = RwLock::new(Arc::new(State { keys, ..State::default() }));
        Ok(Self { address, internal, offline, outgoing, state, turn: Mutex::default() })
    }

    /// What its tokens name as `iss`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a token says, if it is one of this issuer that is valid now. For whom it is is left to who takes it.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let head = token::head(token)?;
        let key = self.key(head.key.as_deref(), head.algorithm, now).await?;
        Claims::read(token::open(token, head.algorithm, &key)?, &self.address, now)
    }

    /// Whether its keys can be had now; what is given needs nothing.
    ///
    /// # Errors
    /// In words.
    pub async fn look(&self, now: i64) -> Result<(), String> {
        if self.offline { Ok(()) } else { self.document(now).await.map(drop).map_err(|error| error.to_string()) }
    }

    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    pub(crate) fn is_internal(&self) -> bool {
        self.internal
    }

    /// What it says of itself.
    pub(crate) async fn document(&self, now: i64) -> Result<Arc<Document>, TokenError> {
        let state = self.fetched(now, |state| state.document.is_some()).await;
        state.document.clone().ok_or_else(|| self.unavailable(&state))
    }

    async fn key(&self, id: Option<&str>, algorithm: Algorithm, now: i64) -> Result<DecodingKey, TokenError> {
        let state = if self.offline { self.state() } else { self.fetched(now, |state| state.keys.has(id)).await };
        if state.keys.is_empty() {
            return Err(self.unavailable(&state));
        }
        let key = state.keys.find(id, algorithm).cloned();
        key.ok_or_else(|| TokenError::invalid("its issuer has no such key for this kind of signature"))
    }

    fn unavailable(&self, state: &State) -> TokenError {
        TokenError::Unavailable(format!("the keys of {} can't be had: {}", self.address, state.trouble))
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known, fetched if it is old or does not do.
    async fn fetched(&self, now: i64, does: impl Fn(&State) -> bool) -> Arc<State> {
        let state = self.state();
        if does(&state) && state.is_within(FRESH, now) {
            return state;
        }
        let _turn = if does(&state) && state.is_within(USABLE, now) {
            // It still does: one asks for what is new, and nobody waits for that one.
            let Ok(turn) = self.turn.try_lock() else { return state };
            turn
        } else {
            self.turn.lock().await
        };
        let state = self.state();
        let early = state.tried.is_some_and(|tried| now.abs_diff(tried) < BETWEEN.unsigned_abs());
        if early || (does(&state) && state.is_within(FRESH, now)) {
            return state;
        }
        let next = match self.fetch().await {
            Ok((document, keys)) => State {
                keys,
                document: Some(Arc::new(document)),
                fetched: Some(now),
                tried: Some(now),
                trouble: String::new(),
            },
            Err(trouble) => {
                tracing::warn!(issuer = self.address, trouble, "the keys of an issuer of tokens can't be fetched");
                let old = if state.is_within(USABLE, now) { (*state).clone() } else { State::default() };
                State { tried: Some(now), trouble, ..old }
            }
        };
        let next = Arc::new(next);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        next
    }

    async fn fetch(&self) -> Result<(Document, Keys), String> {
        let document = Document::read(&self.get(document::address_of(&self.address)).await?, &self.address)?;
        let keys = Keys::read(&self.get(document.jwks_uri.clone()).await?)
            .map_err(|words| format!("{}: {words}", document.jwks_uri))?;
        if keys.is_empty() {
            return Err(format!("{} has no key that can check a signature", document.jwks_uri));
        }
        Ok((document, keys))
    }

    async fn get(&self, address: String) -> Result<Vec<u8>, String> {
        let request = Request {
            address: address.clone(),
            internal: self.internal,
            form: None,
            basic: None,
            most: document::MOST_BYTES,
        };
        let answer = self.outgoing.fetch(request).await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(answer.body) } else { Err(format!("{address} answers {}", answer.status)) }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The issuers that a region trusts. Clones share what is known of them.
#[derive(Clone, Debug, Default)]
pub struct Issuers(Arc<[Issuer]>);

impl Issuers {
    /// The one that tokens name so.
    pub fn find(&self, address: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.address == address)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.iter()
    }

    /// What their tokens name as `iss`.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Issuer::address)
    }
}

impl FromIterator<Issuer> for Issuers {
    fn from_iter<I: IntoIterator<Item = Issuer>>(issuers: I) -> Self {
        Self(issuers.into_iter().collect())
    }
}
