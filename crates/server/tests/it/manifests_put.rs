//! protocol.md 1, Manifest PUT (F).

use roadstead_testkit::{
    Body, Request, Response,
    content::{self, ALGORITHMS, Algorithm, Manifest, random_bytes, types},
    digest,
    http::escape,
};
use serde_json::json;

use crate::scene::{Scene, conformance};

conformance!(
    f1_exact_bytes,
    f1_content_type_decides,
    f1_media_type_that_disagrees,
    f2_answer,
    f3_by_digest,
    f3_by_a_digest_that_is_not_its,
    f4_chunked,
    f5_large_manifest,
    f6_missing_blobs,
    f6_blobs_that_come_later,
    f6_missing_children,
    f6_blobs_of_another_repository,
    f7_unknown_media_types,
    f9_moves_the_tag,
    f10_again,
    f11_tag_parameters,
    f11_bad_tag_parameters,
    f12_old_formats,
    f13_what_is_no_manifest,
    f14_a_thousand_children,
    f8_subject,
);

fn put_bytes(t: &Scene, reference: &str, content_type: &str, bytes: &[u8]) -> Response {
    let request = Request::new("PUT", &t.at(&format!("manifests/{reference}"))).header("Content-Type", content_type);
    t.client.send(request.body(Body::Length(bytes.to_vec())))
}

/// protocol.md F1: the bytes that came are the bytes that go out: odd spaces, order, unknown members, no newline.
fn f1_exact_bytes(t: &Scene) {
    let config = t.client.push_blob(&t.repo, b"{}");
    let body = format!(
        "\n{{ \"x\" : [1.0, 1e2,\t\"\\u00e4\\/\"],\r\n\"layers\":[], \"config\":{{\"size\":2,\"digest\":\"{config}\",\
         \"mediaType\":\"{}\"}}, \"mediaType\":\"{}\",\"schemaVersion\":2, \"y\":{{}}}}\n\n",
        types::EMPTY,
        types::MANIFEST
    );
    let manifest = Manifest { media_type: types::MANIFEST.to_owned(), bytes: body.into_bytes() };
    let digest = t.client.push_manifest(&t.repo, "odd", &manifest);
    for reference in ["odd", &digest] {
        let answer = t.client.get(&t.at(&format!("manifests/{reference}")));
        answer.expect(200).expect_body(&manifest.bytes).expect_header("Docker-Content-Digest", &digest);
    }
}

/// protocol.md F1: parameters of Content-Type are ignored; without `mediaType` in the body it alone decides.
fn f1_content_type_decides(t: &Scene) {
    let image = content::image(1);
    for blob in &image.blobs {
        t.client.push_blob(&t.repo, blob);
    }
    let mut json = image.manifest.json();
    json.as_object_mut().unwrap().remove("mediaType");
    for (tag, sent, stored) in [
        ("plain", types::MANIFEST, types::MANIFEST),
        ("charset", "application/vnd.oci.image.manifest.v1+json; charset=utf-8", types::MANIFEST),
        ("docker", types::DOCKER_MANIFEST, types::DOCKER_MANIFEST),
    ] {
        json["annotations"] = json!({"tag": tag});
        let bytes = serde_json::to_vec(&json).unwrap();
        put_bytes(t, tag, sent, &bytes).expect(201);
        let answer = t.client.get(&t.at(&format!("manifests/{tag}")));
        answer.expect(200).expect_header("Content-Type", stored).expect_body(&bytes);
    }
    put_bytes(t, "with", &format!("{};charset=utf-8", types::MANIFEST), &image.manifest.bytes).expect(201);
    t.client.head(&t.at("manifests/with")).expect(200).expect_header("Content-Type", types::MANIFEST);
}

/// protocol.md F1: 400 MANIFEST_INVALID where the body says another type than the header.
fn f1_media_type_that_disagrees(t: &Scene) {
    let image = content::image(0);
    t.client.push_image(&t.repo, "good", &image);
    for content_type in [types::INDEX, types::DOCKER_MANIFEST] {
        put_bytes(t, "bad", content_type, &image.manifest.bytes).expect_error(400, "MANIFEST_INVALID");
    }
    t.client.head(&t.at("manifests/bad")).expect(404);
}

