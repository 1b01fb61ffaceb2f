//! Which of the outside engines this machine has, and the one line for each that says what was left out.

use std::{
    collections::BTreeSet,
    io::Write,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use crate::{Postgres, S3, process::find_program};

/// Both of the scale-out engines: PostgreSQL and an S3.
pub fn scale_out() -> Option<(&'static Postgres, &'static S3)> {
    // Both are asked for, so that the line names both.
    let (postgres, s3) = (Postgres::shared(), S3::shared());
    if postgres.is_none() || s3.is_none() {
        let missing = [(postgres.is_none(), "PostgreSQL"), (s3.is_none(), "SeaweedFS (`weed`)")];
        let missing: Vec<&str> = missing.iter().filter(|m| m.0).map(|m| m.1).collect();
        left_out(&missing.join(" and "));
        return None;
    }
    postgres.zip(s3)
}

/// PostgreSQL alone.
pub fn postgres() -> Option<&'static Postgres> {
    let postgres = Postgres::shared();
    if postgres.is_none() {
        left_out("PostgreSQL");
    }
    postgres
}

/// S3 alone.
pub fn s3() -> Option<&'static S3> {
    let s3 = S3::shared();
    if s3.is_none() {
        left_out("SeaweedFS (`weed`)");
    }
    s3
}

/// nginx, which Debian puts where only root's `PATH` goes.
pub fn nginx() -> Option<PathBuf> {
    let found = find_program("nginx", &["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    if found.is_none() {
        left_out("nginx");
    }
    found
}

/// A program, wherever `PATH` leads.
pub fn program(name: &str) -> Option<PathBuf> {
    let found = find_program(name, &[]);
    if found.is_none() {
        left_out(name);
    }
    found
}

/// Says once what is missing, past the capture of test output; or fails where everything is required.
pub(crate) fn left_out(missing: &str) {
    assert!(
        std::env::var("ROADSTEAD_TEST_REQUIRE").as_deref() != Ok("all"),
        "ROADSTEAD_TEST_REQUIRE=all, and this machine has no {missing}"
    );
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(missing.to_owned()) {
        let line = format!("\nleft out: the tests that need {missing} (not found; see CONTRIBUTING.md)\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
