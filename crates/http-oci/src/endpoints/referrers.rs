//! `GET /v2/N/referrers/D` (end-12; protocol.md K1-K8): 200 with an index, whatever is known of the digest or the repository.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use roadstead_access::Action;
use roadstead_model::{Digest, RepositoryName};
use roadstead_registry::{Error, ReferrersPage};

use crate::{
    answer::{Answer, FILTERS},
    body::Body,
    call::Call,
    error::ApiError,
    link,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

pub(crate) async fn get(call: &Call<'_>, name: &RepositoryName, subject: &Digest) -> Result<Response<Body>, ApiError> {
    let query = call.query();
    let artifact_type = query.filled("artifactType");
    let last = query.filled("last");
    let page = match call.enter(Action::ListReferrers, name).await {
        // No type has a NUL, and PostgreSQL can't be asked for one.
        Ok(_) if artifact_type.as_ref().is_some_and(|wanted| wanted.contains('\0')) => Err(Error::NameUnknown),
        Ok((place, gate)) => {
            call.core().referrers(&gate, &place, subject, artifact_type.as_deref(), last.as_deref()).await
        }
        // Who may know that there is no such registry gets what a repository without the digest has (oras gives up on NAME_UNKNOWN).
        Err(error) if error.status() == StatusCode::NOT_FOUND => Err(Error::NameUnknown),
        Err(error) => return Err(error),
    };
    let page = match page {
        Err(Error::NameUnknown) => ReferrersPage { body: Bytes::from_static(EMPTY.as_bytes()), next: None },
        other => other?,
    };
    let mut answer = Answer::new(StatusCode::OK).header(header::CONTENT_TYPE, HeaderValue::from_static(INDEX));
    let mut parameters = Vec::new();
    if let Some(artifact_type) = &artifact_type {
        answer = answer.header(FILTERS, HeaderValue::from_static("artifactType"));
        parameters.push(("artifactType", artifact_type.as_str()));
    }
    if let Some(next) = &page.next {
        parameters.push(("last", next.as_str()));
        answer = answer.header(header::LINK, link::next(&format!("/v2/{name}/referrers/{subject}"), &parameters));
    }
    Ok(answer.body(page.body))
}
