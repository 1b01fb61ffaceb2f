//! What the endpoints of an upload have in common (protocol.md D1-D19).
//!
//! A Location carries the id alone: where the upload stands is in the database, so an old Location stays right (1.5.4), and parameters
//! that a client adds to it are simply not looked at (D10).

use http::{Response, StatusCode, header};
use roadstead_model::{Digest, Place, RepositoryName};
use roadstead_registry::{Error, Gate, UploadStatus};

use crate::{
    answer::{Answer, UPLOAD_UUID},
    body::Body,
    call::Call,
    error::ApiError,
    range::{self, Chunk},
};

fn location(name: &RepositoryName, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// An answer about an upload that goes on.
pub(crate) fn standing(status: StatusCode, name: &RepositoryName, upload: &UploadStatus) -> Response<Body> {
    Answer::new(status)
        .header(header::LOCATION, location(name, &upload.id))
        .header(header::RANGE, range::stored_range(upload.stored))
        .header(UPLOAD_UUID, upload.id.as_str())
        .empty()
}

/// 201: the blob is there.
pub(crate) fn created(name: &RepositoryName, digest: &Digest) -> Response<Body> {
    Answer::new(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{name}/blobs/{digest}"))
        .digest(digest)
        .empty()
}

/// The error about an upload, with Location and Range where the client can go on from them.
pub(crate) fn failed(name: &RepositoryName, id: &str, error: Error, ranged: bool) -> ApiError {
    match error {
        // A chunk that is not as long as its Content-Range said is a wrong range (D7).
        Error::BodyBroken { stored } if ranged => out_of_range(name, id, stored, error.to_string()),
        Error::UploadOffset { stored } => out_of_range(name, id, stored, error.to_string()),
        Error::BodyBroken { stored } => whereabouts(error.into(), name, id, stored),
        other => other.into(),
    }
}

/// The digest that the request names, if it names one. Two different ones are none: a proxy may have looked at the other (D11).
pub(crate) fn named_digest(call: &Call<'_>) -> Result<Option<Digest>, ApiError> {
    let query = call.query();
    let Some(digest) = query.filled("digest") else { return Ok(None) };
    if query.all("digest").any(|other| other != digest) {
        return Err(ApiError::digest("the request names two digests"));
    }
    Ok(Some(digest.parse()?))
}

/// 416 with what is stored (D7, D13).
pub(crate) fn out_of_range(name: &RepositoryName, id: &str, stored: u64, message: String) -> ApiError {
    whereabouts(ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message), name, id, stored)
}

fn whereabouts(error: ApiError, name: &RepositoryName, id: &str, stored: u64) -> ApiError {
    error
        .header(header::LOCATION, location(name, id))
        .header(header::RANGE, range::stored_range(stored))
        .header(UPLOAD_UUID, id)
}

/// The Content-Range of a chunk, checked against its Content-Length before anything is stored.
pub(crate) async fn chunk(
    call: &Call<'_>,
    name: &RepositoryName,
    (place, gate): (&Place, &Gate),
    id: &str,
    length: Option<u64>,
) -> Result<Option<Chunk>, ApiError> {
    if !call.parts.headers.contains_key(header::CONTENT_RANGE) {
        return Ok(None);
    }
    let message = match call.header(header::CONTENT_RANGE).ok_or(range::Malformed).and_then(range::chunk) {
        // The core is not told of an empty range, so it is checked here.
        Ok(chunk) if chunk.length == 0 => {
            let stored = call.core().upload_status(gate, place, id).await?.stored;
            if length == Some(0) && chunk.start == stored {
                return Ok(Some(chunk));
            }
            format!("an empty chunk has no body and begins at byte {stored}")
        }
        Ok(chunk) if length.is_none_or(|length| length == chunk.length) => return Ok(Some(chunk)),
        Ok(chunk) => format!("Content-Range says {} bytes, Content-Length another number", chunk.length),
        Err(range::Malformed) => "a Content-Range looks like 0-1023: first and last byte".to_owned(),
    };
    let stored = call.core().upload_status(gate, place, id).await?.stored;
    Err(out_of_range(name, id, stored, message))
}
