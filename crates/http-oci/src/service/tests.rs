//! A walk through the whole API on SQLite and a directory: what no unit test of a piece can see. The full list of the protocol's rules
//! is tested from outside, over sockets.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use roadstead_access::{AccessOptions, FirstKey};
use roadstead_blobs::{Bucket, BucketKind, BucketOptions, MemoryBudget};
use roadstead_db::{DatabaseUrl, Db, DbError, Options, registry};
use roadstead_model::{Algorithm, Digest};
use serde_json::Value;

use super::*;

struct World {
    service: OciService,
    _directory: tempfile::TempDir,
}

/// An answer, read to its end.
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    label: Option<CallerLabel>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().expect("a code").to_owned()
    }
}

const KEY: &str = "admin-key";
const SECRET: &str = "a-secret-of-the-test";

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = Options {
            url: DatabaseUrl::Sqlite(directory.path().join("db")),
            pool: 4,
            allow_fsync_off: false,
            clock_offset_micros: 0,
            ca_certificates: Vec::new(),
            answer_within: Options::ANSWER,
            alone: true,
        };
        let db = Db::open(options).await.expect("a database");
        let kind = BucketKind::Directory { path: directory.path().join("bucket"), shared: false };
        let bucket = Bucket::open(BucketOptions::new(kind), MemoryBudget::new(64)).await.expect("a bucket");
        let core = Core::open(db.clone(), bucket, roadstead_registry::Options::default()).await.expect("a core");
        let access = Access::open(db.clone(), AccessOptions::new([7; 32])).await.expect("access");
        let first = FirstKey { key_id: Some(KEY.into()), secret: Some(SECRET.into()) };
        access.keys().first_administrator(first).await.expect("a key").expect("the first one");
        let new = registry::NewRegistry {
            project: "project".parse().expect("a name"),
            name: "team".parse().expect("a name"),
            bucket: core.default_bucket(),
            alone: false,
            private_id: "private".into(),
            description: String::new(),
            public_pull: false,
            public_endpoint: true,
            by: roadstead_db::audit::By::name("test"),
        };
        let made = db.write(new, |tx, new| Box::pin(registry::create(tx, new))).await;
        made.map_err(|error: DbError| error).expect("a registry");
        let naming = Naming { domain: Some("example.com".into()), ..Naming::default() };
        let settings = Settings { naming, manifest_bytes: 4 << 20, redirect: true, private_redirect: true };
        Self { service: OciService::new(core, access, settings), _directory: directory }
    }

    /// `headers` may name `host`; credentials are the administrator's unless `authorization` is among them (empty = none).
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Seen {
        let basic = format!("Basic {}", STANDARD.encode(format!("{KEY}:{SECRET}")));
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "r.test:5000");
        }
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", basic);
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-length", body.len());
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("a request");
        let remote = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let connection = Connection { remote, client: remote.ip(), tls: false, reach: Reach::Public };
        let ((parts, body), id) = (request.into_parts(), RequestId("r-1".into()));
        let (response, label) = self.service.handle(&parts, body, &connection, &id).await;
        let (parts, body) = response.into_parts();
        let announced = body.size();
        let body = body.collect().await.expect("a body").to_bytes();
        assert_eq!(body.len() as u64, announced, "{method} {path}: the size of the body is what it said");
        assert_eq!(parts.headers["docker-distribution-api-version"], "registry/2.0", "{method} {path}");
        let seen = Seen { status: parts.status, headers: parts.headers, body, label };
        match seen
            .headers
            .get(header::CONTENT_LENGTH)
            .map(|it| it.to_str().expect("text").parse::<u64>().expect("a size"))
        {
            None => assert!(matches!(seen.status.as_u16(), 204 | 304), "{method} {path}: no Content-Length"),
            Some(length) if method != "HEAD" => assert_eq!(length, announced, "{method} {path}"),
            Some(_) => assert_eq!(announced, 0, "{method} {path}: a body for HEAD"),
        }
        seen
    }

    async fn get(&self, path: &str) -> Seen {
        self.send("GET", path, &[], b"").await
    }

    async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let seen = self.send("POST", &format!("/v2/{name}/blobs/uploads/?digest={digest}"), &[], bytes).await;
        assert_eq!(seen.status, 201, "{:?}", seen.body);
        assert_eq!(seen.header("location"), format!("/v2/{name}/blobs/{digest}"));
        digest
    }
}

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest(config: &Digest, layer: &Digest, subject: Option<&Digest>) -> String {
    let subject = subject.map_or(String::new(), |digest| {
        format!(
            r#","artifactType":"application/x+json","subject":{{"mediaType":"{OCI}","digest":"{digest}","size":2}}"#
        )
    });
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":1000}}]{subject}}}"#
    )
}

