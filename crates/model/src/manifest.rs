//! Manifests: read just enough to know what they name. The exact bytes are kept beside, since digests need them.

mod strict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strict::{Filled, List, Members, Object, Unique};

use crate::Digest;

/// OCI image manifest; with another config type or an artifact type it carries any artifact.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI artifact manifest, withdrawn before it was released, but out there.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Docker image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Most descriptors that one manifest may name. An index of 1,000 entries is in use (protocol.md F14).
pub const MAX_DESCRIPTORS: usize = 20_000;

/// Most annotations that a manifest may have of its own.
pub const MAX_ANNOTATIONS: usize = 10_000;

/// Why bytes are no manifest that can be accepted; the text is for the person who pushed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ManifestError(String);

/// What an artifact is, for lists and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A container image for one platform.
    Image,
    /// An image index or manifest list.
    Index,
    /// A Helm chart.
    Chart,
    /// A cosign or notation signature.
    Signature,
    /// Any other artifact.
    Artifact,
}

impl Kind {
    /// The word that the database and the API use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Index => "index",
            Self::Chart => "chart",
            Self::Signature => "signature",
            Self::Artifact => "artifact",
        }
    }
}

/// What one descriptor in a manifest is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The config of an image or artifact: a blob.
    Config,
    /// A layer: a blob.
    Layer,
    /// A child of an index: a manifest, or a blob (BuildKit's cache, protocol.md 3.4).
    Child,
    /// The subject that this manifest refers to; it may come later or never.
    Subject,
}

impl Role {
    /// The word that the database uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Layer => "layer",
            Self::Child => "child",
            Self::Subject => "subject",
        }
    }
}

/// One thing that a manifest names.
#[derive(Clone, Debug)]
pub struct Edge {
    /// What for.
    pub role: Role,
    /// Its digest.
    pub digest: Digest,
    /// Its media type as written.
    pub media_type: String,
    /// Bytes, as the manifest says.
    pub size: i64,
    /// `os/architecture[/variant]` of a child.
    pub platform: Option<String>,
    /// The bytes lie elsewhere (foreign layers, `urls`): they need not be here (protocol.md F6).
    pub elsewhere: bool,
}

/// A manifest that was read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Content-Type to serve it with.
    pub media_type: String,
    /// What it is.
    pub kind: Kind,
    /// `artifactType`, else the config's media type; `None` for an index without (protocol.md K3).
    pub artifact_type: Option<String>,
    /// What it refers to.
    pub subject: Option<Digest>,
    /// Its own annotations.
    pub annotations: BTreeMap<String, String>,
    /// Config, layers, children, then the subject, in the order they are written.
    pub edges: Vec<Edge>,
}

