//! 64 clients push the same thing at once: each is answered right, and what is stored is stored once.

use std::{collections::BTreeSet, sync::Barrier, thread};

use roadstead_testkit::{
    Body, Client, Request, Response, Server,
    content::{self, Image, Manifest, random_bytes, types},
    digest,
    http::with_parameter,
    until,
};
use serde_json::{Value, json};

use crate::scene::{Engine, Storage, on_both_engines};

on_both_engines!(the_same_image, the_same_manifest_under_many_tags, images_that_share_layers);

const CROWD: usize = 64;

/// Two nodes where there can be two; one. Duplicates leave the bucket at once.
fn nodes(storage: &Storage) -> Vec<Server> {
    (0..if storage.engine == Engine::S3 { 2 } else { 1 }).map(|_| Server::start(storage.setup_of_objects())).collect()
}

/// Asks again while there is no room, as clients do: a crowd on a busy machine is told to come later (503), and that is right.
fn ask(client: &Client, request: &Request) -> Response {
    until("there is room", || {
        let answer = client.send(request.clone());
        (![429, 503].contains(&answer.status)).then_some(answer)
    })
}

fn push_blob(client: &Client, bytes: &[u8]) {
    let digest = digest(bytes);
    let begun = ask(client, &Request::new("POST", "/v2/conf/app/blobs/uploads/"));
    let put = Request::new("PUT", &with_parameter(&begun.expect(202).location_path(), "digest", &digest));
    let answer = ask(client, &put.body(Body::Length(bytes.to_vec())));
    answer.expect(201).expect_header("Docker-Content-Digest", &digest);
}

fn push_manifest(client: &Client, tag: &str, manifest: &Manifest) {
    let put = Request::new("PUT", &format!("/v2/conf/app/manifests/{tag}"));
    let put = put.header("Content-Type", &manifest.media_type).body(Body::Length(manifest.bytes.clone()));
    let answer = ask(client, &put);
    answer.expect(201).expect_header("Docker-Content-Digest", &manifest.digest()).expect_no("Warning");
}

/// Lets a crowd loose at one moment, each of it on a node of its own choice.
fn crowd(nodes: &[Server], act: impl Fn(usize, &Client) + Sync) {
    let barrier = Barrier::new(CROWD);
    thread::scope(|scope| {
        for number in 0..CROWD {
            let (client, barrier, act) = (nodes[number % nodes.len()].client(), &barrier, &act);
            scope.spawn(move || {
                barrier.wait();
                act(number, &client);
            });
        }
    });
}

/// An image of `layers` layers, of a size that takes several writes.
fn image(layers: &[Vec<u8>]) -> Image {
    let mut image = content::image(0);
    let named: Vec<_> = layers.iter().map(|layer| content::descriptor(types::LAYER, layer)).collect();
    image.manifest = image.manifest.with("layers", json!(named));
    image.blobs.extend(layers.iter().cloned());
    image
}

/// One object for each digest, and the books are right: repositories, artifacts, bytes.
fn is_stored_once(nodes: &[Server], artifacts: usize, blobs: &[Vec<u8>]) {
    let blobs: BTreeSet<_> = blobs.iter().collect();
    let objects = |server: &Server| {
        let objects = server.objects();
        objects.iter().filter(|key| !key.contains("roadstead-bucket")).count()
    };
    until("what was sent twice has left the bucket", || (objects(&nodes[0]) == blobs.len()).then_some(()));
    let shown: Value = serde_json::from_str(nodes[0].run(&["registry", "show", "conf", "-o", "json"]).ok()).unwrap();
    let shown = &shown["usage"];
    let bytes: usize = blobs.iter().map(|blob| blob.len()).sum();
    assert_eq!(
        (&shown["repositories"], &shown["artifacts"], &shown["bytes"]),
        (&json!(1), &json!(artifacts), &json!(bytes)),
        "{shown}"
    );
}

/// Everything an image needs can be had from every node.
fn can_be_pulled(nodes: &[Server], reference: &str, image: &Image) {
    for node in nodes {
        let answer = node.client().get(&format!("/v2/conf/app/manifests/{reference}"));
        answer.expect(200).expect_body(&image.manifest.bytes);
        for blob in &image.blobs {
            assert!(node.client().pull_blob("conf/app", &digest(blob)) == *blob);
        }
    }
}

fn the_same_image(storage: &Storage) {
    let nodes = nodes(storage);
    let image = image(&[random_bytes(300_000), random_bytes(3000)]);
    crowd(&nodes, |_, client| {
        image.blobs.iter().for_each(|blob| push_blob(client, blob));
        push_manifest(client, "latest", &image.manifest);
        let get = Request::new("GET", "/v2/conf/app/manifests/latest");
        ask(client, &get).expect(200).expect_body(&image.manifest.bytes);
    });
    is_stored_once(&nodes, 1, &image.blobs);
    can_be_pulled(&nodes, "latest", &image);
    let tags = nodes[0].client().get("/v2/conf/app/tags/list").expect(200).json();
    assert_eq!(tags["tags"], json!(["latest"]));
}

fn the_same_manifest_under_many_tags(storage: &Storage) {
    let nodes = nodes(storage);
    let image = image(&[random_bytes(3000)]);
    crowd(&nodes, |number, client| {
        image.blobs.iter().for_each(|blob| push_blob(client, blob));
        push_manifest(client, &format!("v{number:02}"), &image.manifest);
    });
    is_stored_once(&nodes, 1, &image.blobs);
    let tags: Vec<_> = (0..CROWD).map(|number| format!("v{number:02}")).collect();
    for (number, tag) in tags.iter().enumerate() {
        let answer = nodes[number % nodes.len()].client().get(&format!("/v2/conf/app/manifests/{tag}"));
        answer.expect(200).expect_body(&image.manifest.bytes);
    }
    assert_eq!(nodes[0].client().get("/v2/conf/app/tags/list").expect(200).json()["tags"], json!(tags));
}

fn images_that_share_layers(storage: &Storage) {
    let nodes = nodes(storage);
    let shared: Vec<Vec<u8>> = (0..3).map(|_| random_bytes(20_000)).collect();
    let images: Vec<_> = (0..CROWD).map(|_| image(&shared)).collect();
    crowd(&nodes, |number, client| {
        // As clients do it: what is there is not sent.
        for blob in &images[number].blobs {
            let there = ask(client, &Request::new("HEAD", &format!("/v2/conf/app/blobs/{}", digest(blob))));
            if there.expect_one_of(&[200, 404]).status == 404 {
                push_blob(client, blob);
            }
        }
        push_manifest(client, &format!("v{number}"), &images[number].manifest);
    });
    let blobs: Vec<_> = images.iter().flat_map(|image| image.blobs.clone()).collect();
    is_stored_once(&nodes, CROWD, &blobs);
    for number in [0, CROWD - 1] {
        can_be_pulled(&nodes, &format!("v{number}"), &images[number]);
    }
}