/// protocol.md D1, D5-D9, D13-D15, D17, D19b.
#[tokio::test]
async fn an_upload_in_chunks() {
    let world = World::new().await;
    let begun = world.send("POST", "/v2/team/app/blobs/uploads/", &[("content-type", "application/json")], b"").await;
    assert_eq!((begun.status.as_u16(), begun.header("range")), (202, "0-0"));
    let location = begun.header("location").to_owned();
    assert!(location.starts_with("/v2/team/app/blobs/uploads/"));
    assert_eq!(location.rsplit('/').next(), Some(begun.header("docker-upload-uuid")));
    assert_eq!(begun.label, Some(CallerLabel(KEY.into())));

    let status = world.get(&location).await;
    assert_eq!((status.status.as_u16(), status.header("range")), (204, "0-0"));
    let first = world.send("PATCH", &location, &[("content-range", "0-3")], b"0123").await;
    assert_eq!((first.status.as_u16(), first.header("range")), (202, "0-3"));
    assert_eq!(first.header("location"), location);
    for (range, body) in [("0-3", "0123"), ("9-9", "9"), ("nonsense", "45"), ("4-9", "45")] {
        let wrong = world.send("PATCH", &location, &[("content-range", range)], body.as_bytes()).await;
        assert_eq!((wrong.status.as_u16(), wrong.header("range")), (416, "0-3"), "{range}");
        assert_eq!((wrong.header("location"), wrong.code().as_str()), (location.as_str(), "BLOB_UPLOAD_INVALID"));
    }
    let status = world.get(&format!("{location}?_state=old")).await;
    assert_eq!((status.status.as_u16(), status.header("range")), (204, "0-3"));

    let digest = Digest::of(Algorithm::Sha512, b"0123456789");
    assert_eq!(world.send("PUT", &location, &[], b"").await.code(), "DIGEST_INVALID");
    let put = format!("{location}?digest={}", digest.to_string().replace(':', "%3A"));
    let wrong = world.send("PUT", &put, &[("content-range", "5-9")], b"56789").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("range")), (416, "0-3"));
    for _ in 0..2 {
        let done = world.send("PUT", &put, &[("content-range", "4-9")], b"456789").await;
        assert_eq!(done.status, 201, "{:?}", done.body);
        assert_eq!(done.header("docker-content-digest"), digest.to_string());
        assert_eq!(done.header("location"), format!("/v2/team/app/blobs/{digest}"));
    }
    let back = world.get(&format!("/v2/team/app/blobs/{digest}")).await;
    assert_eq!((back.status.as_u16(), &back.body[..]), (200, &b"0123456789"[..]));
    assert_eq!(back.header("docker-content-digest"), digest.to_string());

    let begun = world.send("POST", "/v2/team/app/blobs/uploads/", &[], b"").await;
    let location = begun.header("location").to_owned();
    assert_eq!(world.send("DELETE", &location, &[], b"").await.status, 204);
    let gone = world.get(&location).await;
    assert_eq!((gone.status.as_u16(), gone.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
}

/// protocol.md C1-C4, C6.
#[tokio::test]
async fn blobs_and_their_ranges() {
    let world = World::new().await;
    let bytes: Vec<u8> = (0..1000u32).map(|n| (n % 251) as u8).collect();
    let digest = world.push_blob("team/app", &bytes).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    let head = world.send("HEAD", &path, &[], b"").await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "1000"));
    assert_eq!((head.header("accept-ranges"), head.header("content-type")), ("bytes", "application/octet-stream"));

    let part = world.send("GET", &path, &[("range", "bytes=-10")], b"").await;
    assert_eq!((part.status.as_u16(), part.header("content-range")), (206, "bytes 990-999/1000"));
    assert_eq!(part.body, bytes[990..]);
    let outside = world.send("GET", &path, &[("range", "bytes=500-0")], b"").await;
    assert_eq!((outside.status.as_u16(), outside.header("content-range")), (416, "bytes */1000"));

    let several = world.send("GET", &path, &[("range", "bytes=0-9,100-109")], b"").await;
    assert_eq!(several.status, 206);
    let boundary =
        several.header("content-type").strip_prefix("multipart/byteranges; boundary=").expect("several parts");
    let part = |range: &str| {
        format!("--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/1000\r\n\r\n")
    };
    let expected = [
        part("0-9").as_bytes(),
        &bytes[..10],
        b"\r\n",
        part("100-109").as_bytes(),
        &bytes[100..110],
        format!("\r\n--{boundary}--\r\n").as_bytes(),
    ]
    .concat();
    assert_eq!(several.body, expected);

    let etag = format!("\"{digest}\"");
    assert_eq!(world.send("GET", &path, &[("if-none-match", &etag)], b"").await.status, 304);
    let changed = world.send("GET", &path, &[("if-range", "\"other\""), ("range", "bytes=0-9")], b"").await;
    assert_eq!((changed.status.as_u16(), changed.body.len()), (200, 1000));

    let empty = world.push_blob("team/app", b"").await;
    let seen = world.send("GET", &format!("/v2/team/app/blobs/{empty}"), &[("range", "bytes=0-")], b"").await;
    assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "0"));
    let elsewhere = world.get(&format!("/v2/team/other/blobs/{digest}")).await;
    assert_eq!(elsewhere.status, 404);
}

