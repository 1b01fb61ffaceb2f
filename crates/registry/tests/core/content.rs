//! Things to push, and the ways to push and to read them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::Body as _;
use roadstead_model::{
    Algorithm, Digest, Place, Reference,
    manifest::{OCI_INDEX, OCI_MANIFEST},
};
use roadstead_registry::{Body, BodyError, Core, Download, Error, ManifestPush, Pushed};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::scene::gate;

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// A body that came in one piece.
pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    let bytes = bytes.into();
    let length = Some(bytes.len() as u64);
    Body { stream: stream::iter([Ok::<_, BodyError>(bytes)]).boxed(), length }
}

/// A piece of a slow body.
pub(crate) type Sent = Result<Bytes, BodyError>;

/// How often a slow body was asked for a piece: the second time, the first piece has been dealt with.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<AtomicUsize>);

impl Asked {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A body whose pieces are sent one by one; it ends when the sender is dropped.
pub(crate) fn slow_body() -> (UnboundedSender<Sent>, Asked, Body) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let asked = Asked::default();
    let stream = stream::unfold((receiver, asked.clone()), async |(mut receiver, asked)| {
        asked.0.fetch_add(1, Ordering::SeqCst);
        receiver.recv().await.map(|chunk| (chunk, (receiver, asked)))
    });
    (sender, asked, Body { stream: stream.boxed(), length: None })
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes).to_string(), "size": bytes.len() })
}

/// An image manifest over blobs; the first is the config.
pub(crate) fn image(blobs: &[&[u8]]) -> Bytes {
    image_with(blobs, None, json!({}))
}

/// An image manifest with a subject, or with annotations that make it another one.
pub(crate) fn image_with(blobs: &[&[u8]], subject: Option<&[u8]>, annotations: Value) -> Bytes {
    let layers: Vec<_> = blobs[1..].iter().map(|layer| descriptor("application/octet-stream", layer)).collect();
    let mut manifest = json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.test.config", blobs[0]),
        "layers": layers,
        "annotations": annotations,
    });
    if let Some(subject) = subject {
        manifest["subject"] = descriptor(OCI_MANIFEST, subject);
    }
    Bytes::from(manifest.to_string())
}

/// An index over manifests.
pub(crate) fn index(children: &[&[u8]], name: &str) -> Bytes {
    let children: Vec<_> = children.iter().map(|child| descriptor(OCI_MANIFEST, child)).collect();
    let index =
        json!({ "schemaVersion": 2, "manifests": children, "annotations": { "name": name }, "mediaType": OCI_INDEX });
    Bytes::from(index.to_string())
}

pub(crate) async fn push_blob(core: &Core, place: &Place, bytes: &[u8]) -> Result<Digest, Error> {
    let digest = digest(bytes);
    core.upload_whole(&gate(core, place).await, place, &digest, body(bytes.to_vec())).await?;
    Ok(digest)
}

pub(crate) async fn put_manifest(core: &Core, place: &Place, tags: &[&str], bytes: &Bytes) -> Result<Pushed, Error> {
    put_manifest_as(core, place, tags, bytes, None).await
}

pub(crate) async fn put_manifest_as(
    core: &Core,
    place: &Place,
    tags: &[&str],
    bytes: &Bytes,
    media_type: Option<&str>,
) -> Result<Pushed, Error> {
    let push = ManifestPush {
        media_type: media_type.map(str::to_owned),
        body: bytes.clone(),
        digest: None,
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        by: "tester".to_owned(),
    };
    core.put_manifest(&gate(core, place).await, place, push).await
}

/// Pushes blobs and an image over them; its digest.
pub(crate) async fn push_image(core: &Core, place: &Place, tags: &[&str], blobs: &[&[u8]]) -> Digest {
    for blob in blobs {
        push_blob(core, place, blob).await.expect("a blob is pushed");
    }
    put_manifest(core, place, tags, &image(blobs)).await.expect("a manifest is pushed").digest
}

pub(crate) async fn delete(core: &Core, place: &Place, digest: &Digest) -> Result<(), Error> {
    core.delete_manifest(
        &gate(core, place).await,
        &Reference::Digest(*digest),
        &roadstead_db::audit::By::name("tester"),
    )
    .await
}

/// The bytes of a blob, if the place sees it.
pub(crate) async fn read_blob(core: &Core, place: &Place, digest: &Digest) -> Option<Vec<u8>> {
    let (_, blob) = core.find_blob(place, digest, None).await.expect("the database answers");
    let blob = blob?;
    let Download::Bytes(mut body) = core.download(&blob, 0..blob.size, None).await.expect("the object is there") else {
        panic!("no redirect was asked for")
    };
    let mut read = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await {
        read.extend_from_slice(&frame.expect("the object is whole").into_data().expect("data"));
    }
    Some(read)
}

/// Media type and bytes of a manifest by tag or digest.
pub(crate) async fn read_manifest(core: &Core, place: &Place, reference: &str) -> Option<(String, Bytes)> {
    let reference = match reference.parse::<Digest>() {
        Ok(digest) => Reference::Digest(digest),
        Err(_) => Reference::Tag(reference.parse().unwrap()),
    };
    let (_, manifest) = core.find_manifest(place, &reference, None).await.expect("the database answers");
    let manifest = manifest?;
    let body = core.manifest_body(&manifest).await.expect("its bytes");
    Some((String::from_utf8(manifest.media_type().to_vec()).expect("text"), body))
}
