//! A walk through the door on SQLite and a directory, with an endpoint of its own that takes a body. What clients see of the real
//! endpoints is tested over sockets.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    extract::State,
    response::{IntoResponse as _, Response as Answer},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::Full;
use roadstead_access::Right;
use roadstead_access::{AccessOptions, FirstKey};
use roadstead_blobs::{Bucket, BucketKind, BucketOptions, MemoryBudget};
use roadstead_db::{DatabaseUrl, Db, Options};
use roadstead_model::Reach;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::*;
use crate::{
    body::{BODY_BYTES, Json},
    caller::Caller,
    endpoint::Endpoints,
    paging::{Page, Paging},
    query::Segments,
    rights::Row,
    version::{Conditions, Versioned},
};

const KEY: &str = "admin-key";
const SECRET: &str = "a-secret-of-the-test";

#[derive(Deserialize, Serialize, ToSchema)]
struct Thing {
    name: String,
}

#[utoipa::path(post, path = "/api/v1/things", request_body = Thing, responses((status = 201, body = Thing)))]
async fn create_thing(State(_): State<Api>, _: Caller, Json(thing): Json<Thing>) -> Answer {
    (StatusCode::CREATED, Json(thing)).into_response()
}

#[utoipa::path(get, path = "/api/v1/things", params(Paging), responses((status = 200, body = Page<Thing>)))]
async fn list_things(paging: Paging) -> Page<Thing> {
    let names = (0..5).map(|number| Thing { name: number.to_string() });
    let rows = names.filter(|thing| paging.after().is_none_or(|after| thing.name.as_str() > after));
    paging.page(rows.take(paging.fetch()).collect(), |thing| thing.name.clone())
}

#[utoipa::path(
    put,
    path = "/api/v1/things/{number}",
    params(("number" = u32, Path), Conditions),
    request_body = Thing,
    responses((status = 200, body = Thing)),
)]
async fn put_thing(
    Segments(number): Segments<u32>,
    conditions: Conditions,
    caller: Caller,
    Json(thing): Json<Thing>,
) -> Result<Versioned<Thing>, Problem> {
    assert_eq!(caller.row(), Row::Right(Right::ChangeRegistries));
    conditions.check(Some(i64::from(number)))?;
    Ok(Versioned(i64::from(number) + 1, thing))
}

fn things() -> Endpoints {
    endpoints::all()
        .with(Row::SignedIn, routes!(create_thing))
        .with(Row::Open, routes!(list_things))
        .with(Row::Right(Right::ChangeRegistries), routes!(put_thing))
}

struct World {
    service: ApiService,
    millis: Arc<AtomicU64>,
    _directory: tempfile::TempDir,
}

/// An answer, read to its end.
struct Seen {
    status: u16,
    headers: http::HeaderMap,
    text: String,
    label: Option<CallerLabel>,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The sentence of a problem of this code.
    fn problem(&self, status: u16, code: &str) -> String {
        let body = self.json();
        assert_eq!((self.status, &body["code"]), (status, &Value::from(code)), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["request_id"], "r-1");
        assert_eq!(body["status"], status);
        body["detail"].as_str().expect("a sentence").to_owned()
    }
}

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
        let access = Access::open(db, AccessOptions::new([7; 32])).await.expect("access");
        let first = FirstKey { key_id: Some(KEY.into()), secret: Some(SECRET.into()) };
        access.keys().first_administrator(first).await.expect("a key").expect("the first one");
        let millis = Arc::new(AtomicU64::new(0));
        let now = Arc::clone(&millis);
        let ticks = Ticks::new(move || Duration::from_millis(now.load(Ordering::Relaxed)));
        let service = ApiService::of(things, core, access, Naming::default(), ticks);
        Self { service, millis, _directory: directory }
    }

    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Seen {
        let mut request = Request::builder().method(method).uri(target).header("host", "r.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
        let connection = Connection {
            remote: ([192, 0, 2, 1], 4000).into(),
            client: [192, 0, 2, 1].into(),
            tls: false,
            reach: Reach::Public,
        };
        let (response, label) = self.service.handle(request, connection, RequestId("r-1".into())).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        assert_eq!(parts.headers["x-content-type-options"], "nosniff");
        assert!(parts.headers.contains_key("cache-control"));
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        Seen { status: parts.status.as_u16(), headers: parts.headers, text, label }
    }

    async fn get(&self, target: &str) -> Seen {
        self.ask("GET", target, &[("authorization", &login())], "").await
    }

    async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Seen {
        let login = login();
        let mut all = vec![("authorization", &*login), ("content-type", "application/json")];
        all.extend(headers);
        self.ask(method, target, &all, body).await
    }
}

fn login() -> String {
    format!("Basic {}", STANDARD.encode(format!("{KEY}:{SECRET}")))
}

