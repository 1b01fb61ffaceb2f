//! `POST /v2/N/blobs/uploads/` in all its forms: a new upload (end-4a), the whole blob at once (end-4b), another algorithm announced
//! (end-4c), a mount (end-11).

use http::{Response, StatusCode};
use roadstead_access::{Action, Target, decide, pulls_whole_registry};
use roadstead_model::{Algorithm, Digest, Place, RepositoryName};
use roadstead_registry::{Gate, MountFrom};

use super::upload;
use crate::{body::Body, call::Call, error::ApiError, incoming::Incoming};

pub(crate) async fn post(call: &Call<'_>, name: &RepositoryName, body: Incoming) -> Result<Response<Body>, ApiError> {
    let (place, gate) = call.enter(Action::Push, name).await?;
    let query = call.query();
    let whole = query.filled("digest").and(body.length);
    call.core().admit(&gate, &place, whole).await?;
    // E2: a mount that can't be is an upload that begins, never an error; also when the digest is malformed.
    let wanted: Option<Digest> = query.filled("mount").and_then(|digest| digest.parse().ok());
    if let Some(digest) = wanted
        && mount(call, &gate, &place, &digest).await?
    {
        return Ok(upload::created(name, &digest));
    }
    if let Some(digest) = upload::named_digest(call)? {
        call.core().upload_whole(&gate, &place, &digest, body.into_core()).await?;
        return Ok(upload::created(name, &digest));
    }
    let announced = match query.filled("digest-algorithm") {
        Some(algorithm) => Some(algorithm.parse::<Algorithm>()?),
        None => wanted.map(|digest| digest.algorithm()),
    };
    let begun = call.core().begin_upload(&gate, &place, announced)?;
    Ok(upload::standing(StatusCode::ACCEPTED, name, &begun))
}

/// Whether the blob was mounted.
async fn mount(call: &Call<'_>, gate: &Gate, place: &Place, digest: &Digest) -> Result<bool, ApiError> {
    let core = call.core();
    let may_read =
        |place: &Place, gate: &Gate| decide(&call.caller, Action::MountFrom, Target::Place(place), &gate.facts).is_ok();
    // Who may pull here and anywhere in this registry does so also with a token that does not name the source (E3).
    let reads_registry = may_read(place, gate) && pulls_whole_registry(&place.registry, &gate.facts);
    let Some(from) = call.query().filled("from") else {
        return Ok(reads_registry && core.mount(gate, place, digest, MountFrom::Registry).await?);
    };
    let Some(from) = from.parse().ok().and_then(|name| call.addressing.place(&name)) else { return Ok(false) };
    let source = core.gate(&from, call.asker()).await?;
    let reads_source = may_read(&from, &source) || (reads_registry && from.registry == place.registry);
    Ok(reads_source && core.mount(gate, place, digest, MountFrom::Place(&source)).await?)
}
