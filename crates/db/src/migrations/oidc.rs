//! Sign-in with OpenID Connect, roles that come from groups, and robots that trust the tokens of a CI.

use crate::migrate::Migration;

/// A trust is an access key without a secret, so that what is read for each request (and what a node of the version before reads) knows
/// it like any other: whether it lives, and what it may do.
pub(super) const OIDC: Migration = Migration::same(
    5,
    r#"
CREATE TABLE trust (
    access_key BIGINT PRIMARY KEY REFERENCES access_key,
    issuer TEXT NOT NULL,
    audience TEXT NOT NULL,
    claims TEXT NOT NULL
){by_key};
-- Whom a provider means: by issuer and subject, and never by a name or an address of mail.
CREATE TABLE identity (
    id {id},
    issuer {name} NOT NULL,
    subject {name} NOT NULL,
    person BIGINT NOT NULL UNIQUE REFERENCES person,
    since BIGINT NOT NULL,
    UNIQUE (issuer, subject)
);
-- Sign-ins at a provider that were finished, until they could not be finished again anyhow.
CREATE TABLE finished_sign_in (
    hash {bytes} PRIMARY KEY,
    expires BIGINT NOT NULL
){by_key};
CREATE INDEX finished_sign_in_expires ON finished_sign_in (expires);
-- `role` is what counts: the stronger of that given by hand and that of the groups. Without one of groups it is by hand.
ALTER TABLE member ADD COLUMN by_hand TEXT;
ALTER TABLE member ADD COLUMN by_groups TEXT;
ALTER TABLE person ADD COLUMN administrator_by_group BOOLEAN NOT NULL DEFAULT FALSE;
"#,
);
