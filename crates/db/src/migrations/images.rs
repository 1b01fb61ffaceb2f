//! What lists and views of images need: figures of each repository, counted pulls, descriptions, indexes of the orders that are asked for.

use crate::migrate::Migration;

/// Step 4. Programs of before do not count what these tables count, so they are refused from here on.
pub(super) const IMAGES: Migration = Migration::same(
    4,
    r#"
-- `epoch` goes up with each change of descriptions and mutability.
ALTER TABLE repository ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE repository ADD COLUMN full_description TEXT NOT NULL DEFAULT '';
ALTER TABLE repository ADD COLUMN epoch BIGINT NOT NULL DEFAULT 1;
-- Made with its repository. `listed_in`: the registry, while the repository lives and has an artifact, be it in the trash. Each order that a
-- list can have is an index. `artifacts`: those that live. `bytes`: each blob once. `image_bytes`: the sum of all artifacts.
CREATE TABLE repository_figures (
    repository BIGINT PRIMARY KEY,
    listed_in BIGINT,
    name {name} NOT NULL,
    changed BIGINT NOT NULL,
    pulls BIGINT NOT NULL,
    artifacts BIGINT NOT NULL,
    tags BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    image_bytes BIGINT NOT NULL
){by_key};
INSERT INTO repository_figures (repository, listed_in, name, changed, pulls, artifacts, tags, bytes, image_bytes)
SELECT r.id, CASE WHEN r.deletion IS NULL AND EXISTS (SELECT 1 FROM artifact a WHERE a.repository = r.id) THEN r.registry END, r.name,
    COALESCE((SELECT MAX(a.pushed_at) FROM artifact a WHERE a.repository = r.id), r.created), 0,
    (SELECT COUNT(*) FROM artifact a WHERE a.repository = r.id AND a.deletion IS NULL),
    (SELECT COUNT(*) FROM tag t WHERE t.repository = r.id),
    COALESCE((SELECT CAST(SUM(b.size) AS BIGINT) FROM repository_blob l JOIN blob b ON b.id = l.blob WHERE l.repository = r.id), 0),
    COALESCE((SELECT CAST(SUM(a.size) AS BIGINT) FROM artifact a WHERE a.repository = r.id), 0)
    + COALESCE((SELECT CAST(SUM(b.size) AS BIGINT) FROM artifact a JOIN artifact_blob h ON h.artifact = a.id JOIN blob b ON b.id = h.blob
        WHERE a.repository = r.id), 0)
FROM repository r;
CREATE INDEX repository_figures_name ON repository_figures (listed_in, name);
CREATE INDEX repository_figures_changed ON repository_figures (listed_in, changed, name);
CREATE INDEX repository_figures_pulls ON repository_figures (listed_in, pulls, name);
CREATE INDEX repository_figures_bytes ON repository_figures (listed_in, bytes, name);

-- What lies in the trash counts. `tags` and `image_bytes` as those of the registry's repositories.
ALTER TABLE usage ADD COLUMN tags BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN image_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE usage SET
    tags = COALESCE((SELECT CAST(SUM(f.tags) AS BIGINT) FROM repository_figures f JOIN repository r ON r.id = f.repository
        WHERE r.registry = usage.registry), 0),
    image_bytes = COALESCE((SELECT CAST(SUM(f.image_bytes) AS BIGINT) FROM repository_figures f JOIN repository r ON r.id = f.repository
        WHERE r.registry = usage.registry), 0);
-- `tags` and `image_bytes` are added to both; `living`, `own_bytes`, `pulls` and `changed` to the repository alone, as its artifacts and bytes.
ALTER TABLE usage_change ADD COLUMN repository BIGINT;
ALTER TABLE usage_change ADD COLUMN tags BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_change ADD COLUMN image_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_change ADD COLUMN living BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_change ADD COLUMN own_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_change ADD COLUMN pulls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_change ADD COLUMN changed BIGINT;
CREATE INDEX usage_change_registry ON usage_change (registry);
CREATE INDEX usage_change_repository ON usage_change (repository);

-- Beside the artifact, not in it: what pulls remember of artifacts would have to be forgotten with each count.
CREATE TABLE artifact_pull (
    artifact BIGINT PRIMARY KEY,
    pulls BIGINT NOT NULL,
    pulled_at BIGINT NOT NULL
){by_key};
-- `day`: days since 1970, UTC.
CREATE TABLE pull_day (
    repository BIGINT NOT NULL,
    day BIGINT NOT NULL,
    artifact BIGINT NOT NULL,
    pulls BIGINT NOT NULL,
    PRIMARY KEY (repository, day, artifact)
){by_key};
CREATE INDEX pull_day_day ON pull_day (day);

CREATE INDEX artifact_newest ON artifact (repository, pushed_at, id) WHERE deletion IS NULL;
DROP INDEX tag_artifact;
CREATE INDEX tag_artifact ON tag (artifact, name);
CREATE INDEX tag_since ON tag (repository, since, name);
CREATE INDEX deletion_registry ON deletion (registry, id);
"#,
);

