//! Things to push: bytes, blobs, manifests, indexes, artifacts.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

/// Media types, as often needed.
pub mod types {
    /// OCI image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A compressed layer.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An uncompressed layer.
    pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer that is never pushed.
    pub const FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    /// `{}`.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// Docker's image manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}

/// The hash function of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `sha256`.
    Sha256,
    /// `sha512`.
    Sha512,
}

/// Both, for tests that run with each.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

impl Algorithm {
    /// The name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The digest of `bytes`.
    pub fn of(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => format!("sha256:{}", hex(&Sha256::digest(bytes))),
            Self::Sha512 => format!("sha512:{}", hex(&Sha512::digest(bytes))),
        }
    }
}

/// The sha256 digest of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    Algorithm::Sha256.of(bytes)
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that nobody has had before.
pub fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes[..]);
    bytes
}

/// A manifest of any kind: exact bytes and media type.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// For `Content-Type`.
    pub media_type: String,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Manifest {
    /// The bytes of `json`, whose `mediaType` is the media type.
    ///
    /// # Panics
    /// When it has none.
    pub fn new(json: &Value) -> Self {
        let media_type = json["mediaType"].as_str().expect("a mediaType").to_owned();
        Self { media_type, bytes: serde_json::to_vec_pretty(json).expect("JSON can be written") }
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }

    /// The body as JSON, to change and make a new one of.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a manifest is JSON")
    }

    /// A copy with one member set.
    pub fn with(&self, member: &str, value: impl Into<Value>) -> Self {
        let mut json = self.json();
        json[member] = value.into();
        Self { media_type: self.media_type.clone(), ..Self::new_untyped(&json) }
    }

    /// A copy that names `subject`.
    pub fn about(&self, subject: &Self) -> Self {
        self.with("subject", subject.descriptor())
    }

    /// Its descriptor, by sha256.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }

    fn new_untyped(json: &Value) -> Self {
        Self { media_type: String::new(), bytes: serde_json::to_vec_pretty(json).expect("JSON can be written") }
    }
}

/// The descriptor of some bytes.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

/// An image: a manifest and the blobs it names.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Manifest,
    /// Configuration first, then the layers.
    pub blobs: Vec<Vec<u8>>,
}

/// An OCI image with a configuration and `layers` layers that nobody has pushed before.
pub fn image(layers: usize) -> Image {
    let layers: Vec<Vec<u8>> = (0..layers).map(|_| random_bytes(1000)).collect();
    image_of(&layers)
}

/// An OCI image of these layers, with a configuration that nobody has pushed before.
pub fn image_of(layers: &[Vec<u8>]) -> Image {
    let config = json!({"architecture": "amd64", "os": "linux", "nonce": hex(&random_bytes(8)),
        "rootfs": {"type": "layers", "diff_ids": []}, "history": []});
    let config = serde_json::to_vec(&config).expect("JSON can be written");
    let json = json!({
        "schemaVersion": 2, "mediaType": types::MANIFEST,
        "config": descriptor(types::CONFIG, &config),
        "layers": layers.iter().map(|layer| descriptor(types::LAYER, layer)).collect::<Vec<_>>(),
    });
    Image { manifest: Manifest::new(&json), blobs: std::iter::once(config).chain(layers.iter().cloned()).collect() }
}

/// An image in Docker's own types.
pub fn docker_image() -> Image {
    let mut image = image(1);
    let mut json = image.manifest.json();
    json["mediaType"] = types::DOCKER_MANIFEST.into();
    json["config"]["mediaType"] = types::DOCKER_CONFIG.into();
    json["layers"][0]["mediaType"] = types::DOCKER_LAYER.into();
    image.manifest = Manifest::new(&json);
    image
}

/// An artifact of `artifact_type` with the empty configuration and one small layer of its own.
pub fn artifact(artifact_type: &str) -> Image {
    let layer = random_bytes(100);
    let json = json!({
        "schemaVersion": 2, "mediaType": types::MANIFEST, "artifactType": artifact_type,
        "config": descriptor(types::EMPTY, b"{}"),
        "layers": [descriptor("application/octet-stream", &layer)],
        "annotations": {"org.example.nonce": hex(&random_bytes(8))},
    });
    Image { manifest: Manifest::new(&json), blobs: vec![b"{}".to_vec(), layer] }
}

/// An index of `children`, each with a platform.
pub fn index(children: &[&Manifest]) -> Manifest {
    let architectures = ["amd64", "arm64", "s390x"];
    let children = children.iter().enumerate().map(|(n, child)| {
        let mut descriptor = child.descriptor();
        descriptor["platform"] = json!({"os": "linux", "architecture": architectures[n % architectures.len()]});
        descriptor
    });
    index_of(children.collect())
}

/// An index of any descriptors.
pub fn index_of(descriptors: Vec<Value>) -> Manifest {
    Manifest::new(&json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": descriptors,
        "annotations": {"org.example.nonce": hex(&random_bytes(8))}}))
}
