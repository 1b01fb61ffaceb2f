//! What an operator may rely on when they configure the service.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::settings::all;
use super::*;

fn load(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("roadstead.toml");
    std::fs::write(&path, file).expect("a file");
    let sources = Sources {
        file: Some(path),
        environment: environment.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))).collect(),
        flags: flags.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
    };
    Config::load(&sources).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(file: &str, environment: &[(&str, &str)], words: &[&str]) -> String {
    let error = load(file, environment, &[]).map(|_| ()).expect_err("a refusal");
    for word in words {
        assert!(error.contains(word), "{word:?} is missing in: {error}");
    }
    error
}

#[test]
fn a_name_of_a_megabyte_is_refused_like_any_other() {
    let name = "x".repeat(1 << 20);
    refused(&format!("{name} = 1"), &[(&format!("ROADSTEAD_{name}"), "1")], &["no such setting", "no such variable"]);
}

#[test]
fn nothing_needs_to_be_configured() {
    let config = Config::load(&Sources::default()).expect("the defaults");
    assert_eq!(config.general.listen, ["127.0.0.1:5000".parse().expect("an address")]);
    assert_eq!(config.general.data_dir, PathBuf::from("./roadstead-data"));
    assert!(config.general.trusted_proxies.is_empty());
    assert_eq!(config.directory_of(&config.bucket), PathBuf::from("./roadstead-data"));
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = "data_dir = 'file'\n[limits]\ndrain_seconds = 1\nheader_seconds = 1";
    let environment = [("ROADSTEAD_DATA_DIR", "variable"), ("ROADSTEAD_LIMITS_DRAIN_SECONDS", "2")];
    let config = load(file, &environment, &[("data_dir", "flag")]).expect("right");
    assert_eq!(config.general.data_dir, PathBuf::from("flag"));
    assert_eq!((config.limits.drain_seconds, config.limits.header_seconds, config.limits.connections), (2, 1, 10_000));
}

#[test]
fn a_list_is_an_array_in_the_file_and_has_commas_in_the_environment() {
    let file = load("listen = ['127.0.0.1:1', '[::1]:2']", &[], &[]).expect("right");
    let variable = load("", &[("ROADSTEAD_LISTEN", "127.0.0.1:1, [::1]:2")], &[]).expect("right");
    assert_eq!(file.general.listen, variable.general.listen);
    assert_eq!(file.general.listen.len(), 2);
}

#[test]
fn a_slip_in_a_name_is_refused_with_the_name_that_was_meant() {
    refused("[database]\npol = 3", &[], &["database.pol ", "did you mean database.pool?", "roadstead.toml"]);
    refused("drain_seconds = 3", &[], &["did you mean limits.drain_seconds?"]);
    refused("[databse]\nurl = 'x'", &[], &["databse", "there is no such setting"]);
    refused("", &[("ROADSTEAD_LISTN", "x")], &["ROADSTEAD_LISTN", "did you mean ROADSTEAD_LISTEN?"]);
    refused("", &[("ROADSTEAD_DRAIN_SECONDS", "x")], &["did you mean ROADSTEAD_LIMITS_DRAIN_SECONDS?"]);
    refused("", &[("ROADSTEAD_WHOLLY_STRANGE", "x")], &["ROADSTEAD_WHOLLY_STRANGE", "config reference"]);
    refused("database = 'postgres://x'", &[], &["[database]"]);
}

