//! Buckets through the management API: which there are, what lies in them, and whether they do what is needed.

use roadstead_testkit::server::REGISTRY;
use serde_json::{Value, json};

use crate::scene::{Engine, Storage, on_both_engines};

on_both_engines!(api_buckets_are_counted_and_tried);

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
