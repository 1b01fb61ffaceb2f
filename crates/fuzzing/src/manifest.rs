//! Manifests, compared with two readers of other kinds: one that takes any JSON, and one that is as lenient as Go's.

use std::fmt;

use roadstead_model::{
    Digest,
    manifest::{self as model, Descriptor, Edge, MAX_ANNOTATIONS, MAX_DESCRIPTORS, Manifest, Role},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

const TYPES: [Option<&str>; 7] = [
    None,
    Some(model::OCI_MANIFEST),
    Some(model::OCI_INDEX),
    Some(model::DOCKER_MANIFEST),
    Some(model::DOCKER_LIST),
    Some(model::OCI_ARTIFACT),
    Some("text/html"),
];

/// Reads a manifest (all bytes but the first) with a Content-Type (the first). The verdict is always the same, and an accepted manifest
/// says to every other reader of JSON what was read here.
pub fn manifest(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let content_type = TYPES[usize::from(*first) % TYPES.len()];
    let read = Manifest::read(body, content_type);
    let again = Manifest::read(body, content_type);
    assert_eq!(format!("{read:?}"), format!("{again:?}"), "another verdict the second time");
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(error) => {
            let words = error.to_string();
            assert!(!words.is_empty() && words.len() < body.len() + 1024, "{} bytes", words.len());
            return;
        }
    };
    assert!(manifest.edges.len() <= MAX_DESCRIPTORS && manifest.annotations.len() <= MAX_ANNOTATIONS);
    assert!(manifest.edges.iter().all(|edge| edge.size >= 0) && manifest.layer_size() >= 0);
    assert!(content_type.is_none_or(|given| given == manifest.media_type));
    is_in_json(&manifest, body);
    is_what_go_reads(&manifest, body);
    comes_back(&manifest, body);
}

/// The descriptor of a referrer is stored as JSON, and listed from there.
fn comes_back(manifest: &Manifest, body: &[u8]) {
    let digest = Digest::of(roadstead_model::Algorithm::Sha256, body);
    let text = serde_json::to_string(&manifest.descriptor(&digest, body.len())).expect("a descriptor is JSON");
    assert!(!text.contains('\0'));
    let back: Descriptor = serde_json::from_str(&text).expect("what was just written");
    assert_eq!(back.annotations, manifest.annotations);
    assert_eq!((back.media_type, back.artifact_type), (manifest.media_type.clone(), manifest.artifact_type.clone()));
}

fn is_in_json(manifest: &Manifest, body: &[u8]) {
    // That reader refuses what is nested deeper than 128, and numbers and texts of members that are not looked at here.
    let Ok(json) = serde_json::from_slice::<Value>(body) else { return };
    let texts = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let mut expected: Vec<(Role, Value)> = Vec::new();
    expected.extend(Some(json["config"].clone()).filter(Value::is_object).map(|it| (Role::Config, it)));
    for (role, name) in [(Role::Layer, "layers"), (Role::Layer, "blobs"), (Role::Child, "manifests")] {
        expected.extend(texts(&json[name]).into_iter().map(|it| (role, it)));
    }
    expected.extend(Some(json["subject"].clone()).filter(Value::is_object).map(|it| (Role::Subject, it)));
    assert_eq!(manifest.edges.len(), expected.len(), "as many as are named");
    for (edge, (role, json)) in manifest.edges.iter().zip(&expected) {
        assert_eq!(edge.role, *role);
        assert_eq!(json["digest"].as_str(), Some(edge.digest.to_string().as_str()));
        assert_eq!(json["size"].as_i64().unwrap_or(0), edge.size);
        assert_eq!(json["mediaType"].as_str().unwrap_or(""), edge.media_type);
        let urls = json["urls"].as_array().is_some_and(|urls| !urls.is_empty());
        assert!(edge.elsewhere || !urls);
    }
    let annotations = json["annotations"].as_object().cloned().unwrap_or_default();
    assert_eq!(annotations.len(), manifest.annotations.len());
    for (name, value) in annotations {
        assert_eq!(value.as_str(), manifest.annotations.get(&name).map(String::as_str), "{name}");
    }
    let subject = json["subject"]["digest"].as_str().map(str::to_owned);
    assert_eq!(subject, manifest.subject.map(|digest| digest.to_string()));
}

fn is_what_go_reads(manifest: &Manifest, body: &[u8]) {
    let Ok(members) = serde_json::from_slice::<Members<'_>>(body) else { panic!("an object that is none") };
    let named = |role: fn(Role) -> bool| -> Vec<String> {
        let edges = manifest.edges.iter().filter(|edge| role(edge.role));
        edges.map(|edge: &Edge| edge.digest.to_string()).collect()
    };
    assert_eq!(members.digests(&["config"]), named(|role| role == Role::Config));
    assert_eq!(members.digests(&["layers", "blobs"]), named(|role| role == Role::Layer));
    assert_eq!(members.digests(&["manifests"]), named(|role| role == Role::Child));
    assert_eq!(members.digests(&["subject"]), named(|role| role == Role::Subject));
    let said: Option<String> = members.get("mediaType").and_then(|raw| serde_json::from_str(raw.get()).ok());
    assert!(said.is_none_or(|said| said == manifest.media_type), "a client reads another type");
}

/// An object as Go's `encoding/json` looks its members up: without regard to case, and the last one counts.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs).map(Self)
    }
}

/// Unicode's simple folding, as far as it ends at a letter of ASCII.
fn fold(letter: char) -> char {
    // Its upper case is `I`, but it folds to itself.
    if letter == '\u{131}' {
        return letter;
    }
    let single = |mut all: Box<dyn Iterator<Item = char>>| all.next().filter(|_| all.next().is_none());
    let upper = single(Box::new(letter.to_uppercase())).unwrap_or(letter);
    single(Box::new(upper.to_lowercase())).unwrap_or(upper)
}

impl<'a> Members<'a> {
    fn get(&self, known: &str) -> Option<&'a RawValue> {
        let fold = |text: &str| text.chars().map(fold).collect::<String>();
        self.0.iter().rev().find(|(name, _)| fold(name) == fold(known)).map(|(_, value)| *value)
    }

    fn digests(&self, names: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for raw in names.iter().filter_map(|name| self.get(name)) {
            let list = serde_json::from_str::<Vec<Members<'_>>>(raw.get());
            let one = || serde_json::from_str::<Members<'_>>(raw.get()).map(|one| vec![one]);
            for descriptor in list.or_else(|_| one()).unwrap_or_default() {
                let digest = descriptor.get("digest").and_then(|raw| serde_json::from_str(raw.get()).ok());
                found.push(digest.expect("a descriptor has a digest"));
            }
        }
        found
    }
}
