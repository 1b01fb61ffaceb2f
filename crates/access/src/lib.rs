//! Who may do what: people, robots, access keys, tokens, the permission table.
//!
//! A request's credentials become a [`Caller`] once, at its start ([`Access::authenticate`]); then every operation asks
//! [`decide`], with facts read in the same statement as what it is about; which role may what is the table in [`matrix`]. Tokens are made by [`Access::token`]; access keys are
//! made and revoked by [`Keys`]; jobs of a CI show the tokens of their own service instead, by the robot's [`Trusts`]. No HTTP and no SQL here.

mod authenticate;
mod caller;
mod claims;
mod credentials;
mod decide;
mod grant;
mod jobs;
mod keys;
mod manage;
pub mod matrix;
mod passwords;
mod people;
mod refusals;
mod seal;
mod sessions;
mod sign_on;
mod signing;
mod sources;
#[cfg(test)]
mod tests;

pub use authenticate::{Access, AccessOptions, OpenError};
pub use caller::{Caller, Presented};
pub use credentials::{Authorization, Credentials};
pub use decide::{Action, Refusal, Target, decide, pulls_whole_registry};
pub use grant::{TokenError, TokenGrant, TokenRequest};
pub use jobs::{MAX_TRUSTS, TrustFields, Trusts};
pub use keys::{FIRST_PERSON, FirstKey, KeyError, KeyFor, Keys, MAX_LIVING_KEYS, NewKey, OPERATOR};
pub use manage::{ManageError, Manager, Subject, manage};
pub use matrix::{Right, Standing};
pub use people::{People, PersonChange, RobotChange, RoleIn};
pub use roadstead_db::{
    audit::By,
    identity::Identity,
    keys::{KeyEntry, Of, Owner},
    member::{Given, In, Member},
    person::Person,
    project::Project,
    robot::Robot,
    trust::TrustEntry,
};
pub use sessions::{NewSession, Sessions, SignInError};
pub use sign_on::{GroupRole, Returned, SignOn, SignOnBegun, SignOnError, SignOnOptions, SignedOn};
pub use sources::{Clock, Entropy};