/// protocol.md F2 and 1.4: 201, Location by the reference that was used, digest; GET of Location gives the bytes.
fn f2_answer(t: &Scene) {
    let image = content::image(1);
    let digest = t.client.push_image(&t.repo, "v0", &image);
    for reference in ["v1", &digest] {
        let answer = t.client.put_manifest(&t.repo, reference, &image.manifest);
        answer.expect(201).expect_length(0).expect_header("Docker-Content-Digest", &digest);
        let location = answer.location_path();
        assert!([t.at(&format!("manifests/{reference}")), t.at(&format!("manifests/{digest}"))].contains(&location));
        t.client.get(&location).expect(200).expect_body(&image.manifest.bytes);
    }
}

/// protocol.md F3: by sha256 and by sha512; the answer echoes the digest in the same algorithm.
fn f3_by_digest(t: &Scene) {
    for algorithm in ALGORITHMS {
        let image = content::image(1);
        for blob in &image.blobs {
            t.client.push_blob(&t.repo, blob);
        }
        let digest = algorithm.of(&image.manifest.bytes);
        let answer = t.client.put_manifest(&t.repo, &digest, &image.manifest);
        answer.expect(201).expect_header("Docker-Content-Digest", &digest);
        for method in ["GET", "HEAD"] {
            let answer = t.client.send(Request::new(method, &t.at(&format!("manifests/{digest}"))));
            answer.expect(200).expect_header("Docker-Content-Digest", &digest);
            answer.expect_header("Content-Type", types::MANIFEST).expect_length(image.manifest.bytes.len());
        }
    }
    assert_eq!(t.client.get(&t.at("tags/list")).expect(200).json()["tags"], json!([]));
}

/// protocol.md F3 and 1.7: 400, and neither digest is there afterwards.
fn f3_by_a_digest_that_is_not_its(t: &Scene) {
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    for algorithm in ALGORITHMS {
        let digest = algorithm.of(&random_bytes(10));
        let answer = t.client.put_manifest(&t.repo, &digest, &image.manifest);
        answer.expect(400);
        assert!(["DIGEST_INVALID", "MANIFEST_INVALID"].contains(&answer.error_code().as_str()), "{answer:?}");
        t.client.get(&t.at(&format!("manifests/{digest}"))).expect(404);
        t.client.get(&t.at(&format!("manifests/{}", image.manifest.digest()))).expect(404);
    }
}

/// protocol.md F4 and 1.4: `Transfer-Encoding: chunked` without Content-Length.
fn f4_chunked(t: &Scene) {
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    let pieces = image.manifest.bytes.chunks(7).map(<[u8]>::to_vec).collect();
    let put = Request::new("PUT", &t.at("manifests/chunked")).header("Content-Type", types::MANIFEST);
    t.client.send(put.body(Body::Chunked(pieces))).expect(201);
    t.client.get(&t.at("manifests/chunked")).expect(200).expect_body(&image.manifest.bytes);
}

/// protocol.md F5: 4 MiB are taken, with a length and chunked; above that 413.
fn f5_large_manifest(t: &Scene) {
    const LIMIT: usize = 4 * 1024 * 1024;
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    let padded = |size: usize| {
        let empty = image.manifest.with("annotations", json!({"pad": ""})).bytes.len();
        image.manifest.with("annotations", json!({"pad": "x".repeat(size - empty)})).bytes
    };
    for (tag, size) in [("suite", 3_900_000), ("limit", LIMIT)] {
        let bytes = padded(size);
        put_bytes(t, tag, types::MANIFEST, &bytes).expect(201);
        t.client.get(&t.at(&format!("manifests/{tag}"))).expect(200).expect_length(size).expect_body(&bytes);
    }
    let bytes = padded(LIMIT + 1);
    put_bytes(t, "large", types::MANIFEST, &bytes).expect(413).error_code();
    let put = Request::new("PUT", &t.at("manifests/large")).header("Content-Type", types::MANIFEST);
    t.client.send(put.body(Body::streamed(&bytes))).expect(413).error_code();
    t.client.get(&t.at("manifests/large")).expect(404);
}

