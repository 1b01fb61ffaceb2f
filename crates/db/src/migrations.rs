//! The numbered steps that make the tables. A step that has been released is never changed: the next one mends it.
//!
//! Text rules: statements end with `;`, dialect tokens as in [`crate::engine`]. Times are microseconds since 1970, UTC, by the
//! database's clock; digests one byte of algorithm and the hash; names that are paged compare by bytes.

mod audit;
mod buckets;
mod images;
mod oidc;
mod quota;
mod sorted;

use self::{audit::AUDIT, buckets::BUCKETS, images::IMAGES, oidc::OIDC, quota::QUOTA, sorted::SORTED};
use crate::migrate::Migration;

/// All steps, oldest first.
pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration::same(1, FIRST), Migration::same(2, SMALL_BLOBS), PEOPLE, IMAGES, OIDC, AUDIT, QUOTA, BUCKETS, SORTED];

/// `body`: the bytes themselves, where they are few. Then there is no object, and `object_key` is empty.
const SMALL_BLOBS: &str = "ALTER TABLE blob ADD COLUMN body {bytes};";

/// People with passwords, robots, roles; access keys of robots.
const PEOPLE: Migration = Migration {
    version: 3,
    sql: r#"
-- `epoch` goes up with each change.
ALTER TABLE project ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE project ADD COLUMN epoch BIGINT NOT NULL DEFAULT 1;
-- `password`: as argon2 writes it; without one there is no sign-in by password. `barred`: no access key works. `disabled`: nothing does.
ALTER TABLE person ADD COLUMN full_name TEXT NOT NULL DEFAULT '';
ALTER TABLE person ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE person ADD COLUMN password TEXT;
ALTER TABLE person ADD COLUMN barred BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE person ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;
CREATE TABLE robot (
    id {id},
    project BIGINT NOT NULL REFERENCES project,
    name {name} NOT NULL,
    description TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    UNIQUE (project, name)
);
-- Who has which role in a project (`registry` NULL) or in one registry of it.
CREATE TABLE member (
    id {id},
    project BIGINT NOT NULL REFERENCES project,
    registry BIGINT REFERENCES registry,
    person BIGINT NOT NULL REFERENCES person,
    role TEXT NOT NULL,
    since BIGINT NOT NULL
);
CREATE UNIQUE INDEX member_of_project ON member (project, person) WHERE registry IS NULL;
CREATE UNIQUE INDEX member_of_registry ON member (registry, person) WHERE registry IS NOT NULL;
CREATE INDEX member_person ON member (person);
CREATE TABLE session (
    id {id},
    hash {bytes} NOT NULL UNIQUE,
    person BIGINT NOT NULL REFERENCES person,
    came_from TEXT NOT NULL,
    created BIGINT NOT NULL,
    used BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX session_person ON session (person);
CREATE INDEX session_expires ON session (expires);
CREATE INDEX audit_who ON audit (who, id);
CREATE INDEX audit_object ON audit (object, id);
CREATE INDEX audit_refused ON audit (who, came_from, at) WHERE what = 'session.refused';
"#,
    // An access key is a person's or a robot's; what a robot's may do is in `limits`.
    sqlite: r#"
CREATE TABLE access_key_of_somebody (
    id {id},
    key_id {name} NOT NULL UNIQUE,
    secret_hash {bytes} NOT NULL,
    person BIGINT REFERENCES person,
    robot BIGINT REFERENCES robot,
    limits TEXT,
    description TEXT NOT NULL,
    created BIGINT NOT NULL,
    used BIGINT,
    expires BIGINT,
    revoked BIGINT,
    CHECK ((person IS NULL) <> (robot IS NULL))
);
INSERT INTO access_key_of_somebody (id, key_id, secret_hash, person, description, created, used, expires, revoked)
SELECT id, key_id, secret_hash, person, description, created, used, expires, revoked FROM access_key;
DROP TABLE access_key;
ALTER TABLE access_key_of_somebody RENAME TO access_key;
CREATE INDEX access_key_person ON access_key (person);
CREATE INDEX access_key_robot ON access_key (robot);
"#,
    postgres: r#"
ALTER TABLE access_key ALTER COLUMN person DROP NOT NULL;
ALTER TABLE access_key ADD COLUMN robot BIGINT REFERENCES robot;
ALTER TABLE access_key ADD COLUMN limits TEXT;
ALTER TABLE access_key ADD CHECK ((person IS NULL) <> (robot IS NULL));
CREATE INDEX access_key_robot ON access_key (robot);
"#,
};

const FIRST: &str = r#"
-- Tenants and places ------------------------------------------------------------------------------------------------
CREATE TABLE project (
    id {id},
    name {name} NOT NULL UNIQUE,
    created BIGINT NOT NULL
);
-- `marker` is the text of an object in the bucket itself: another bucket under the same address is noticed at start. `marking` is
-- until when one node has it to itself to write that object, `marked` says that it was written.
CREATE TABLE bucket (
    id {id},
    name {name} NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    marker TEXT NOT NULL,
    marking BIGINT NOT NULL,
    marked BOOLEAN NOT NULL,
    created BIGINT NOT NULL
);
-- One act of deleting. What went together names it in its `deletion` column (NULL = living), so that a restore brings back just that.
CREATE TABLE deletion (
    id {id},
    kind TEXT NOT NULL,
    registry BIGINT NOT NULL,
    repository BIGINT,
    subject TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    until BIGINT NOT NULL
);
CREATE INDEX deletion_until ON deletion (until);
-- A name stays taken until the registry is purged: nobody else gets the pulls of a name in the trash.
CREATE TABLE registry (
    id {id},
    project BIGINT NOT NULL REFERENCES project,
    name {name} NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    bucket BIGINT NOT NULL REFERENCES bucket,
    private_id TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    public_endpoint BOOLEAN NOT NULL,
    public_pull BOOLEAN NOT NULL,
    epoch BIGINT NOT NULL,
    created BIGINT NOT NULL,
    deletion BIGINT REFERENCES deletion
);
CREATE INDEX registry_catalog ON registry ((name || '/'));
CREATE INDEX registry_project ON registry (project, name);
CREATE INDEX registry_deletion ON registry (deletion) WHERE deletion IS NOT NULL;
-- Made with the first that is sent to an upload (which needs an owner); listed only once it has an artifact.
CREATE TABLE repository (
    id {id},
    registry BIGINT NOT NULL REFERENCES registry,
    name {name} NOT NULL,
    mutable_tags BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    deletion BIGINT REFERENCES deletion
);
CREATE UNIQUE INDEX repository_living ON repository (registry, name) WHERE deletion IS NULL;
CREATE INDEX repository_deletion ON repository (deletion) WHERE deletion IS NOT NULL;

-- Bytes -------------------------------------------------------------------------------------------------------------
-- A blob is stored once a bucket. `object_key` is fresh for each upload: a late removal never destroys a newer upload.
CREATE TABLE blob (
    id {id},
    bucket BIGINT NOT NULL REFERENCES bucket,
    digest {bytes} NOT NULL,
    size BIGINT NOT NULL,
    object_key TEXT NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (bucket, digest)
);
CREATE TABLE object_removal (
    id {id},
    bucket BIGINT NOT NULL REFERENCES bucket,
    object_key TEXT NOT NULL,
    due BIGINT NOT NULL
);
CREATE INDEX object_removal_due ON object_removal (due);
-- Who may see a blob: it was pushed or mounted here. A DELETE hides it; the collector takes the row away later.
CREATE TABLE repository_blob (
    repository BIGINT NOT NULL REFERENCES repository,
    blob BIGINT NOT NULL REFERENCES blob,
    since BIGINT NOT NULL,
    hidden BOOLEAN NOT NULL,
    PRIMARY KEY (repository, blob)
){by_key};
CREATE INDEX repository_blob_blob ON repository_blob (blob, repository);
-- In how many repositories of the registry the blob is: stored size, exact, and where a mount without `from` looks.
CREATE TABLE registry_blob (
    registry BIGINT NOT NULL REFERENCES registry,
    blob BIGINT NOT NULL REFERENCES blob,
    repositories BIGINT NOT NULL,
    PRIMARY KEY (registry, blob)
){by_key};
CREATE INDEX registry_blob_blob ON registry_blob (blob);
-- Made with the first that is sent to an upload; until then its id says all. `state` is the text of the blobs crate. `ending`: what it stored is being taken
-- away. One that is over stays a while so that a repeated PUT is 201 again (protocol.md D19b): `finished` is its blob's digest, or no byte if it became none.
CREATE TABLE upload (
    id {name} PRIMARY KEY,
    repository BIGINT NOT NULL REFERENCES repository,
    bucket BIGINT NOT NULL REFERENCES bucket,
    size BIGINT NOT NULL,
    state TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    lease BIGINT NOT NULL,
    ending BOOLEAN NOT NULL,
    begun BIGINT NOT NULL,
    touched BIGINT NOT NULL,
    finished {bytes}
){by_key};
CREATE INDEX upload_over ON upload (touched) WHERE finished IS NOT NULL;
CREATE INDEX upload_unfinished ON upload (touched) WHERE finished IS NULL;
CREATE INDEX upload_repository ON upload (repository);

-- Artifacts ---------------------------------------------------------------------------------------------------------
-- The exact bytes, once for all. No media type: the same bytes can be pushed as two types by two tenants.
CREATE TABLE manifest (
    id {id},
    digest {bytes} NOT NULL UNIQUE,
    body {bytes} NOT NULL
);
-- A manifest as it lives in one repository. `referrer` is its descriptor for the referrers answer, when it has a subject.
CREATE TABLE artifact (
    id {id},
    repository BIGINT NOT NULL REFERENCES repository,
    manifest BIGINT NOT NULL REFERENCES manifest,
    media_type TEXT NOT NULL,
    kind TEXT NOT NULL,
    artifact_type TEXT,
    subject {bytes},
    referrer TEXT,
    size BIGINT NOT NULL,
    layer_size BIGINT NOT NULL,
    pushed_at BIGINT NOT NULL,
    pushed_by TEXT NOT NULL,
    pulled_at BIGINT,
    deletion BIGINT REFERENCES deletion
);
CREATE UNIQUE INDEX artifact_living ON artifact (repository, manifest) WHERE deletion IS NULL;
CREATE INDEX artifact_manifest ON artifact (manifest);
CREATE INDEX artifact_subject ON artifact (repository, subject, id) WHERE subject IS NOT NULL;
CREATE INDEX artifact_pushed ON artifact (repository, pushed_at);
CREATE INDEX artifact_deletion ON artifact (deletion) WHERE deletion IS NOT NULL;
-- What an artifact holds can't be collected: the key to `repository_blob` refuses it. Kept while in the trash.
CREATE TABLE artifact_blob (
    artifact BIGINT NOT NULL REFERENCES artifact,
    repository BIGINT NOT NULL,
    blob BIGINT NOT NULL,
    PRIMARY KEY (artifact, blob),
    FOREIGN KEY (repository, blob) REFERENCES repository_blob (repository, blob)
){by_key};
CREATE INDEX artifact_blob_link ON artifact_blob (repository, blob);
-- By digest, not by key: a subject or child may come later or never, and a child may be a blob.
CREATE TABLE artifact_edge (
    artifact BIGINT NOT NULL REFERENCES artifact,
    position BIGINT NOT NULL,
    repository BIGINT NOT NULL,
    role TEXT NOT NULL,
    digest {bytes} NOT NULL,
    media_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    platform TEXT,
    elsewhere BOOLEAN NOT NULL,
    PRIMARY KEY (artifact, position)
){by_key};
CREATE INDEX artifact_edge_digest ON artifact_edge (repository, digest);
CREATE TABLE tag (
    repository BIGINT NOT NULL REFERENCES repository,
    name {name} NOT NULL,
    artifact BIGINT NOT NULL REFERENCES artifact,
    since BIGINT NOT NULL,
    set_by TEXT NOT NULL,
    PRIMARY KEY (repository, name)
);
CREATE INDEX tag_artifact ON tag (artifact);
-- `deletion` names the act that took the tag away, so that a restore can put it back.
CREATE TABLE tag_change (
    id {id},
    repository BIGINT NOT NULL REFERENCES repository,
    name {name} NOT NULL,
    from_digest {bytes},
    to_digest {bytes},
    why TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    deletion BIGINT
);
CREATE INDEX tag_change_name ON tag_change (repository, name, id);
CREATE INDEX tag_change_deletion ON tag_change (deletion) WHERE deletion IS NOT NULL;
-- Deleted artifacts whose children and referrers are still to be looked at: they may follow into the same deletion.
CREATE TABLE deletion_step (
    artifact BIGINT NOT NULL REFERENCES artifact,
    deletion BIGINT NOT NULL REFERENCES deletion,
    PRIMARY KEY (artifact)
){by_key};

-- Collection: "look at this after `due`" -----------------------------------------------------------------------------
CREATE TABLE link_review (
    repository BIGINT NOT NULL,
    blob BIGINT NOT NULL,
    due BIGINT NOT NULL,
    PRIMARY KEY (repository, blob)
){by_key};
CREATE INDEX link_review_due ON link_review (due);
CREATE TABLE blob_review (
    blob BIGINT PRIMARY KEY,
    due BIGINT NOT NULL
){by_key};
CREATE INDEX blob_review_due ON blob_review (due);

-- What happened -----------------------------------------------------------------------------------------------------
CREATE TABLE event (
    id {id},
    kind TEXT NOT NULL,
    registry BIGINT NOT NULL,
    repository TEXT,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX event_at ON event (at);
CREATE TABLE audit (
    id {id},
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    came_from TEXT NOT NULL,
    what TEXT NOT NULL,
    object TEXT NOT NULL,
    before TEXT,
    after TEXT,
    request_id TEXT
);
CREATE INDEX audit_at ON audit (at);
-- On PostgreSQL appended by each change and folded into `usage` by a job: exact, and no hot row that all pushes wait for. A reader adds both.
CREATE TABLE usage_change (
    id {id},
    registry BIGINT NOT NULL,
    repositories BIGINT NOT NULL,
    artifacts BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
CREATE TABLE usage (
    registry BIGINT PRIMARY KEY,
    repositories BIGINT NOT NULL,
    artifacts BIGINT NOT NULL,
    bytes BIGINT NOT NULL
){by_key};

-- People and keys ---------------------------------------------------------------------------------------------------
CREATE TABLE person (
    id {id},
    name {name} NOT NULL UNIQUE,
    administrator BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    epoch BIGINT NOT NULL
);
CREATE TABLE access_key (
    id {id},
    key_id {name} NOT NULL UNIQUE,
    secret_hash {bytes} NOT NULL,
    person BIGINT NOT NULL REFERENCES person,
    description TEXT NOT NULL,
    created BIGINT NOT NULL,
    used BIGINT,
    expires BIGINT,
    revoked BIGINT
);
CREATE INDEX access_key_person ON access_key (person);
CREATE TABLE refresh_token (
    id {id},
    hash {bytes} NOT NULL UNIQUE,
    access_key BIGINT NOT NULL REFERENCES access_key,
    service {name} NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX refresh_token_key ON refresh_token (access_key);
CREATE INDEX refresh_token_expires ON refresh_token (expires);
CREATE TABLE signing_key (
    kid {name} PRIMARY KEY,
    sealed {bytes} NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
"#;
