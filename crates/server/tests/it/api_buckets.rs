//! Buckets through the management API: which there are, what lies in them, and whether they do what is needed.

use roadstead_testkit::{
    Client, S3Fault, S3Proxy, Server, Setup, SmallDisk, engines, random_bytes,
    server::{REGISTRY, bucket_environment},
    until,
};
use serde_json::{Value, json};

use crate::{
    management::{person, role, send},
    scene::{Engine, Storage, on_both_engines, with_cluster},
};

on_both_engines!(api_buckets_are_counted_and_tried, api_a_bucket_in_trouble_is_seen, api_registries_have_a_status);

fn api_buckets_are_counted_and_tried(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let default = || root.get("/api/v1/buckets/default").expect(200).json();
    let before = default();
    assert_eq!((&before["default"], &before["configured"]), (&json!(true), &json!(true)));
    let kind = if matches!(storage.engine, Engine::S3) { "s3" } else { "directory" };
    assert_eq!(before["kind"], kind);
    let bytes = vec![7; 40_000];
    root.push_blob(&format!("{REGISTRY}/app"), &bytes);
    let after = default();
    let more = |name: &str| after[name].as_i64().unwrap() - before[name].as_i64().unwrap();
    assert_eq!((more("registries"), more("bytes")), (0, 40_000));
    let listed = root.get("/api/v1/buckets").expect(200).json();
    assert_eq!(listed["items"], Value::Array(vec![after]));
    let tried = root.post("/api/v1/buckets/default/check").expect(200).json();
    assert_eq!(tried, json!({"works": true}));
    // What the trial wrote is gone, and nothing of it counts.
    assert_eq!(default()["bytes"].as_i64().unwrap() - before["bytes"].as_i64().unwrap(), 40_000);
    for absent in ["elsewhere", "%00"] {
        root.get(&format!("/api/v1/buckets/{absent}")).expect(404);
        root.post(&format!("/api/v1/buckets/{absent}/check")).expect(404);
    }
}

/// Buckets are tried from time to time.
const OFTEN: (&str, &str) = ("ROADSTEAD_BUCKET_CHECK_MINUTES", "60");

/// Something that can be in the way of a bucket.
enum Way {
    Disk(SmallDisk),
    Store(S3Proxy),
}

impl Way {
    /// One for the default bucket of a server that is set up as the answer says. `None`: this machine does not allow it.
    fn of(storage: &Storage) -> Option<(Self, Setup)> {
        let setup = storage.setup().set(OFTEN.0, OFTEN.1);
        Some(match storage.engine {
            Engine::Directory => {
                let disk = SmallDisk::mount("size=64m")?;
                let path = disk.path().join("bucket").display().to_string();
                // One that is not shared has a file open, to hold it: then the disk can't be made read-only.
                let setup = setup.set("ROADSTEAD_BUCKET_PATH", &path).set("ROADSTEAD_BUCKET_SHARED", "true");
                (Self::Disk(disk), setup)
            }
            Engine::S3 => {
                let proxy = S3Proxy::new(engines::s3().expect("the storage has one").address());
                let endpoint = proxy.endpoint();
                (Self::Store(proxy), setup.set("ROADSTEAD_BUCKET_ENDPOINT", &endpoint))
            }
        })
    }

    /// Nothing can be written any more. A part of what the check then says.
    fn forbid(&self) -> &'static str {
        match self {
            Self::Disk(disk) => {
                disk.set_read_only(true);
                "Read-only file system"
            }
            Self::Store(proxy) => {
                for method in ["PUT", "POST"] {
                    proxy.fail(method, "", S3Fault::Answer(403, "AccessDenied"), u64::MAX);
                }
                "AccessDenied"
            }
        }
    }

    fn allow(&self) {
        match self {
            Self::Disk(disk) => disk.set_read_only(false),
            Self::Store(proxy) => proxy.clear(),
        }
    }
}

/// The status of a registry in the list.
fn listed(client: &Client, registry: &str) -> Value {
    let all = client.get("/api/v1/registries").expect(200).json();
    let found = all["items"].as_array().unwrap().iter().find(|it| it["name"] == registry);
    found.expect("it is listed")["status"].clone()
}

/// The status of a registry, which the list gives too.
#[track_caller]
fn status(client: &Client, registry: &str) -> Value {
    let shown = client.get(&format!("/api/v1/registries/{registry}")).expect(200).json();
    assert_eq!(listed(client, registry), shown["status"]);
    shown["status"].clone()
}