/// A descriptor as the referrers answer lists it, and as an index holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of what it points to.
    pub media_type: String,
    /// Digest of what it points to.
    pub digest: String,
    /// Bytes.
    pub size: i64,
    /// Artifact type, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations, copied in full.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest. `content_type` is the request's, without parameters.
    ///
    /// # Errors
    /// Not a JSON object, one that other parsers could read differently, a broken descriptor, a type that is not supported, or a
    /// `mediaType` that disagrees with the Content-Type (protocol.md F1, F12, F13).
    pub fn read(body: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let unreadable = |why: String| ManifestError(format!("the manifest can't be read as JSON: {why}"));
        let text = str::from_utf8(body).map_err(|error| unreadable(error.to_string()))?;
        let Object(raw): Object<Raw> = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        let media_type = raw.media_type(content_type)?;
        if let Some(version) = raw.schema_version
            && version != 2
        {
            return Err(ManifestError(format!("schemaVersion is {version}; it must be 2")));
        }
        let index = matches!(media_type, OCI_INDEX | DOCKER_LIST);
        if index && (raw.config.is_some() || raw.layers.is_some()) {
            return Err(ManifestError("an index has `manifests`, not `config` or `layers`".to_owned()));
        }
        if !index && raw.manifests.is_some() {
            return Err(ManifestError("an image manifest has `config` and `layers`, not `manifests`".to_owned()));
        }
        if index && raw.manifests.is_none() {
            return Err(ManifestError("an index needs `manifests` (it may be empty)".to_owned()));
        }
        if !index && raw.config.is_none() && media_type != OCI_ARTIFACT {
            return Err(ManifestError("an image manifest needs a `config`".to_owned()));
        }
        if raw.has_nul() {
            return Err(ManifestError("a type or platform in the manifest has a NUL character".to_owned()));
        }
        let artifact_type = raw
            .artifact_type
            .clone()
            .filter(|text| !text.is_empty())
            .or_else(|| raw.config.as_ref().map(|config| config.0.media_type.clone()));
        let edges = raw.edges()?;
        Ok(Self {
            media_type: media_type.to_owned(),
            kind: if index { Kind::Index } else { kind(artifact_type.as_deref(), &edges) },
            artifact_type,
            subject: edges.iter().find(|edge| edge.role == Role::Subject).map(|edge| edge.digest),
            annotations: raw.annotations.map(|annotations| annotations.0).unwrap_or_default(),
            edges,
        })
    }

    /// Sum of the sizes of config and layers, as the manifest says.
    pub fn layer_size(&self) -> i64 {
        self.edges
            .iter()
            .filter(|edge| matches!(edge.role, Role::Config | Role::Layer))
            .fold(0, |sum, edge| edge.size.saturating_add(sum))
    }

    /// This manifest as an entry of the referrers answer (protocol.md K3).
    pub fn descriptor(&self, digest: &Digest, size: usize) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: digest.to_string(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Object<RawDescriptor>>,
    layers: Option<List<Object<RawDescriptor>>>,
    blobs: Option<List<Object<RawDescriptor>>>,
    manifests: Option<List<Object<RawDescriptor>>>,
    subject: Option<Object<RawDescriptor>>,
    annotations: Option<Unique>,
}

impl Members for Raw {
    const NAMES: &'static [&'static str] = &[
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "blobs",
        "manifests",
        "subject",
        "annotations",
    ];
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    // Optional since cosign writes subjects without it (protocol.md 3.8).
    #[serde(default)]
    size: i64,
    #[serde(default)]
    urls: Option<Filled>,
    #[serde(default)]
    platform: Option<Object<RawPlatform>>,
}

impl Members for RawDescriptor {
    const NAMES: &'static [&'static str] = &["mediaType", "digest", "size", "urls", "platform"];
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Members for RawPlatform {
    const NAMES: &'static [&'static str] = &["os", "architecture", "variant"];
}

impl Raw {
    fn media_type(&self, content_type: Option<&str>) -> Result<&'static str, ManifestError> {
        let said = self.media_type.as_deref();
        if let (Some(header), Some(body)) = (content_type, said)
            && header != body
        {
            return Err(ManifestError(format!(
                "the Content-Type is {header}, but the manifest says it is {body}: they must agree"
            )));
        }
        let named = content_type.or(said);
        let Some(named) = named else {
            return Ok(if self.manifests.is_some() { OCI_INDEX } else { OCI_MANIFEST });
        };
        [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, OCI_ARTIFACT]
            .into_iter()
            .find(|known| *known == named)
            .ok_or_else(|| {
                ManifestError(format!(
                    "manifests of type {named} are not supported: push an OCI image manifest or index, or a Docker version 2 schema 2 manifest or list"
                ))
            })
    }

    /// PostgreSQL can't store the character as text, and nobody means it.
    fn has_nul(&self) -> bool {
        let nul = |text: &str| text.contains('\0');
        let descriptors = [&self.layers, &self.blobs, &self.manifests];
        let descriptors = descriptors.into_iter().flatten().flat_map(|list| &list.0);
        let descriptors = descriptors.chain(&self.config).chain(&self.subject);
        self.artifact_type.as_deref().is_some_and(nul)
            || descriptors.map(|descriptor| &descriptor.0).any(|descriptor| {
                nul(&descriptor.media_type) || descriptor.platform.as_ref().is_some_and(|it| nul(&it.0.name()))
            })
    }

    fn edges(&self) -> Result<Vec<Edge>, ManifestError> {
        fn all(list: &Option<List<Object<RawDescriptor>>>) -> &[Object<RawDescriptor>] {
            list.as_ref().map_or(&[], |list| &list.0)
        }
        let lists = [
            (Role::Config, self.config.as_slice()),
            (Role::Layer, all(&self.layers)),
            (Role::Layer, all(&self.blobs)),
            (Role::Child, all(&self.manifests)),
            (Role::Subject, self.subject.as_slice()),
        ];
        if lists.iter().map(|(_, list)| list.len()).sum::<usize>() > MAX_DESCRIPTORS {
            return Err(ManifestError(format!("the manifest names more than {MAX_DESCRIPTORS} things")));
        }
        lists.into_iter().flat_map(|(role, list)| list.iter().map(move |raw| raw.0.edge(role))).collect()
    }
}

