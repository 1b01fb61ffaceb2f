//! Configs of artifacts: what a person wants to know of them. They are what somebody pushed, so nothing in them is trusted to be of any
//! form: what is not as it should be is left out.

use std::{collections::BTreeMap, future::poll_fn, pin::Pin};

use http_body::Body as _;
use roadstead_db::artifact_views::Named;
use roadstead_model::Digest;
use serde_json::{Map, Value};

use crate::{Blob, Core, Download, Error, Result};

/// Larger ones are not read.
pub(crate) const MOST_BYTES: usize = 1 << 20;

const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What is known of a config.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
    /// Why its content is not known.
    pub unread: Option<String>,
    /// `os/architecture[/variant]`.
    pub platform: Option<String>,
    /// When the image was made, as it says.
    pub created: Option<String>,
    /// Who made it, as it says.
    pub author: Option<String>,
    /// As whom it runs.
    pub user: Option<String>,
    /// Where it runs.
    pub working_dir: Option<String>,
    /// What runs.
    pub entrypoint: Vec<String>,
    /// What runs, or what it is told.
    pub cmd: Vec<String>,
    /// Variables, `NAME=VALUE`.
    pub env: Vec<String>,
    /// `PORT/PROTOCOL`.
    pub exposed_ports: Vec<String>,
    /// Folders.
    pub volumes: Vec<String>,
    /// What is said about it.
    pub labels: BTreeMap<String, String>,
    /// The signal that ends it.
    pub stop_signal: Option<String>,
    /// All of it, where it is not that of an image.
    pub content: Option<Value>,
}

/// A step of the building of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, as it says.
    pub created: Option<String>,
    /// By which command.
    pub created_by: Option<String>,
    /// Words about it.
    pub comment: Option<String>,
    /// Who did it, as it says.
    pub author: Option<String>,
    /// It made no layer.
    pub empty_layer: bool,
}

/// What a config tells.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) config: Option<Config>,
    pub(crate) history: Vec<Step>,
}

impl Read {
    /// Nothing, because.
    pub(crate) fn unread(named: &Named, why: &str) -> Self {
        let config = Config { unread: Some(why.to_owned()), ..empty(named) };
        Self { config: Some(config), history: Vec::new() }
    }
}

/// What these bytes tell.
pub(crate) fn read(named: &Named, bytes: &[u8]) -> Read {
    let Ok(content) = serde_json::from_slice::<Value>(bytes) else { return Read::unread(named, "it is not JSON") };
    if !IMAGE_CONFIGS.contains(&named.media_type.as_str()) {
        return Read { config: Some(Config { content: Some(content), ..empty(named) }), history: Vec::new() };
    }
    let Value::Object(whole) = content else { return Read::unread(named, "it is not an object in JSON") };
    let nothing = Map::new();
    let run = whole.get("config").and_then(Value::as_object).unwrap_or(&nothing);
    let config = Config {
        platform: platform(&whole),
        created: text(&whole, "created"),
        author: text(&whole, "author"),
        user: text(run, "User"),
        working_dir: text(run, "WorkingDir"),
        entrypoint: texts(run, "Entrypoint"),
        cmd: texts(run, "Cmd"),
        env: texts(run, "Env"),
        exposed_ports: names(run, "ExposedPorts"),
        volumes: names(run, "Volumes"),
        labels: labels(run),
        stop_signal: text(run, "StopSignal"),
        ..empty(named)
    };
    let steps = whole.get("history").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Read { config: Some(config), history: steps.iter().filter_map(Value::as_object).map(step).collect() }
}

fn empty(named: &Named) -> Config {
    Config {
        digest: named.digest,
        media_type: named.media_type.clone(),
        size: named.size,
        unread: None,
        platform: None,
        created: None,
        author: None,
        user: None,
        working_dir: None,
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        env: Vec::new(),
        exposed_ports: Vec::new(),
        volumes: Vec::new(),
        labels: BTreeMap::new(),
        stop_signal: None,
        content: None,
    }
}

fn step(object: &Map<String, Value>) -> Step {
    Step {
        created: text(object, "created"),
        created_by: text(object, "created_by"),
        comment: text(object, "comment"),
        author: text(object, "author"),
        empty_layer: object.get("empty_layer").and_then(Value::as_bool).unwrap_or(false),
    }
}

fn platform(whole: &Map<String, Value>) -> Option<String> {
    let (os, architecture) = (text(whole, "os")?, text(whole, "architecture")?);
    Some(match text(whole, "variant") {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    })
}

fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(object: &Map<String, Value>, name: &str) -> Vec<String> {
    let all = object.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn names(object: &Map<String, Value>, name: &str) -> Vec<String> {
    object.get(name).and_then(Value::as_object).map(|it| it.keys().cloned().collect()).unwrap_or_default()
}

fn labels(object: &Map<String, Value>) -> BTreeMap<String, String> {
    let all = object.get("Labels").and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

impl Core {
    /// All bytes of a blob of which there are few.
    pub(crate) async fn read_whole(&self, blob: &Blob) -> Result<Vec<u8>> {
        let Download::Bytes(mut body) = self.download(blob, 0..blob.size, None).await? else {
            return Err(Error::Internal("an address was given for bytes".to_owned()));
        };
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use roadstead_model::Algorithm;

    use super::*;

    fn told(media_type: &str, text: &str) -> Read {
        let named = Named {
            role: "config".to_owned(),
            digest: Digest::of(Algorithm::Sha256, text.as_bytes()),
            media_type: media_type.to_owned(),
            size: 1,
            platform: None,
            whole: None,
        };
        read(&named, text.as_bytes())
    }

    #[test]
    fn an_image_tells_how_it_runs_and_was_built() {
        let Read { config, history } = told(
            IMAGE_CONFIGS[0],
            r#"{"os":"linux","architecture":"arm","variant":"v7","created":"2026-01-01T00:00:00Z",
                "config":{"Env":["A=1",2],"Cmd":["sh"],"ExposedPorts":{"80/tcp":{}},"Labels":{"a":"b","c":1},"User":7},
                "history":[{"created_by":"RUN x","empty_layer":true},null,{"comment":"c"}]}"#,
        );
        let config = config.unwrap();
        assert_eq!((config.platform.as_deref(), config.unread), (Some("linux/arm/v7"), None));
        assert_eq!((config.env, config.cmd, config.user), (vec!["A=1".to_owned()], vec!["sh".to_owned()], None));
        assert_eq!((config.exposed_ports, config.labels.len()), (vec!["80/tcp".to_owned()], 1));
        let steps: Vec<_> = history.iter().map(|it| (it.created_by.as_deref(), it.empty_layer)).collect();
        assert_eq!(steps, [(Some("RUN x"), true), (None, false)]);
    }

    #[test]
    fn what_is_no_config_is_said_to_be_none() {
        for (text, why) in
            [("x", "not JSON"), ("", "not JSON"), ("[]", "not an object"), (&"[".repeat(9999), "not JSON")]
        {
            let config = told(IMAGE_CONFIGS[1], text).config.unwrap();
            assert!(config.unread.is_some_and(|unread| unread.contains(why)), "{text:.9}");
        }
        let chart = told("application/vnd.cncf.helm.config.v1+json", r#"{"name":"shop"}"#).config.unwrap();
        assert_eq!(chart.content.unwrap()["name"], "shop");
    }
}
