//! `GET` and `HEAD /v2/N/blobs/D` (end-2; protocol.md C1-C6). This is where a range request is answered.
//!
//! What the node answers itself: HEAD, 304, 416, an empty blob, and several ranges at once (object stores do not serve those; a client
//! of zstd:chunked layers gets just what it asked for). Everything else goes by redirect where bucket and listener do that.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use roadstead_access::Action;
use roadstead_blobs::BlobError;
use roadstead_model::{Digest, RepositoryName};
use roadstead_registry::{Blob, Core, Download, Error};

use crate::{
    answer::{Answer, etag, is_known},
    body::Body,
    call::Call,
    error::ApiError,
    range::{self, Selection},
};

type Part = std::ops::Range<u64>;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(crate) async fn get(call: &Call<'_>, name: &RepositoryName, digest: &Digest) -> Result<Response<Body>, ApiError> {
    let place = call.place(Action::Pull, name).await?;
    let (gate, blob) = call.core().find_blob(&place, digest, call.asker()).await?;
    call.decide(Action::Pull, name, &place, &gate)?;
    let unknown = || match gate.facts.repository {
        None => Error::NameUnknown,
        Some(_) => Error::BlobUnknown(*digest),
    };
    let blob = blob.ok_or_else(unknown)?;
    // After a HEAD a client leaves the upload out: the blob has to stay until the manifest comes (architecture.md 5).
    if call.is_head() && !call.core().keep_blob(&gate, &blob).await? {
        return Err(Error::BlobUnknown(*digest).into());
    }

    let etag = etag(digest);
    if is_known(&call.parts.headers, &etag) {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED).named(etag).empty());
    }
    let selection = match call.header(header::IF_RANGE) {
        Some(condition) if condition.trim().as_bytes() != etag => Selection::Whole,
        _ => range::select(call.header(header::RANGE), blob.size),
    };
    let answer =
        |status| Answer::new(status).named(etag).header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if call.is_head() {
        return Ok(answer(StatusCode::OK).header(header::CONTENT_TYPE, OCTETS).without_body(blob.size));
    }
    let (status, part) = match selection {
        Selection::Whole => (StatusCode::OK, 0..blob.size),
        Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Selection::Parts(parts) => {
            let (media_type, body) = several(call.core().clone(), blob, parts);
            return Ok(answer(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_TYPE, media_type).body(body));
        }
        Selection::Unsatisfiable => {
            let message = format!("the range lies outside the blob, which has {} bytes", blob.size);
            return Err(ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", message)
                .header(header::CONTENT_RANGE, format!("bytes */{}", blob.size)));
        }
    };
    let mut answer = answer(status);
    if status == StatusCode::PARTIAL_CONTENT {
        answer = answer.header(header::CONTENT_RANGE, range::content_range(&part, blob.size));
    }
    if part.is_empty() {
        return Ok(answer.header(header::CONTENT_TYPE, OCTETS).empty());
    }
    // The bucket has entity tags of its own: a condition with ours can't be sent there.
    let reach = call.origin.reach;
    let may = call.settings().redirects(reach) && call.header(header::IF_RANGE).is_none();
    let redirect = may.then_some(reach);
    match call.core().download(&blob, part, redirect).await? {
        Download::Bytes(bytes) => Ok(answer.header(header::CONTENT_TYPE, OCTETS).body(Body::Blob(bytes))),
        Download::Address(address) => {
            Ok(Answer::new(StatusCode::TEMPORARY_REDIRECT).digest(digest).header(header::LOCATION, address).empty())
        }
    }
}

/// `multipart/byteranges`: its media type and its body. Each part is opened when its turn comes, so that many parts hold no more than one.
///
/// The boundary is made of the digest: a blob that contains its own digest would have to be found first.
fn several(core: Core, blob: Blob, parts: Vec<Part>) -> (String, Body) {
    let hex = blob.digest.hex();
    let boundary = format!("roadstead-{}", &hex[..hex.len().min(40)]);
    let heads: Vec<_> =
        parts.iter().enumerate().map(|(index, part)| part_head(&boundary, index == 0, part, blob.size)).collect();
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let size = heads.iter().map(|head| head.len() as u64).sum::<u64>()
        + parts.iter().map(|part| part.end - part.start).sum::<u64>()
        + tail.len() as u64;
    let opened = stream::iter(heads.into_iter().zip(parts)).then(move |(head, part)| {
        let (core, blob) = (core.clone(), blob.clone());
        async move {
            match core.download(&blob, part, None).await {
                Ok(Download::Bytes(bytes)) => {
                    Ok(stream::once(async move { Ok(Bytes::from(head)) }).chain(bytes.into_data_stream()))
                }
                Ok(Download::Address(_)) => {
                    Err(BlobError::Internal("an address for a part that was to be streamed".into()))
                }
                Err(error) => Err(BlobError::Internal(format!("a later part could not be opened: {error:?}"))),
            }
        }
    });
    let body = opened.try_flatten().chain(stream::once(async { Ok(tail) }));
    (format!("multipart/byteranges; boundary={boundary}"), Body::Parts(body.boxed(), size))
}

fn part_head(boundary: &str, first: bool, part: &Part, size: u64) -> String {
    let before = if first { "" } else { "\r\n" };
    let range = range::content_range(part, size);
    format!("{before}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {range}\r\n\r\n")
}