/// protocol.md F2, F8, F11, G1, H1-H5, I1, J1, J2, K1-K4, E1-E3.
#[tokio::test]
async fn manifests_tags_referrers() {
    let world = World::new().await;
    let config = world.push_blob("team/app", b"{}").await;
    let layer = world.push_blob("team/app", &[1; 1000]).await;
    let body = manifest(&config, &layer, None);
    let digest = Digest::of(Algorithm::Sha256, body.as_bytes());
    let typed = [("content-type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")];
    let put =
        world.send("PUT", &format!("/v2/team/app/manifests/{digest}?tag=a&tag=b&tag=c"), &typed, body.as_bytes()).await;
    assert_eq!(put.status, 201, "{:?}", put.body);
    assert_eq!(put.headers.get_all("oci-tag").iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(put.header("docker-content-digest"), digest.to_string());
    assert_eq!(put.header("location"), format!("/v2/team/app/manifests/{digest}"));
    for method in ["GET", "HEAD"] {
        let seen = world.send(method, "/v2/team/app/manifests/a", &[], b"").await;
        assert_eq!((seen.status.as_u16(), seen.header("content-type")), (200, OCI), "{method}");
        assert_eq!(seen.header("content-length"), body.len().to_string());
        assert_eq!(seen.header("docker-content-digest"), digest.to_string());
    }

    let tags = world.get("/v2/team/app/tags/list?n=2").await;
    assert_eq!(tags.json(), serde_json::json!({"name": "team/app", "tags": ["a", "b"]}));
    assert_eq!(tags.header("link"), "</v2/team/app/tags/list?n=2&last=b>; rel=\"next\"");
    let none = world.get("/v2/team/app/tags/list?n=0").await;
    assert_eq!((none.json()["tags"].as_array().map(Vec::len), none.header("link")), (Some(0), ""));
    assert_eq!(world.get("/v2/team/app/tags/list?n=-1").await.json()["tags"].as_array().map(Vec::len), Some(3));
    assert_eq!(world.get("/v2/team/none/tags/list").await.code(), "NAME_UNKNOWN");
    assert_eq!(world.get("/v2/_catalog").await.json(), serde_json::json!({"repositories": ["team/app"]}));

    let signature = manifest(&config, &layer, Some(&digest));
    let put = world.send("PUT", "/v2/team/app/manifests/sig", &[("content-type", OCI)], signature.as_bytes()).await;
    assert_eq!((put.status.as_u16(), put.header("oci-subject")), (201, &*digest.to_string()));
    let referrers = world.get(&format!("/v2/team/app/referrers/{digest}?artifactType=application/x+json")).await;
    assert_eq!(referrers.header("content-type"), "application/vnd.oci.image.index.v1+json");
    assert_eq!(referrers.header("oci-filters-applied"), "artifactType");
    assert_eq!(referrers.json()["manifests"].as_array().map(Vec::len), Some(1));
    for nowhere in ["team/none", "unknown/app", "alone"] {
        let empty = world.get(&format!("/v2/{nowhere}/referrers/{digest}")).await;
        assert_eq!(
            (empty.status.as_u16(), empty.json()["manifests"].as_array().map(Vec::len)),
            (200, Some(0)),
            "{nowhere}"
        );
    }

    let missing = Digest::of(Algorithm::Sha256, b"nobody has this");
    for (from, digest, status) in [
        ("&from=team/app", &layer, 201),
        ("", &layer, 201),
        ("&from=team/app", &missing, 202),
        ("&from=other/app", &config, 202),
        ("&from=alone", &config, 202),
        ("&from=..", &config, 202),
    ] {
        let seen = world.send("POST", &format!("/v2/team/new/blobs/uploads/?mount={digest}{from}"), &[], b"").await;
        assert_eq!(seen.status, status, "{from} {:?}", seen.body);
    }
    assert_eq!(world.send("POST", "/v2/team/new/blobs/uploads/?mount=bad", &[], b"").await.status, 202);

    let held = world.send("DELETE", &format!("/v2/team/app/blobs/{layer}"), &[], b"").await;
    assert_eq!((held.status.as_u16(), held.code().as_str()), (405, "UNSUPPORTED"));
    assert_eq!(world.send("DELETE", "/v2/team/app/manifests/a", &[], b"").await.status, 202);
    assert_eq!(world.get("/v2/team/app/manifests/a").await.code(), "MANIFEST_UNKNOWN");
    assert_eq!(world.send("DELETE", &format!("/v2/team/app/manifests/{digest}"), &[], b"").await.status, 202);
    assert_eq!(world.get("/v2/team/app/manifests/b").await.status, 404);

    let many = (0..101).map(|n| format!("tag=t{n}")).collect::<Vec<_>>().join("&");
    let seen = world.send("PUT", &format!("/v2/team/app/manifests/{digest}?{many}"), &typed, body.as_bytes()).await;
    assert_eq!(seen.status, 414);
    let large = vec![b' '; (4 << 20) + 1];
    assert_eq!(world.send("PUT", "/v2/team/app/manifests/large", &typed, &large).await.status, 413);
    let mismatch = world.send("PUT", &format!("/v2/team/app/manifests/{missing}"), &typed, body.as_bytes()).await;
    assert_eq!(mismatch.status, 400);
}

/// protocol.md 2.1-2.4, T2, T10, T15.
#[tokio::test]
async fn challenges_and_tokens() {
    let world = World::new().await;
    let nobody = ("authorization", "");
    let ping = world.send("GET", "/v2/", &[nobody], b"").await;
    assert_eq!(ping.status, 401);
    assert_eq!(ping.header("www-authenticate"), r#"Bearer realm="http://r.test:5000/token",service="r.test:5000""#);
    assert_eq!((ping.code().as_str(), ping.label), ("UNAUTHORIZED", None));
    let empty = world.send("GET", "/v2/", &[("authorization", "Basic Og==")], b"").await;
    assert_eq!(empty.status, 401);
    assert_eq!(world.get("/v2/").await.body, "{}");

    let post = world.send("POST", "/v2/team/push/blobs/uploads/", &[nobody], b"").await;
    assert!(post.header("www-authenticate").ends_with(r#",scope="repository:team/push:pull,push""#));

    let wrong = format!("Basic {}", STANDARD.encode(format!("{KEY}:wrong")));
    assert_eq!(world.send("GET", "/token?service=x", &[("authorization", &wrong)], b"").await.status, 401);
    let granted = world.get("/token?scope=repository:team/app:pull&scope=repository:team/app:pull,push").await;
    assert_eq!(granted.status, 200, "{:?}", granted.body);
    let bearer = format!("Bearer {}", granted.json()["token"].as_str().expect("a token"));
    let bearer = ("authorization", bearer.as_str());
    assert_eq!(world.send("POST", "/v2/team/app/blobs/uploads/", &[bearer], b"").await.status, 202);
    let other = world.send("GET", "/v2/team/other/tags/list", &[bearer], b"").await;
    assert_eq!(other.status, 401);
    assert!(
        other.header("www-authenticate").ends_with(r#"scope="repository:team/other:pull",error="insufficient_scope""#)
    );
    let elsewhere = world.send("GET", "/v2/", &[bearer, ("host", "other.test")], b"").await;
    assert!(elsewhere.header("www-authenticate").ends_with(r#",error="invalid_token""#));
    assert_eq!(world.send("GET", "/v2/alone/tags/list", &[bearer], b"").await.code(), "NAME_UNKNOWN");

    let anonymous = world.send("GET", "/token?scope=repository:team/app:pull", &[nobody], b"").await;
    let anonymous = format!("Bearer {}", anonymous.json()["token"].as_str().expect("a token"));
    let mut answers = Vec::new();
    for name in ["team/app", "unknown/app", "alone"] {
        let seen = world.send("GET", &format!("/v2/{name}/tags/list"), &[("authorization", &anonymous)], b"").await;
        answers.push((seen.status, seen.body));
    }
    assert!(answers[0].0 == 401 && answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");

    let form = format!(
        "grant_type=password&client_id=t&access_type=offline&username={KEY}&password={SECRET}&scope=repository:team/app:pull"
    );
    let posted = world.send("POST", "/token", &[nobody], form.as_bytes()).await;
    assert_eq!(posted.status, 200);
    let refresh = posted.json()["refresh_token"].as_str().expect("a refresh token").to_owned();
    let form = format!("grant_type=refresh_token&client_id=t&refresh_token={refresh}");
    assert_eq!(world.send("POST", "/token", &[nobody], form.as_bytes()).await.status, 200);
    let bad = world.send("POST", "/token", &[nobody], b"grant_type=refresh_token&refresh_token=x").await;
    assert_eq!((bad.status.as_u16(), bad.json()["error"].as_str()), (400, Some("invalid_grant")));
}

/// product.md 2: the same place by its host-style address, with names as that host's clients use them.
#[tokio::test]
async fn host_style() {
    let world = World::new().await;
    let host = ("host", "team.example.com");
    let config = world.push_blob("team/app", b"{}").await;
    let layer = world.push_blob("team/app", &[1; 1000]).await;
    let body = manifest(&config, &layer, None);
    let put = world.send("PUT", "/v2/app/manifests/v1", &[host, ("content-type", OCI)], body.as_bytes()).await;
    assert_eq!((put.status.as_u16(), put.header("location")), (201, "/v2/app/manifests/v1"));
    assert_eq!(world.get("/v2/team/app/manifests/v1").await.status, 200);
    let tags = world.send("GET", "/v2/app/tags/list", &[host], b"").await;
    assert_eq!(tags.json(), serde_json::json!({"name": "app", "tags": ["v1"]}));
    let catalog = world.send("GET", "/v2/_catalog", &[host], b"").await;
    assert_eq!(catalog.json(), serde_json::json!({"repositories": ["app"]}));
    let granted = world.send("GET", "/token?scope=repository:app:pull", &[host], b"").await.json();
    assert_eq!(granted["scope"], "repository:app:pull");
    let bearer = format!("Bearer {}", granted["token"].as_str().expect("a token"));
    let seen = world.send("GET", "/v2/app/manifests/v1", &[host, ("authorization", &bearer)], b"").await;
    assert_eq!(seen.status, 200);
}

/// protocol.md L1, L4, A5.
#[tokio::test]
async fn errors() {
    let world = World::new().await;
    let unknown = world.get("/v2/team").await;
    assert_eq!((unknown.status.as_u16(), unknown.header("content-type")), (404, "application/json"));
    let method = world.send("POST", "/v2/team/app/tags/list", &[], b"").await;
    assert_eq!((method.status.as_u16(), method.header("allow")), (405, "GET, HEAD"));
    assert_eq!(world.get("/v2/Team/app/tags/list").await.code(), "NAME_INVALID");
    assert_eq!(world.get("/v2/team/app/manifests/sha256:totallywrong").await.code(), "DIGEST_INVALID");
    assert_eq!(world.send("HEAD", "/v2/team/app/manifests/none", &[], b"").await.status, 404);
}
