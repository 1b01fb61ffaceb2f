//! What a token says (protocol.md 2.4).

use std::sync::Arc;

use roadstead_model::{Place, scope::Actions};
use serde::{Deserialize, Serialize};

/// Who made the token: all nodes of all regions write this.
pub(crate) const ISSUER: &str = "roadstead";
/// How far the clocks of two machines may lie apart, in seconds (protocol.md 2.4).
pub(crate) const LEEWAY: i64 = 60;

/// The payload of a token. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    /// Key id; empty = anonymous.
    pub(crate) sub: String,
    /// The host that was asked, and the only one that takes the token.
    pub(crate) aud: String,
    pub(crate) exp: i64,
    pub(crate) nbf: i64,
    pub(crate) iat: i64,
    pub(crate) jti: String,
    /// The row of the access key.
    pub(crate) key: Option<i64>,
    pub(crate) access: Vec<Access>,
}

/// One resource that the token is for. The name is the canonical `registry/repository`, whatever the client called it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Access {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

impl Access {
    pub(crate) fn repository(place: &Place, actions: Actions) -> Self {
        Self {
            kind: "repository".to_owned(),
            name: place.to_string(),
            actions: actions.names().map(str::to_owned).collect(),
        }
    }

    pub(crate) fn catalog() -> Self {
        Self { kind: "registry".to_owned(), name: "catalog".to_owned(), actions: vec!["*".to_owned()] }
    }
}

/// A token whose signature was right, in the form that requests ask. Its times and audience are checked each time.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) subject: Arc<str>,
    pub(crate) key: Option<i64>,
    pub(crate) catalog: bool,
    audience: Box<str>,
    not_before: i64,
    expires: i64,
    repositories: Box<[(Place, Actions)]>,
}

impl Verified {
    /// `None` when it was not issued as our tokens are.
    pub(crate) fn new(claims: Claims) -> Option<Self> {
        // An anonymous token has neither a subject nor a key, any other one both.
        if claims.iss != ISSUER || claims.sub.is_empty() != claims.key.is_none() {
            return None;
        }
        let is_catalog = |access: &Access| access.kind == "registry" && access.name == "catalog";
        Some(Self {
            catalog: claims.access.iter().any(is_catalog),
            repositories: claims.access.iter().filter_map(place_and_actions).collect(),
            subject: claims.sub.into(),
            key: claims.key,
            audience: claims.aud.into(),
            not_before: claims.nbf,
            expires: claims.exp,
        })
    }

    /// Whether it is good for this host at this time, in seconds since 1970.
    pub(crate) fn is_valid(&self, service: &str, now: i64) -> bool {
        *self.audience == *service
            && now < self.expires.saturating_add(LEEWAY)
            && now >= self.not_before.saturating_sub(LEEWAY)
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> u32 {
        let names = self
            .repositories
            .iter()
            .map(|(place, _)| 64 + place.registry.as_str().len() + place.repository.as_str().len());
        u32::try_from(256 + names.sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// What it allows on this place.
    pub(crate) fn actions(&self, place: &Place) -> Actions {
        let named = self.repositories.iter().filter(|(known, _)| known == place);
        named.fold(Actions::NONE, |all, (_, actions)| all.union(*actions))
    }
}

fn place_and_actions(access: &Access) -> Option<(Place, Actions)> {
    if access.kind != "repository" {
        return None;
    }
    let (registry, repository) = access.name.split_once('/')?;
    let place = Place { registry: registry.parse().ok()?, repository: repository.parse().ok()? };
    let actions = access.actions.iter().filter_map(|name| Actions::named(name)).fold(Actions::NONE, Actions::union);
    Some((place, actions))
}