#[tokio::test]
async fn bodies_are_checked_and_bounded() {
    let world = World::new().await;
    let post = async |body: &str| world.send("POST", "/api/v1/things", &[], body).await;
    let made = post(r#"{"name":"a"}"#).await;
    assert_eq!((made.status, made.json()["name"].as_str()), (201, Some("a")));
    assert_eq!(made.header("cache-control"), "no-store");
    assert_eq!(made.label, Some(CallerLabel(KEY.into())));
    assert!(post("{").await.problem(400, "invalid").contains("not JSON"));
    let unknown = post(r#"{"name":"a","nmae":"b"}"#).await;
    assert!(unknown.problem(400, "invalid").contains("`nmae`"));
    assert_eq!(unknown.json()["errors"][0]["field"], "nmae");
    let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(BODY_BYTES));
    assert!(post(&large).await.problem(413, "too_large").contains("65536"));
    let untold = world.ask("POST", "/api/v1/things", &[("authorization", &login())], "{}").await;
    assert!(untold.problem(415, "unsupported_media_type").contains("application/json"));
}

#[tokio::test]
async fn nobody_hears_only_that_credentials_are_missing() {
    let world = World::new().await;
    let wrong = format!("Basic {}", STANDARD.encode(format!("{KEY}:other")));
    for headers in [&[][..], &[("authorization", &*wrong)], &[("authorization", "Bearer x")], &[("authorization", "x")]]
    {
        for (method, target) in [
            ("GET", "/api/v1/me"),
            ("POST", "/api/v1/things"),
            ("PUT", "/api/v1/things/1"),
            ("PUT", "/api/v1/things/x"),
        ] {
            let seen = world.ask(method, target, headers, "").await;
            seen.problem(401, "unauthenticated");
            assert_eq!(seen.header("www-authenticate"), "Basic realm=\"roadstead\"");
            assert_eq!(seen.label, None);
        }
    }
    assert_eq!(world.ask("GET", "/api/v1/things", &[("authorization", &wrong)], "").await.status, 200, "it is open");
}

#[tokio::test]
async fn what_axum_refuses_is_a_problem() {
    let world = World::new().await;
    assert!(world.get("/api/v1/nothing").await.problem(404, "not_found").contains("openapi.json"));
    let wrong = world.ask("DELETE", "/api/v1/me", &[], "").await;
    assert!(wrong.problem(405, "method_not_allowed").contains("GET, HEAD"));
    assert_eq!(wrong.header("allow"), "GET,HEAD");
    assert!(world.send("PUT", "/api/v1/things/x", &[], "{}").await.problem(400, "invalid").contains("`x`"));
    assert!(world.get("/api/v1/me?x=1").await.problem(400, "invalid").contains("`x`"));
    let head = world.ask("HEAD", "/api/v1/me", &[], "").await;
    assert_eq!((head.status, &*head.text), (401, ""));
    assert_ne!(head.header("content-length"), "0");
}

#[tokio::test]
async fn pages_and_versions() {
    let world = World::new().await;
    let first = world.get("/api/v1/things?limit=3").await;
    assert_eq!(first.json()["items"].as_array().map(Vec::len), Some(3));
    let next = first.header("link").strip_prefix('<').and_then(|rest| rest.split_once('>')).expect("a link").0;
    let second = world.get(next).await;
    assert_eq!(second.json()["items"][0]["name"], "3");
    assert!(second.json().get("next").is_none() && second.header("link").is_empty());
    let put = async |tag: &str| world.send("PUT", "/api/v1/things/3", &[("if-match", tag)], r#"{"name":"a"}"#).await;
    assert_eq!(put("\"3\"").await.header("etag"), "\"4\"");
    put("\"2\"").await.problem(412, "stale");
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let world = World::new().await;
    let mut last = world.get("/api/v1/me").await;
    for _ in 0..200 {
        assert_eq!(last.status, 200, "{}", last.text);
        last = world.get("/api/v1/me").await;
    }
    last.problem(429, "too_many_requests");
    assert_eq!(last.header("retry-after"), "1");
    assert_eq!(last.label, Some(CallerLabel(KEY.into())));
    world.ask("GET", "/api/v1/me", &[], "").await.problem(401, "unauthenticated");
    world.millis.store(1000, Ordering::Relaxed);
    assert_eq!(world.get("/api/v1/me").await.status, 200);
}

#[tokio::test]
async fn pages_for_people() {
    let world = World::new().await;
    for path in ["/api", "/api/"] {
        let page = world.ask("GET", path, &[], "").await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        for asset in page.text.split("\"/api/viewer/").skip(1).filter_map(|rest| rest.split('"').next()) {
            let file = world.ask("GET", &format!("/api/viewer/{asset}"), &[], "").await;
            assert!(file.status == 200 && !file.text.is_empty(), "{asset}");
        }
    }
    world.ask("GET", "/api/viewer/index.html", &[], "").await.problem(404, "not_found");
    let problems = world.ask("GET", "/api/problems", &[], "").await.text;
    assert!(problems.contains("id=\"too_many_requests\""));
}

#[test]
fn paths_of_this_service() {
    for path in ["/api", "/api/", "/api/v1/me"] {
        assert!(ApiService::serves(path), "{path}");
    }
    for path in ["/", "/apis", "/v2/api", "/v2/"] {
        assert!(!ApiService::serves(path), "{path}");
    }
}
