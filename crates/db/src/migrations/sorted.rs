//! What lists are sorted by.

use crate::migrate::Migration;

/// Repositories that are on no list are in no index for its orders: what is pushed to one before its first artifact writes none of them.
pub(super) const SORTED: Migration = Migration::same(
    9,
    r#"
DROP INDEX repository_figures_changed;
DROP INDEX repository_figures_pulls;
DROP INDEX repository_figures_bytes;
CREATE INDEX repository_figures_changed ON repository_figures (listed_in, changed, name) WHERE listed_in IS NOT NULL;
CREATE INDEX repository_figures_pulls ON repository_figures (listed_in, pulls, name) WHERE listed_in IS NOT NULL;
CREATE INDEX repository_figures_bytes ON repository_figures (listed_in, bytes, name) WHERE listed_in IS NOT NULL;
"#,
);