impl RawDescriptor {
    fn edge(&self, role: Role) -> Result<Edge, ManifestError> {
        let digest = self
            .digest
            .parse()
            .map_err(|error| ManifestError(format!("the {} {:?}: {error}", role.as_str(), shorten(&self.digest))))?;
        if self.size < 0 {
            return Err(ManifestError(format!("the {} {digest} has a negative size", role.as_str())));
        }
        Ok(Edge {
            role,
            digest,
            media_type: self.media_type.clone(),
            size: self.size,
            platform: self.platform.as_ref().map(|platform| platform.0.name()),
            elsewhere: self.urls.as_ref().is_some_and(|urls| urls.0) || is_foreign(&self.media_type),
        })
    }
}

impl RawPlatform {
    fn name(&self) -> String {
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => format!("{}/{}/{variant}", self.os, self.architecture),
            _ => format!("{}/{}", self.os, self.architecture),
        }
    }
}

fn is_foreign(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign")
}

fn kind(artifact_type: Option<&str>, edges: &[Edge]) -> Kind {
    const COSIGN_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
    match artifact_type.unwrap_or_default() {
        "application/vnd.cncf.helm.config.v1+json" => Kind::Chart,
        "application/vnd.cncf.notary.signature" => Kind::Signature,
        _ if edges.iter().any(|edge| edge.media_type == COSIGN_LAYER) => Kind::Signature,
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => Kind::Image,
        _ => Kind::Artifact,
    }
}