/// protocol.md F6, M1: config or layers that are not here (yet): taken with a warning, never in silence. What is
/// missing is 404 until it is pushed.
fn f6_missing_blobs(t: &Scene) {
    let image = content::image(1);
    let answer = t.client.put_manifest(&t.repo, "early", &image.manifest);
    let warning = answer.expect(201).header("Warning");
    assert!(warning.starts_with("299 - \"") && warning.ends_with('"') && warning.contains("sha256:"), "{answer:?}");
    for blob in &image.blobs {
        t.client.get(&t.at(&format!("blobs/{}", digest(blob)))).expect_error(404, "BLOB_UNKNOWN");
        t.client.push_blob(&t.repo, blob);
    }
    t.client.put_manifest(&t.repo, "early", &image.manifest).expect(201).expect_no("Warning");
    // From when they came they are held like those that were there before (J5).
    for blob in &image.blobs {
        t.client.delete(&t.at(&format!("blobs/{}", digest(blob)))).expect_error(405, "UNSUPPORTED");
    }
}

/// schema.md, `artifact_blob`: a blob that comes after the manifest that names it is held without another push of it.
fn f6_blobs_that_come_later(t: &Scene) {
    let image = content::image(1);
    t.client.put_manifest(&t.repo, "early", &image.manifest).expect(201);
    for blob in &image.blobs {
        t.client.push_blob(&t.repo, blob);
        t.client.delete(&t.at(&format!("blobs/{}", digest(blob)))).expect_error(405, "UNSUPPORTED");
    }
}

/// protocol.md F6: an index may be sparse: children that are not here (yet).
fn f6_missing_children(t: &Scene) {
    let [there, missing] = [content::image(0), content::image(0)];
    t.client.push_image(&t.repo, "child", &there);
    let index = content::index(&[&there.manifest, &missing.manifest]);
    let digest = t.client.push_manifest(&t.repo, "sparse", &index);
    t.client.get(&t.at(&format!("manifests/{digest}"))).expect(200).expect_body(&index.bytes);
    t.client.get(&t.at(&format!("manifests/{}", missing.manifest.digest()))).expect_error(404, "MANIFEST_UNKNOWN");
}

/// protocol.md F6 and C4: a blob of another repository is not here, and naming it in a manifest does not bring it.
fn f6_blobs_of_another_repository(t: &Scene) {
    let image = content::image(1);
    t.client.push_image(&t.another(), "v1", &image);
    assert!(t.client.put_manifest(&t.repo, "v1", &image.manifest).expect(201).get("Warning").is_some());
    for blob in &image.blobs {
        t.client.get(&t.at(&format!("blobs/{}", digest(blob)))).expect_error(404, "BLOB_UNKNOWN");
    }
}

