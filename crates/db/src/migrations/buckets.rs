//! What was found when buckets were tried.

use crate::migrate::Migration;

/// The last try of each, and which node is at one.
pub(super) const BUCKETS: Migration = Migration::same(
    8,
    r#"
-- `checked`: when it was last tried, NULL for never. `trouble`: what it did not do then. `warning`: what was no trouble but should be known.
ALTER TABLE bucket ADD COLUMN checked BIGINT;
ALTER TABLE bucket ADD COLUMN trouble TEXT;
ALTER TABLE bucket ADD COLUMN warning TEXT;
-- Until when one node has it to itself to try it, and the key of the objects that this makes, until they are gone.
ALTER TABLE bucket ADD COLUMN checking BIGINT NOT NULL DEFAULT 0;
ALTER TABLE bucket ADD COLUMN check_key TEXT;
CREATE INDEX registry_bucket ON registry (bucket);
"#,
);
