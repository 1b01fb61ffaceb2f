//! Who may do what: people, robots, access keys, tokens, the permission table.
//!
//! A request's credentials become a [`Caller`] once, at its start ([`Access::authenticate`]); then every operation asks
//! [`decide`], with facts read in the same statement as what it is about. Tokens are made by [`Access::token`]; access keys are
//! made and revoked by [`Keys`]. No HTTP and no SQL here.

mod authenticate;
mod caller;
mod claims;
mod credentials;
mod decide;
mod grant;
mod keys;
mod seal;
mod signing;
mod sources;
#[cfg(test)]
mod tests;

pub use authenticate::{Access, AccessOptions, OpenError};
pub use caller::{Caller, Presented};
pub use credentials::{Authorization, Credentials};
pub use decide::{Action, Refusal, Target, decide};
pub use grant::{TokenError, TokenGrant, TokenRequest};
pub use keys::{FIRST_PERSON, FirstKey, KeyError, Keys, MAX_LIVING_KEYS, NewKey};
pub use roadstead_db::keys::KeyEntry;
pub use sources::{Clock, Entropy};