fn shorten(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

    fn read(text: &str, content_type: Option<&str>) -> Result<Manifest, String> {
        Manifest::read(text.as_bytes(), content_type).map_err(|error| error.to_string())
    }

    #[test]
    fn f1_the_type_comes_from_header_or_body_and_they_must_agree() {
        let bare = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[]}}"#);
        assert_eq!(read(&bare, None).map(|m| m.media_type), Ok(OCI_MANIFEST.to_owned()));
        assert_eq!(read(&bare, Some(DOCKER_MANIFEST)).map(|m| m.media_type), Ok(DOCKER_MANIFEST.to_owned()));
        let said = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{CONFIG},"layers":[]}}"#);
        assert!(read(&said, Some(DOCKER_MANIFEST)).is_err_and(|why| why.contains("must agree")));
    }

    #[test]
    fn f13_what_is_no_manifest_is_refused_in_words() {
        for bad in [
            "",
            "[]",
            "{",
            "1",
            "{}",
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":2,"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"config":{"digest":"sha256:x","size":2}}"#,
            &format!(r#"{{"schemaVersion":2,"config":{CONFIG},"manifests":[]}}"#),
            &"[".repeat(100_000),
            &format!(r#"[2,"{OCI_MANIFEST}",null,["x","sha256:{0}",2],[],null,null,null,null]"#, "0".repeat(64)),
            &format!(r#"{{"config":["x","sha256:{0}",2,null,null]}}"#, "0".repeat(64)),
            &format!(r#"{{"config":{CONFIG},"annotations":{{"a":"1","a":"2"}}}}"#),
            &format!(r#"{{"config":{CONFIG},"artifactType":"a\u0000b"}}"#),
        ] {
            assert!(read(bad, None).is_err(), "{bad:.60}");
        }
        assert!(read("{}", Some("application/vnd.docker.distribution.manifest.v1+prettyjws")).is_err());
        let no_text = [format!(r#"{{"config":{CONFIG},"x":""#).as_bytes(), b"\xff\"}"].concat();
        assert!(Manifest::read(&no_text, None).is_err_and(|why| why.to_string().contains("utf-8")));
    }

    /// protocol.md F13: the bytes are kept, and a client's parser must not find other things in them than were checked here.
    #[test]
    fn f13_what_parsers_read_differently_is_refused() {
        let plain = format!(r#"{{"mediaType":"{OCI_MANIFEST}","config":{CONFIG},"layers":[{CONFIG}]}}"#);
        assert!(read(&plain, None).is_ok());
        for (member, twin) in [
            (r#""mediaType":"application/vnd.oci"#, r#""mediaType":"x","mediaType":"application/vnd.oci"#),
            (r#""config":"#, r#""config":null,"config":"#),
            (r#""layers":"#, r#""layers":[],"layers":"#),
            (r#""layers":"#, r#""Layers":[],"layers":"#),
            (r#""layers":"#, r#""layer\u017f":[],"layers":"#),
            (r#""layers":"#, r#""bLobs":[],"layers":"#),
            (r#""digest":"#, r#""Digest":"x","digest":"#),
            (r#""digest":"#, r#""digest":"x","digest":"#),
            (r#""size":"#, r#""\u0073ize":1,"size":"#),
            (r#""size":"#, r#""platform":{"os":"a","OS":"b"},"size":"#),
        ] {
            let tricky = plain.replace(member, twin);
            assert!(tricky != plain && read(&tricky, None).is_err(), "{tricky}");
        }
        let harmless = plain.replace(r#""layers":"#, r#""layer":1,"layer":2,"X":{"Config":1,"config":2},"layers":"#);
        assert!(read(&harmless, None).is_ok());
    }

    /// Lists are bounded before they take memory.
    #[test]
    fn f14_what_is_too_long_is_refused() {
        let layers = vec![CONFIG; MAX_DESCRIPTORS + 1].join(",");
        assert!(read(&format!(r#"{{"config":{CONFIG},"layers":[{layers}]}}"#), None).is_err());
        let list = |count| (0..count).map(|n| format!(r#""a{n}":"""#)).collect::<Vec<_>>().join(",");
        let with = |count| format!(r#"{{"config":{CONFIG},"annotations":{{{}}}}}"#, list(count));
        assert!(read(&with(MAX_ANNOTATIONS), None).is_ok());
        assert!(read(&with(MAX_ANNOTATIONS + 1), None).is_err());
    }

    #[test]
    fn k3_artifact_type_falls_back_to_the_config() {
        let with = format!(r#"{{"artifactType":"a/b","config":{CONFIG}}}"#);
        assert_eq!(read(&with, None).map(|m| m.artifact_type), Ok(Some("a/b".to_owned())));
        let without = format!(r#"{{"config":{CONFIG}}}"#);
        assert_eq!(
            read(&without, None).map(|m| m.artifact_type),
            Ok(Some("application/vnd.oci.image.config.v1+json".to_owned()))
        );
        assert_eq!(read(r#"{"manifests":[]}"#, None).map(|m| (m.artifact_type, m.kind)), Ok((None, Kind::Index)));
    }

    #[test]
    fn f6_foreign_layers_need_not_be_here() {
        let text = format!(
            r#"{{"config":{CONFIG},"layers":[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"sha256:{0}","size":1}},{{"mediaType":"x","digest":"sha256:{0}","size":1,"urls":["http://example.com"]}},{{"mediaType":"x","digest":"sha256:{0}","size":1}}]}}"#,
            "0".repeat(64)
        );
        let elsewhere: Vec<_> =
            read(&text, None).map(|m| m.edges.iter().map(|e| e.elsewhere).collect()).unwrap_or_default();
        assert_eq!(elsewhere, [false, true, true, false]);
    }
}
