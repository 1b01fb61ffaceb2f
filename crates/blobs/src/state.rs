//! All that must be remembered of an upload between two requests, as text for its row in the database.

use bytes::Bytes;
use roadstead_model::{Algorithm, digest::hex};
use serde::{Deserialize, Serialize};

use crate::{BlobError, hashing::Hashes, key};

/// Number of the text form. It changes when an older program could no longer read what a newer one writes. 1 had no `held`.
const FORMAT: u32 = 2;

/// An upload as far as its bytes are durable. Whoever holds the newest state may go on, on any node.
#[derive(Clone, Debug)]
pub struct UploadState {
    pub(crate) key: String,
    pub(crate) offset: u64,
    /// All bytes of a small upload: nothing of it is in the bucket.
    pub(crate) held: Bytes,
    pub(crate) announced: Option<Algorithm>,
    /// `None`: saved by a program whose form is unknown, to be made again from the stored bytes.
    pub(crate) hashes: Option<Hashes>,
    pub(crate) multipart: Option<Multipart>,
    pub(crate) tail: Option<Tail>,
    pub(crate) superseded: Vec<String>,
    /// Claims before this one have left nothing behind that is not named here, or that was not named to be removed.
    pub(crate) accounted: i64,
    /// Some claim may have ended without a word, and its writer may still be at work.
    pub(crate) abandoned: bool,
    /// Where the writer of this claim stores a tail. Not saved: the claim says it.
    pub(crate) tail_key: Option<String>,
}

/// A multipart upload that was begun on an object store. Every part but the last has `part_bytes` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Multipart {
    pub(crate) id: String,
    pub(crate) part_bytes: u64,
    /// What the store calls each part, in order.
    pub(crate) parts: Vec<String>,
}

impl Multipart {
    pub(crate) fn stored(&self) -> u64 {
        self.part_bytes.saturating_mul(self.parts.len() as u64)
    }
}

/// The end of an upload that did not fill a part, stored as an object of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub(crate) key: String,
    pub(crate) bytes: u64,
}

/// The text form.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    key: String,
    offset: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    held: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    announced: Option<String>,
    midstates: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    multipart: Option<Multipart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<Tail>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    superseded: Vec<String>,
    #[serde(default)]
    accounted: i64,
    #[serde(default)]
    abandoned: bool,
}

/// So many claims that ended without a word are looked back at. Each is a request that was cut by the end of its process.
const LOOK_BACK: i64 = 64;

impl UploadState {
    /// A new upload whose object is to lie under `key` (see [`crate::KeySource::fresh`]). It is hashed with sha256, and
    /// with `announced` as well when that is another algorithm.
    pub fn new(key: String, announced: Option<Algorithm>) -> Self {
        Self {
            key,
            offset: 0,
            held: Bytes::new(),
            announced,
            hashes: Some(Hashes::new(announced)),
            multipart: None,
            tail: None,
            superseded: Vec::new(),
            accounted: 1,
            abandoned: false,
            tail_key: None,
        }
    }

    /// The claim of this number (they go up by one, from 1) takes the upload up. Gives the keys under which claims before it may have
    /// stored something that no state names, because their process died in between or sleeps: to be removed once it can't be
    /// stored any more either. What this claim stores beside parts lies under a key that the next one can tell in the same way.
    pub fn claimed(&mut self, claim: i64) -> Vec<String> {
        let first = self.accounted.max(claim.saturating_sub(LOOK_BACK));
        let left = (first..claim).map(|earlier| key::derived(&self.key, earlier)).collect::<Vec<_>>();
        self.abandoned |= !left.is_empty();
        self.tail_key = Some(key::derived(&self.key, claim));
        left
    }

    /// What the claim of this number has stored is named by this state. `over`: it will not store anything more.
    pub fn accounted(&mut self, claim: i64, over: bool) {
        self.accounted = claim + i64::from(over);
    }

    /// The key that was fixed when the upload began, when a writer that was left behind may still store an object there: to be
    /// removed later when the upload ends without it.
    pub fn left_behind(&self) -> Option<&str> {
        self.abandoned.then_some(self.key.as_str())
    }

    /// How many bytes of the upload are durable.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes of the upload are in the bucket.
    pub(crate) fn in_bucket(&self) -> u64 {
        if self.held.is_empty() { self.offset } else { 0 }
    }

    /// The key that was fixed when the upload began.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Tells the algorithm of the digest before the first byte came, so that the bytes need not be read again at the
    /// end. Later than that it has no effect.
    pub fn announce(&mut self, algorithm: Algorithm) {
        if self.in_bucket() == 0 {
            self.announced = Some(algorithm);
            self.hashes = Some(Hashes::new(self.announced));
        }
    }