/// A new bucket is tried by itself. One that can't be written is in trouble, in plain words for system administrators, and its registries
/// with it for everybody who sees them, until it is found to work again.
fn api_a_bucket_in_trouble_is_seen(storage: &Storage) {
    let Some((way, setup)) = Way::of(storage) else { return };
    let server = Server::start(setup);
    let root = server.client();
    let bucket = || root.get("/api/v1/buckets/default").expect(200).json();
    until("the new bucket was tried", || bucket()["checked"].is_string().then_some(()));
    assert_eq!((&bucket()["trouble"], &bucket()["warning"]), (&Value::Null, &Value::Null));
    let viewer = person(&root, "vera");
    role(&root, &format!("registries/{REGISTRY}"), "vera", "viewer");
    assert_eq!(status(&viewer, REGISTRY), "ready");

    let words = way.forbid();
    let tried = root.post("/api/v1/buckets/default/check").expect(200).json();
    assert_eq!(tried["works"], false);
    assert!(tried["trouble"].as_str().is_some_and(|said| said.contains(words) && !said.contains('<')), "{tried}");
    assert_eq!(bucket()["trouble"], tried["trouble"]);
    assert_eq!(status(&viewer, REGISTRY), "bucket_trouble");
    viewer.get("/api/v1/buckets/default").expect(403);

    way.allow();
    assert_eq!(root.post("/api/v1/buckets/default/check").expect(200).json(), json!({"works": true}));
    assert_eq!(bucket()["trouble"], Value::Null);
    assert_eq!(status(&viewer, REGISTRY), "ready");
}

fn api_registries_have_a_status(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/projects/team", &json!({})).expect(201);
    for name in ["team-one", "team-two"] {
        send(&root, "PUT", &format!("/registries/{name}"), &json!({"project": "team"})).expect(201);
    }
    root.push_blob("team-one/app", &random_bytes(60_000));
    let quotas = |place: &str, quotas: Value| {
        send(&root, "PUT", &format!("/{place}/quotas"), &quotas).expect(200);
    };
    let both = || (status(&root, "team-one"), status(&root, "team-two"));
    assert_eq!(both(), (json!("ready"), json!("ready")));
    quotas("registries/team-one", json!({"repositories": 10, "bytes": 60_000}));
    assert_eq!(both(), (json!("ready"), json!("ready")), "full is not over");
    quotas("registries/team-one", json!({"repositories": 10, "bytes": 59_999}));
    assert_eq!(both(), (json!("over_quota"), json!("ready")));
    quotas("registries/team-one", json!({"repositories": 10}));
    quotas("projects/team", json!({"registries": 10, "bytes": 59_999}));
    assert_eq!(both(), (json!("over_quota"), json!("over_quota")), "of the project, whichever has the bytes");
    send(&root, "DELETE", "/registries/team-two", &Value::Null).expect(204);
    assert_eq!((status(&root, "team-one"), listed(&root, "team-two")), (json!("over_quota"), json!("in_deletion")));
    quotas("projects/team", json!({"registries": 10, "bytes": 60_000}));
    assert_eq!(status(&root, "team-one"), "ready");
}

/// A bucket that comes with a rule that will remove images: it is in trouble as soon as it was added, and its registries alone.
#[test]
fn api_a_bucket_with_a_removing_rule_is_in_trouble() {
    with_cluster(|cluster| {
        let s3 = engines::s3().expect("the cluster has one");
        let archive = s3.bucket();
        s3.set_lifecycle(
            &archive,
            "<Rule><ID>old</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>",
        );
        let setup = Setup::node(crate::scene::BINARY, cluster).set(OFTEN.0, OFTEN.1);
        let settings = bucket_environment(s3, &archive).into_iter();
        let setup = settings.fold(setup, |setup, (name, value)| {
            setup.set(&name.replace("ROADSTEAD_BUCKET_", "ROADSTEAD_BUCKETS_ARCHIVE_"), &value)
        });
        let server = Server::start(setup);
        let root = server.client();
        server.run(&["registry", "create", "far", "--bucket", "archive"]).ok();
        let trouble = until("the new bucket was tried", || {
            let shown = root.get("/api/v1/buckets/archive").expect(200).json();
            shown["trouble"].as_str().map(str::to_owned)
        });
        assert!(trouble.contains("life-cycle rule \"old\""), "{trouble}");
        assert_eq!((status(&root, "far"), status(&root, REGISTRY)), (json!("bucket_trouble"), json!("ready")));
    });
}
