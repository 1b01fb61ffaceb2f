//! The audit log of a project, and refused access keys.

use crate::migrate::Migration;

/// Lines of before belong to no project.
pub(super) const AUDIT: Migration = Migration::same(
    6,
    r#"
-- The project that a line is about. It may be gone, and a later one of its name is another one: no key.
ALTER TABLE audit ADD COLUMN project BIGINT;
CREATE INDEX audit_project ON audit (project, id) WHERE project IS NOT NULL;
CREATE INDEX audit_key_refused ON audit (object, at) WHERE what = 'key.refused';
"#,
);