#[cfg(test)]
mod tests {
    use crate::{
        Engine,
        dialect::Dialect,
        migrate::{self, Schema},
        migrations::MIGRATIONS,
    };

    fn bring_up(connection: &mut rusqlite::Connection, version: usize) {
        let program = i64::try_from(version).expect("a small number");
        let schema = Schema { steps: &MIGRATIONS[..version], program, oldest_program: program };
        migrate::sqlite(connection, &Dialect::new(Engine::Sqlite, 0), schema).expect("the steps are right");
    }

    /// A registry with two repositories, of which one lies in the trash; in the other an artifact lives and one lies in the trash, both with
    /// one blob.
    const BEFORE: &str = "
        INSERT INTO project (id, name, created) VALUES (1, 'p', 0);
        INSERT INTO bucket (id, name, kind, marker, marking, marked, created) VALUES (1, 'b', 'directory', '', 0, TRUE, 0);
        INSERT INTO deletion (id, kind, registry, subject, made_by, made_at, until) VALUES (1, 'artifact', 1, '', '', 0, 0);
        INSERT INTO registry (id, project, name, kind, bucket, private_id, description, public_endpoint, public_pull, epoch, created)
            VALUES (1, 1, 'r', 'standard', 1, 'x', '', TRUE, FALSE, 0, 0);
        INSERT INTO usage (registry, repositories, artifacts, bytes) VALUES (1, 2, 3, 100);
        INSERT INTO repository (id, registry, name, mutable_tags, created, deletion)
            VALUES (1, 1, 'app', TRUE, 5, NULL), (2, 1, 'old', TRUE, 5, 1), (3, 1, 'new', TRUE, 5, NULL);
        INSERT INTO blob (id, bucket, digest, size, object_key, created) VALUES (1, 1, x'01', 100, 'k', 0);
        INSERT INTO repository_blob (repository, blob, since, hidden) VALUES (1, 1, 0, FALSE);
        INSERT INTO manifest (id, digest, body) VALUES (1, x'02', x''), (2, x'03', x'');
        INSERT INTO artifact (id, repository, manifest, media_type, kind, size, layer_size, pushed_at, pushed_by, deletion)
            VALUES (1, 1, 1, '', 'image', 7, 100, 20, '', NULL), (2, 1, 2, '', 'image', 8, 100, 30, '', 1), (3, 2, 1, '', 'image', 7, 0, 10, '', NULL);
        INSERT INTO artifact_blob (artifact, repository, blob) VALUES (1, 1, 1), (2, 1, 1);
        INSERT INTO tag (repository, name, artifact, since, set_by) VALUES (1, 'a', 1, 0, ''), (1, 'b', 1, 0, ''), (2, 'a', 3, 0, '');";

    #[test]
    fn what_was_there_before_is_counted() {
        let mut connection = rusqlite::Connection::open_in_memory().expect("memory");
        bring_up(&mut connection, 3);
        connection.execute_batch(BEFORE).expect("the tables of step 3");
        bring_up(&mut connection, 4);
        let sql = "SELECT name, listed_in, changed, artifacts, tags, bytes, image_bytes FROM repository_figures ORDER BY repository";
        let mut statement = connection.prepare(sql).expect("the tables of step 4");
        let rows = statement.query_map([], |row| {
            let figures = (2..7).map(|column| row.get::<_, i64>(column)).collect::<Result<Vec<_>, _>>()?;
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, figures))
        });
        let rows: Vec<_> = rows.expect("rows").collect::<Result<_, _>>().expect("rows");
        let expected = [
            ("app", Some(1), vec![30, 1, 2, 100, 215]),
            ("old", None, vec![10, 1, 1, 0, 7]),
            ("new", None, vec![5, 0, 0, 0, 0]),
        ];
        assert_eq!(rows, expected.map(|(name, listed, figures)| (name.to_owned(), listed, figures)));
        let usage =
            connection.query_row("SELECT tags, image_bytes FROM usage", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(usage.expect("a row"), (3_i64, 222_i64));
    }
}