/// protocol.md F7: any media type of config, layers and artifact, parameters included.
fn f7_unknown_media_types(t: &Scene) {
    for (config, layer) in [
        ("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        ("application/vnd.aquasec.trivy.config.v1+json", "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"),
        ("application/vnd.wasm.config.v0+json", "application/wasm"),
        (types::DOCKER_CONFIG, "application/vnd.ollama.image.model;type=ggml"),
        ("x/y", "z"),
    ] {
        let mut image = content::image(1);
        let mut json = image.manifest.json();
        json["config"]["mediaType"] = config.into();
        json["layers"][0]["mediaType"] = layer.into();
        json["artifactType"] = format!("{config};a=b").into();
        image.manifest = Manifest::new(&json);
        t.client.push_image(&t.repo, "any", &image);
        t.client.get(&t.at("manifests/any")).expect(200).expect_body(&image.manifest.bytes);
    }
}

/// protocol.md F9: the tag moves, the old manifest stays by digest.
fn f9_moves_the_tag(t: &Scene) {
    let [old, new] = [content::image(1), content::image(1)];
    let first = t.client.push_image(&t.repo, "latest", &old);
    let second = t.client.push_image(&t.repo, "latest", &new);
    t.client.head(&t.at("manifests/latest")).expect(200).expect_header("Docker-Content-Digest", &second);
    t.client.get(&t.at(&format!("manifests/{first}"))).expect(200).expect_body(&old.manifest.bytes);
    t.client.push_manifest(&t.repo, "latest", &old.manifest);
    t.client.head(&t.at("manifests/latest")).expect(200).expect_header("Docker-Content-Digest", &first);
    assert_eq!(t.client.get(&t.at("tags/list")).json()["tags"], json!(["latest"]));
}

/// protocol.md F10.
fn f10_again(t: &Scene) {
    let image = content::image(1);
    let digest = t.client.push_image(&t.repo, "v1", &image);
    for reference in ["v1", "v1", &digest, &digest] {
        t.client.put_manifest(&t.repo, reference, &image.manifest).expect(201);
    }
    assert_eq!(t.client.get(&t.at("tags/list")).json()["tags"], json!(["v1"]));
}

/// protocol.md F11 (end-7b) and 3.7: by digest with ten tags and more; one OCI-Tag for each; too many are 414.
fn f11_tag_parameters(t: &Scene) {
    for algorithm in ALGORITHMS {
        let image = content::image(0);
        t.client.push_blob(&t.repo, &image.blobs[0]);
        let digest = algorithm.of(&image.manifest.bytes);
        let mut tags: Vec<String> = (0..10).map(|n| format!("{}.{n}", algorithm.name())).collect();
        let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
        let answer = t.client.put_manifest(&t.repo, &format!("{digest}?{}", query.join("&")), &image.manifest);
        answer.expect(201).expect_header("Docker-Content-Digest", &digest);
        let mut said = answer.all("OCI-Tag");
        said.sort_unstable();
        tags.sort();
        assert_eq!(said, tags, "{answer:?}");
        for tag in &tags {
            let head = t.client.head(&t.at(&format!("manifests/{tag}")));
            head.expect(200).expect_header("Docker-Content-Digest", &digest);
        }
    }
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    let query: Vec<String> = (0..2000).map(|n| format!("tag=many{n}")).collect();
    let target = format!("{}?{}", image.manifest.digest(), query.join("&"));
    t.client.put_manifest(&t.repo, &target, &image.manifest).expect(414).error_code();
    t.client.head(&t.at("manifests/many0")).expect(404);
}

/// protocol.md F11: a parameter that is no tag is 400, and no other of them is made. `tag` beside a tag is no end-7b.
fn f11_bad_tag_parameters(t: &Scene) {
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    for bad in ["", "-x", "a/b", &"t".repeat(129)] {
        let target = format!("{}?tag=good&tag={}", image.manifest.digest(), escape(bad));
        t.client.put_manifest(&t.repo, &target, &image.manifest).expect(400).error_code();
        t.client.head(&t.at("manifests/good")).expect(404);
    }
    t.client.put_manifest(&t.repo, "one?tag=two", &image.manifest).expect_one_of(&[201, 400]);
}

/// protocol.md F12: schema 1 is 400 MANIFEST_INVALID; the withdrawn artifact manifest may be refused so.
fn f12_old_formats(t: &Scene) {
    let schema1 = json!({"schemaVersion": 1, "name": "a", "tag": "b", "architecture": "amd64",
        "fsLayers": [], "history": [], "signatures": []});
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
    ] {
        let answer = put_bytes(t, "old", media_type, schema1.to_string().as_bytes());
        answer.expect_error(400, "MANIFEST_INVALID");
    }
    let withdrawn =
        json!({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "artifactType": "x/y", "blobs": []});
    let answer = t.client.put_manifest(&t.repo, "withdrawn", &Manifest::new(&withdrawn));
    if answer.expect_one_of(&[201, 400]).status == 400 {
        answer.expect_error(400, "MANIFEST_INVALID");
    }
}

