//! Who a request comes from, and with what: established once at its start, then handed to [`decide`](crate::decide).

use std::sync::Arc;

use roadstead_model::{Place, scope::Actions};

use crate::claims::Verified;

/// Who a request comes from. Says who it is and what the token allows; whether that may still be done is for
/// [`decide`](crate::decide) to say.
#[derive(Clone, Debug)]
pub struct Caller(Came);

#[derive(Clone, Debug)]
enum Came {
    Empty,
    /// Without credentials, where none are asked for.
    Open,
    Token(Arc<Verified>),
    Basic {
        key: i64,
        key_id: Arc<str>,
    },
    Session {
        person: i64,
        name: Arc<str>,
    },
}

/// With what a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// No credentials.
    Nothing,
    /// A token that was checked, perhaps an anonymous one.
    Token,
    /// Key id and secret, which were right.
    Basic,
    /// No credentials, and the region is open: none are asked for.
    Open,
    /// A session of the console, which is good for management and not for `/v2`.
    Session,
}

impl Caller {
    /// A request without credentials.
    pub fn nobody() -> Self {
        Self(Came::Empty)
    }

    /// A request without credentials to a region that is open.
    pub(crate) fn anyone() -> Self {
        Self(Came::Open)
    }

    pub(crate) fn token(verified: Arc<Verified>) -> Self {
        Self(Came::Token(verified))
    }

    pub(crate) fn basic(key: i64, key_id: &str) -> Self {
        Self(Came::Basic { key, key_id: key_id.into() })
    }

    pub(crate) fn session(person: i64, name: &str) -> Self {
        Self(Came::Session { person, name: name.into() })
    }

    /// The row of the person whose session it came with.
    pub(crate) fn person(&self) -> Option<i64> {
        match &self.0 {
            Came::Session { person, .. } => Some(*person),
            _ => None,
        }
    }

    /// With what the request came.
    pub fn presented(&self) -> Presented {
        match &self.0 {
            Came::Empty => Presented::Nothing,
            Came::Open => Presented::Open,
            Came::Token(_) => Presented::Token,
            Came::Basic { .. } => Presented::Basic,
            Came::Session { .. } => Presented::Session,
        }
    }

    /// The row of the access key that it came with or that its token was made for: what the facts of the request are read for.
    pub fn key(&self) -> Option<i64> {
        match &self.0 {
            Came::Empty | Came::Open | Came::Session { .. } => None,
            Came::Token(token) => token.key,
            Came::Basic { key, .. } => Some(*key),
        }
    }

    /// The key id (of a session the name), for logs and for who did something; empty for anonymous callers.
    pub fn key_id(&self) -> &str {
        self.shared_key_id().map_or("", |key_id| key_id)
    }

    /// The same, to be shared; `None` for anonymous callers.
    pub fn shared_key_id(&self) -> Option<&Arc<str>> {
        match &self.0 {
            Came::Empty | Came::Open => None,
            Came::Token(token) => Some(&token.subject).filter(|subject| !subject.is_empty()),
            Came::Basic { key_id, .. } => Some(key_id),
            Came::Session { name, .. } => Some(name),
        }
    }

    /// Whether what it came with covers these actions on this place: a token names them, key id and secret cover everything.
    pub(crate) fn allows(&self, place: &Place, actions: Actions) -> bool {
        match &self.0 {
            Came::Empty | Came::Session { .. } => false,
            Came::Token(token) => token.actions(place).contains(actions),
            Came::Basic { .. } | Came::Open => true,
        }
    }

    pub(crate) fn allows_catalog(&self) -> bool {
        match &self.0 {
            Came::Empty | Came::Session { .. } => false,
            Came::Token(token) => token.catalog,
            Came::Basic { .. } | Came::Open => true,
        }
    }
}