    /// Objects that nothing needs any more once this state is saved: delete them then. Each is named by one state only;
    /// one forgotten is found by the audit.
    pub fn superseded(&self) -> &[String] {
        &self.superseded
    }

    /// The text to keep.
    pub fn to_text(&self) -> String {
        let saved = Saved {
            format: FORMAT,
            key: self.key.clone(),
            offset: self.offset,
            held: hex(&self.held),
            announced: self.announced.map(|algorithm| algorithm.name().to_owned()),
            midstates: self.hashes.iter().flat_map(Hashes::save).map(|state| hex(&state)).collect(),
            multipart: self.multipart.clone(),
            tail: self.tail.clone(),
            superseded: self.superseded.clone(),
            accounted: self.accounted,
            abandoned: self.abandoned,
        };
        serde_json::to_string(&saved).expect("texts, numbers and lists of them always have a JSON form")
    }

    /// Reads [`UploadState::to_text`] back. A hash midstate of an unknown form is no error: the bytes are hashed again
    /// if they can be read. A text of a newer format is [`BlobError::Internal`].
    pub fn from_text(text: &str) -> Result<Self, BlobError> {
        let broken = |what: String| BlobError::Internal(format!("saved upload state: {what}"));
        let saved: Saved = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
        if !(1..=FORMAT).contains(&saved.format) {
            return Err(broken(format!("format {} is not known to this program", saved.format)));
        }
        let announced = saved.announced.map(|name| name.parse()).transpose();
        let announced = announced.map_err(|_| broken("unknown digest algorithm".to_owned()))?;
        let held = Bytes::from(unhex(&saved.held));
        if !saved.held.is_empty() && held.len() as u64 != saved.offset {
            return Err(broken(format!("{} bytes are held of {}", held.len(), saved.offset)));
        }
        let midstates: Vec<Vec<u8>> = saved.midstates.iter().map(|text| unhex(text)).collect();
        Ok(Self {
            key: saved.key,
            offset: saved.offset,
            held,
            announced,
            hashes: Hashes::load(midstates.iter().map(Vec::as_slice), announced),
            multipart: saved.multipart,
            tail: saved.tail,
            superseded: saved.superseded,
            accounted: saved.accounted.max(1),
            abandoned: saved.abandoned,
            tail_key: None,
        })
    }
}

/// The bytes of hexadecimal digits; nothing for anything else, which no hasher takes for a midstate and no offset fits.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |letter: u8| (letter as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    });
    bytes.collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_text() {
        let mut state = UploadState::new("k".repeat(32), Some(Algorithm::Sha512));
        state.hashes.as_mut().expect("a new state").update(b"abc");
        state.offset = 13;
        state.multipart = Some(Multipart { id: "id".into(), part_bytes: 10, parts: vec!["\"etag\"".into()] });
        state.tail = Some(Tail { key: "t".into(), bytes: 3 });
        state.superseded = vec!["old".into()];
        let read = UploadState::from_text(&state.to_text()).expect("its own text");
        assert_eq!(read.to_text(), state.to_text());
        let hashes = read.hashes.expect("known midstates");
        assert_eq!(hashes.digest(Algorithm::Sha512), Some(roadstead_model::Digest::of(Algorithm::Sha512, b"abc")));
    }

    #[test]
    fn a_claim_knows_what_the_ones_before_it_may_have_left() {
        let mut state = UploadState::new("k".repeat(32), None);
        assert!(state.claimed(1).is_empty() && state.left_behind().is_none());
        let first = state.tail_key.clone();
        state.accounted(1, true);
        let mut state = UploadState::from_text(&state.to_text()).expect("its own text");
        assert!(state.claimed(2).is_empty());
        let second = state.tail_key.clone();
        assert_ne!(first, second);
        // Its checkpoint is saved; then its process dies.
        state.accounted(2, false);
        let mut state = UploadState::from_text(&state.to_text()).expect("its own text");
        assert_eq!(state.claimed(3), Vec::from_iter(second));
        assert_eq!(state.left_behind(), Some(state.key()));
    }

    #[test]
    fn an_unknown_midstate_is_hashed_again_and_an_unknown_format_is_refused() {
        let text = UploadState::new("k".repeat(32), None).to_text();
        let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        value["midstates"] = serde_json::json!(["ff00"]);
        assert!(UploadState::from_text(&value.to_string()).expect("readable").hashes.is_none());
        value["format"] = serde_json::json!(FORMAT + 1);
        assert!(matches!(UploadState::from_text(&value.to_string()), Err(BlobError::Internal(_))));
    }
}