/// protocol.md F13: 400 MANIFEST_INVALID, never 500.
fn f13_what_is_no_manifest(t: &Scene) {
    let config = content::descriptor(types::EMPTY, b"{}").to_string();
    t.client.push_blob(&t.repo, b"{}");
    let head = format!("\"schemaVersion\":2,\"mediaType\":\"{}\"", types::MANIFEST);
    let twice = format!("{{{head},\"config\":{config},\"config\":{config},\"layers\":[]}}");
    let inner = format!("{{{head},\"config\":{config},\"layers\":[],\"annotations\":{{\"a\":\"1\",\"a\":\"2\"}}}}");
    let nested =
        format!("{{{head},\"config\":{config},\"layers\":[],\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let negative = format!("{{{head},\"config\":{},\"layers\":[]}}", config.replace("\"size\":2", "\"size\":-2"));
    let bad_digest = format!("{{{head},\"config\":{},\"layers\":[]}}", config.replace("sha256:", "sha256:x"));
    let trailing = format!("{{{head},\"config\":{config},\"layers\":[]}} x");
    let no_object = format!("{{{head},\"config\":[],\"layers\":{{}}}}");
    let array = format!("[2,\"{}\",null,{config},[],null,null,null,null]", types::MANIFEST);
    let nul = format!("{{{head},\"config\":{config},\"layers\":[],\"artifactType\":\"a\\u0000b\"}}");
    let bad = [
        "",
        "x",
        "[]",
        "null",
        "1",
        "\"text\"",
        "{",
        "\u{feff}{}",
        &twice,
        &negative,
        &bad_digest,
        &trailing,
        &no_object,
        &inner,
        &array,
        &nul,
    ];
    for body in bad {
        let answer = put_bytes(t, "bad", types::MANIFEST, body.as_bytes());
        assert_eq!(answer.status, 400, "{}", &body[..body.len().min(400)]);
        answer.expect_error(400, "MANIFEST_INVALID");
    }
    // Deep down only the bytes count, so either is right; what matters is that there is an answer.
    put_bytes(t, "odd", types::MANIFEST, nested.as_bytes()).expect_one_of(&[201, 400]);
    put_bytes(t, "bad", types::MANIFEST, &[0xff, 0xfe, b'{', b'}']).expect_error(400, "MANIFEST_INVALID");
    put_bytes(t, "bad", "text/html", b"<html>").expect_one_of(&[400, 415]).error_code();
    t.client.get(&t.at("manifests/bad")).expect(404);
}

/// protocol.md F14: an index with a thousand entries.
fn f14_a_thousand_children(t: &Scene) {
    let children: Vec<_> = (0..1000).map(|_| content::descriptor(types::MANIFEST, &random_bytes(20))).collect();
    let index = content::index_of(children);
    t.client.push_manifest(&t.repo, "thousand", &index);
    t.client.get(&t.at("manifests/thousand")).expect(200).expect_body(&index.bytes);
}

/// protocol.md F8 and 1.5.9: OCI-Subject on PUT by digest and by tag, image and index, subject there or not.
fn f8_subject(t: &Scene) {
    let subject = content::image(0);
    let named = subject.manifest.digest();
    for there in [false, true] {
        if there {
            t.client.push_image(&t.repo, "subject", &subject);
        }
        let mut image = content::artifact("application/vnd.example.sbom");
        image.manifest = image.manifest.about(&subject.manifest);
        for blob in &image.blobs {
            t.client.push_blob(&t.repo, blob);
        }
        let index = content::index(&[]).about(&subject.manifest);
        for manifest in [&image.manifest, &index] {
            for reference in ["tag", &manifest.digest(), &Algorithm::Sha512.of(&manifest.bytes)] {
                t.client.put_manifest(&t.repo, reference, manifest).expect(201).expect_header("OCI-Subject", &named);
            }
        }
    }
    t.client.put_manifest(&t.repo, "subject", &subject.manifest).expect(201).expect_no("OCI-Subject");
}
