//! `GET` and `HEAD /v2/N/manifests/R` (end-3; protocol.md G1-G6): what is stored, as it is stored, whatever `Accept` says.

use http::{Response, StatusCode, header};
use roadstead_access::Action;
use roadstead_model::{Reference, RepositoryName};
use roadstead_registry::Error;

use crate::{
    answer::{Answer, is_known},
    body::Body,
    call::Call,
    error::ApiError,
};

pub(crate) async fn get(
    call: &Call<'_>,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ApiError> {
    let place = call.place(Action::Pull, name).await?;
    let (gate, manifest) = call.core().find_manifest(&place, reference, call.asker()).await?;
    call.decide(Action::Pull, name, &place, &gate)?;
    let manifest = manifest.ok_or_else(|| match gate.facts.repository {
        None => Error::NameUnknown,
        Some(_) => Error::ManifestUnknown(reference.to_string()),
    })?;
    let etag = manifest.quoted_digest();
    let known = is_known(&call.parts.headers, etag);
    let answer = Answer::new(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK }).named(etag.clone());
    if known {
        return Ok(answer.empty());
    }
    let answer = answer.text(header::CONTENT_TYPE, manifest.media_type().clone());
    if call.is_head() {
        return Ok(answer.without_body(manifest.size()));
    }
    let body = call.core().manifest_body(&manifest).await?;
    call.core().count_pull(&gate, &manifest);
    Ok(answer.body(body))
}
