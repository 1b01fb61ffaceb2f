//! Who may use whom (ARCHITECTURE.md): nothing points up, and only `db` speaks SQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

const OURS: &str = "roadstead-";

/// Each crate with those of ours that it may use. A new crate must be entered here.
const MAY_USE: [(&str, &[&str]); 16] = [
    ("model", &[]),
    ("machine", &[]),
    ("cli", &[]),
    ("db", &["model"]),
    ("blobs", &["machine", "model"]),
    ("outgoing", &[]),
    ("oidc", &["outgoing"]),
    ("access", &["model", "db", "oidc"]),
    ("registry", &["model", "db", "blobs"]),
    ("http-oci", &["model", "db", "blobs", "access", "registry"]),
    ("http-api", &["model", "db", "access", "registry", "http-oci"]),
    (
        "server",
        &["machine", "model", "cli", "db", "blobs", "outgoing", "oidc", "access", "registry", "http-oci", "http-api"],
    ),
    ("testkit", &[]),
    ("trials", &["testkit"]),
    ("bench", &["testkit"]),
    ("fuzzing", &["model", "access", "http-oci", "server"]),
];

fn metadata() -> Metadata {
    MetadataCommand::new().no_deps().other_options(["--offline".to_owned()]).exec().unwrap()
}

/// Names of direct dependencies by crate, both without our prefix.
fn dependencies(kinds: &[DependencyKind]) -> BTreeMap<String, BTreeSet<String>> {
    let short = |name: &str| name.strip_prefix(OURS).unwrap_or(name).to_owned();
    let of = |package: &cargo_metadata::Package| {
        let used = package.dependencies.iter().filter(|dependency| kinds.contains(&dependency.kind));
        used.map(|dependency| short(&dependency.name)).collect()
    };
    metadata().workspace_packages().iter().map(|package| (short(&package.name), of(package))).collect()
}

#[test]
fn nothing_points_up() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    let names: BTreeSet<&str> = allowed.keys().copied().collect();
    for (name, used) in dependencies(&[DependencyKind::Normal, DependencyKind::Build]) {
        let Some(allowed) = allowed.get(name.as_str()) else { panic!("the crate {name} has no place in MAY_USE") };
        for used in used.iter().filter(|used| names.contains(used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{name} must not use {used}");
        }
    }
}

#[test]
fn the_test_kit_is_for_tests() {
    for (name, used) in dependencies(&[DependencyKind::Normal, DependencyKind::Build]) {
        // Programs that test or measure.
        let may = ["trials", "bench"].contains(&name.as_str());
        assert!(may || !used.contains("testkit"), "{name} uses the test kit outside its tests");
    }
}

#[test]
fn only_db_speaks_to_a_database() {
    for (name, used) in dependencies(&[DependencyKind::Normal, DependencyKind::Build]) {
        for driver in ["rusqlite", "libsqlite3-sys", "tokio-postgres", "deadpool-postgres", "sqlx", "diesel"] {
            // The trials' audit and the bench's large database go past `db`, see below.
            let may = ["db", "testkit", "trials", "bench"].contains(&name.as_str());
            assert!(may || !used.contains(driver), "{name} uses {driver}");
        }
    }
}

#[test]
fn only_the_web_crates_know_a_status_code() {
    // `blobs` reads those of the object storage, whose client it is.
    for (path, text) in sources(&["http-oci", "http-api", "server", "testkit", "blobs"]) {
        assert!(!text.contains("StatusCode"), "{path} knows a status code");
    }
    for (name, used) in dependencies(&[DependencyKind::Normal]) {
        let web = ["http-oci", "http-api", "server", "testkit"].contains(&name.as_str());
        for library in ["hyper", "hyper-util", "axum"] {
            assert!(web || !used.contains(library), "{name} uses {library}");
        }
    }
}

#[test]
fn only_db_holds_sql() {
    for (path, text) in sources(&["db", "testkit"]) {
        // They examine what `db` wrote, so they must not read it through `db`; a million tags can't be pushed.
        let past_db = [
            "trials/src/audit.rs",
            "trials/src/growth/sample.rs",
            "trials/src/power/lossy/tests.rs",
            "bench/src/large.rs",
        ];
        if past_db.iter().any(|file| path.ends_with(file)) {
            continue;
        }
        for sql in ["SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE "] {
            assert!(!text.contains(sql), "{path} holds SQL: {sql}");
        }
    }
}

/// The workspace forbids it.
#[test]
fn only_machine_has_unsafe_code() {
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let as_the_workspace = manifest.contains("[lints]\nworkspace = true");
        assert!(
            as_the_workspace || package.name.as_str() == "roadstead-machine",
            "{} has lints of its own",
            package.name
        );
    }
}

#[test]
fn only_the_server_reads_the_environment() {
    for (path, text) in sources(&["server", "testkit"]) {
        for reading in ["env::var", "env::args", "env::vars"] {
            assert!(!text.contains(reading), "{path} reads the environment");
        }
    }
}

/// The text of every source file of the crates but these, tests at the end of files left out.
fn sources(but: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in metadata().workspace_packages() {
        let name = package.name.strip_prefix(OURS).unwrap_or(&package.name);
        if !but.contains(&name) {
            let folder = package.manifest_path.parent().unwrap();
            collect(folder.join("src").as_std_path(), &mut found);
        }
    }
    assert!(found.len() > 10, "the sources were not found");
    found
}

fn collect(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !tests {
            collect(&path, found);
        } else if !tests && path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            found.push((path.display().to_string(), text));
        }
    }
}
