//! `PUT /v2/N/manifests/R` (end-7; protocol.md F1-F14).

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use roadstead_access::Action;
use roadstead_model::{Digest, Reference, RepositoryName, Tag};
use roadstead_registry::{Error, ManifestPush};

use crate::{
    answer::{Answer, SUBJECT, TAG},
    body::Body,
    call::Call,
    error::ApiError,
    incoming::Incoming,
    warning::warning,
};

/// How long the bytes of a manifest may take to come: 4 MiB over a slow line.
const MOST_TIME: Duration = Duration::from_secs(300);

/// The most `tag` parameters of one request (F11: at least ten).
const MOST_TAGS: usize = 100;

pub(crate) async fn put(
    call: &Call<'_>,
    name: &RepositoryName,
    reference: Reference,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let (place, gate) = call.enter(Action::Push, name).await?;
    let asked = asked_tags(call)?;
    if call.parts.headers.get_all(header::CONTENT_TYPE).iter().nth(1).is_some() {
        let message = "the request has two Content-Types".to_owned();
        return Err(Error::ManifestInvalid(message).into());
    }
    let limit = call.settings().manifest_bytes;
    let collected = body.collect(limit, MOST_TIME, &call.shared.room).await;
    let body = collected.map_err(|error| error.into_answer("manifest", limit))?;

    let location = format!("/v2/{name}/manifests/{reference}");
    let mut tags = asked.clone();
    let digest = match reference {
        Reference::Digest(digest) => Some(digest),
        Reference::Tag(tag) => {
            if !tags.contains(&tag) {
                tags.insert(0, tag);
            }
            None
        }
    };
    let media_type = call.header(header::CONTENT_TYPE).and_then(plain_media_type);
    let by = call.caller.key_id().to_owned();
    let pushed = call
        .core()
        .put_manifest(&gate, &place, ManifestPush { media_type, body: body.bytes.clone(), digest, tags, by })
        .await?;

    let mut answer = Answer::new(StatusCode::CREATED).header(header::LOCATION, location).digest(&pushed.digest);
    if let Some(subject) = pushed.subject {
        answer = answer.header(SUBJECT, subject.to_string());
    }
    if let Some(words) = missing_warning(&pushed.missing) {
        answer = answer.header(header::WARNING, words);
    }
    for tag in asked {
        answer = answer.header(TAG, tag.to_string());
    }
    Ok(answer.empty())
}

/// A sparse image is taken, but the person who pushed it should hear that nobody can pull it whole yet.
fn missing_warning(missing: &[Digest]) -> Option<HeaderValue> {
    let first = missing.first()?;
    warning(&format!(
        "{} of the blobs that this manifest names are not in the repository, such as {first}: it can't be pulled whole until they are pushed",
        missing.len()
    ))
}

/// The tags of `?tag=` (end-7b), each once, in their order.
fn asked_tags(call: &Call<'_>) -> Result<Vec<Tag>, ApiError> {
    let mut tags: Vec<Tag> = Vec::new();
    for (count, text) in call.query().all("tag").enumerate() {
        if count >= MOST_TAGS {
            let message = format!("one request may set {MOST_TAGS} tags");
            return Err(ApiError::new(StatusCode::URI_TOO_LONG, "UNSUPPORTED", message));
        }
        let tag: Tag = text.parse()?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// A Content-Type without its parameters (F1); `None` when nothing is left.
fn plain_media_type(header: &str) -> Option<String> {
    let plain = header.split(';').next().unwrap_or_default().trim();
    (!plain.is_empty()).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::plain_media_type;

    #[test]
    fn parameters_of_content_types_are_ignored() {
        assert_eq!(plain_media_type("application/x+json; charset=utf-8").as_deref(), Some("application/x+json"));
        assert_eq!(plain_media_type(" ; x"), None);
    }
}
