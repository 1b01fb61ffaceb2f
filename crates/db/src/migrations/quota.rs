//! Quotas of projects and registries.

use crate::migrate::Migration;

/// What there may be of each.
pub(super) const QUOTA: Migration = Migration::same(
    7,
    r#"
-- `max_bytes`: NULL for none.
ALTER TABLE project ADD COLUMN max_registries BIGINT NOT NULL DEFAULT 100;
ALTER TABLE project ADD COLUMN max_bytes BIGINT;
ALTER TABLE registry ADD COLUMN max_repositories BIGINT NOT NULL DEFAULT 10000;
ALTER TABLE registry ADD COLUMN max_bytes BIGINT;
-- It or its project has `max_bytes`: pushes into others ask for no use.
ALTER TABLE registry ADD COLUMN limited BOOLEAN NOT NULL DEFAULT FALSE;
"#,
);