#[test]
fn a_wrong_value_is_refused_with_what_was_given_and_what_would_be_right() {
    refused("[limits]\ndrain_seconds = 'soon'", &[], &["limits.drain_seconds", "\"soon\"", "from 0 to 86400"]);
    refused("", &[("ROADSTEAD_LISTEN", ":5000")], &["ROADSTEAD_LISTEN", "\":5000\"", "0.0.0.0:5000"]);
    refused("listen = 5000", &[], &["listen", "5000"]);
    refused("[database]\npool = [1]", &[], &["database.pool", "a list is wrong"]);
    refused("[bucket]\nkind = 'S3'", &[], &["`directory`, `s3`, `gcs`, `azure`"]);
    refused("external_url = 'https://x.example/path'", &[], &["external_url", "without a path"]);
    refused("domain = 'Example.com:5000'", &[], &["domain", "lower case and without a port"]);
    refused("[initial]\nregistry = 'X'", &[], &["initial.registry", "3 to 30"]);
    refused("[token]\nlifetime_seconds = 43201", &[], &["to 43200"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let error = refused("a = 1\n[limits]\nconnections = 0", &[("ROADSTEAD_B", "1")], &["3 places"]);
    assert_eq!(error.lines().count(), 4, "{error}");
}

#[test]
fn a_secret_is_never_repeated() {
    let error =
        refused("secret_key = 'hunter2'", &[("ROADSTEAD_DATABASE_URL", "hunter2")], &["secret_key", "database.url"]);
    assert!(!error.contains("hunter2"), "{error}");
    let error = refused("secret_access_key = hunter2", &[], &["not TOML", "line 1"]);
    assert!(!error.contains("hunter2"), "{error}");
    let config = load("[database]\nurl = 'postgres://u:hunter2@h/d'", &[], &[]).expect("right");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_further_bucket_has_the_settings_of_the_first_under_its_name() {
    let file = "[buckets.archive]\nkind = 's3'\nname = 'x'\n[buckets.cold]\npath = '/cold'";
    let environment = [
        ("ROADSTEAD_BUCKETS_ARCHIVE_SIGNING_ENDPOINT", "https://s3.example.com"),
        ("ROADSTEAD_BUCKETS_FAR_AWAY_PATH", "/far"),
    ];
    let config = load(file, &environment, &[]).expect("right");
    let names: Vec<_> = config.all_buckets().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["default", "archive", "cold", "far-away"]);
    let archive = &config.buckets[&"archive".parse().expect("a name")];
    assert_eq!((archive.kind, archive.name.as_deref(), archive.part_mib), (BucketType::S3, Some("x"), 16));
    assert_eq!(archive.signing_endpoint.as_deref(), Some("https://s3.example.com"));

    refused("[buckets.archive]\nkind = 's3'", &[], &["buckets.archive.kind", "buckets.archive.name is not set"]);
    refused("[buckets.archive]\nknd = 's3'", &[], &["did you mean buckets.archive.kind?"]);
    refused("[buckets.archive]\nkind = 's4'", &[], &["buckets.archive.kind", "\"s4\""]);
    refused("[buckets.archive]", &[], &["buckets.archive.path is not set"]);
    refused("[buckets.default]\npath = '/x'", &[], &["[buckets.default]", "[bucket]"]);
    refused("[buckets.Archive]\npath = '/x'", &[], &["[buckets.Archive]", "lower-case"]);
    refused("[buckets]\narchive = '/x'", &[], &["[buckets.archive]"]);
    refused("[bucket]\nexclusive = true", &[], &["bucket.exclusive", "all registries", "[buckets.NAME]"]);
    let own = load("[buckets.own]\nexclusive = true\npath = '/own'", &[], &[]).expect("right");
    assert!(own.buckets[&"own".parse().expect("a name")].exclusive && !own.bucket.exclusive);
    refused("", &[("ROADSTEAD_BUCKETS_ARCHIVE_KNID", "s3")], &["ROADSTEAD_BUCKETS_ARCHIVE_KNID"]);
    refused("[buckets.a]\npath = '/x'\n[buckets.b]\npath = '/x/'", &[], &["the same place"]);
    refused("data_dir = '/x'\n[buckets.a]\npath = '/x'", &[], &["the same place"]);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    refused("[tls]\ncertificate = 'a'", &[], &["tls.key"]);
    refused("[tls]\nkey = 'a'", &[], &["tls.certificate"]);
    refused("[bucket]\nkind = 's3'", &[], &["bucket.name"]);
    refused("[bucket]\nname = 'x'", &[], &["bucket.kind = \"s3\""]);
    refused("[bucket]\nkind = 's3'\nname = 'x'\naccess_key_id = 'x'", &[], &["bucket.secret_access_key"]);
    refused("[bucket]\npart_mib = 512\n[limits]\nmemory_mib = 512", &[], &["limits.memory_mib"]);
    refused("[metrics]\nlisten = '127.0.0.1:5000'", &[], &["metrics.listen"]);
    refused("", &[("ROADSTEAD_INITIAL_KEY_ID", "abc")], &["initial.key_secret"]);
    refused("region = 'kr1'", &[], &["domain"]);
}

#[test]
fn groups_give_roles_in_places() {
    let given = "[oidc]\nissuer = 'https://login.example.com/'\nclient_id = 'x'\nroles = ['/a:b:project:shop:manager', 'c:registry:shop-images:viewer']";
    let config = load(given, &[], &[]).expect("right");
    assert_eq!(config.oidc.issuer.as_deref(), Some("https://login.example.com/"), "it is compared letter by letter");
    let groups: Vec<_> = config.oidc.roles.iter().map(|it| (it.group.as_str(), it.role.name())).collect();
    assert_eq!(groups, [("/a:b", "manager"), ("c", "viewer")]);
    for wrong in [
        "a:project:shop:owner",
        "a:team:shop:viewer",
        "a:project:S:viewer",
        "project:shop:viewer",
        ":project:shop:viewer",
    ] {
        refused(&format!("[oidc]\nroles = ['{wrong}']"), &[], &["oidc.roles", "GROUP:project:PROJECT:ROLE"]);
    }
}

#[test]
fn issuers_outside_speak_https() {
    refused("[oidc]\nissuer = 'http://login.example.com'\nclient_id = 'x'", &[], &["oidc.internal"]);
    refused("[oidc]\nissuer = 'https://login.example.com'", &[], &["oidc.client_id"]);
    refused("[oidc]\nmake_people = true", &[], &["oidc.issuer"]);
    refused("[oidc]\nscopes = ['email']", &[], &["oidc.scopes", "`openid`"]);
    refused("[ci]\nissuers = ['http://ci.example.com']", &[], &["ci.internal_issuers"]);
    refused("[ci]\nissuers = ['https://a.example?x']", &[], &["ci.issuers", "without `?`"]);
    refused("[ci]\nissuers = ['https://a.example']\ninternal_issuers = ['https://a.example']", &[], &["twice"]);
    refused("[ci]\nlogin_seconds = 43201", &[], &["to 43200"]);
    assert!(load("[ci]\ninternal_issuers = ['http://ci.internal']", &[], &[]).is_ok());
}

#[test]
fn what_kubernetes_adds_for_a_service_of_our_name_does_no_harm() {
    let added = [
        ("ROADSTEAD_PORT", "tcp://10.0.0.1:5000"),
        ("ROADSTEAD_SERVICE_HOST", "10.0.0.1"),
        ("ROADSTEAD_PORT_5000_TCP", "x"),
    ];
    assert!(load("", &added, &[]).is_ok());
}

#[test]
fn every_setting_has_a_variable_of_its_own_and_a_sentence() {
    let settings = all();
    let variables: HashSet<_> = settings.iter().map(|setting| setting.variable()).collect();
    assert_eq!(variables.len(), settings.len());
    for setting in &settings {
        assert!(setting.doc.ends_with('.'), "{}: {}", setting.name, setting.doc);
    }
}

#[test]
fn the_committed_reference_is_the_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let committed = std::fs::read_to_string(&path).expect("docs/configuration.md");
    assert!(
        committed == reference(),
        "docs/configuration.md differs from the code: run `cargo run -- config reference > docs/configuration.md`"
    );
}
