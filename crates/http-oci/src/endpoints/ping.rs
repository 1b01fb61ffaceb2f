//! `GET /v2/` (end-1): is this a registry, and am I let in? Always a challenge for nobody, even where anyone may pull: docker takes its
//! challenge only from here (protocol.md 2.1).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use roadstead_access::{Action, Target};

use crate::{answer::Answer, body::Body, call::Call, error::ApiError};

pub(crate) async fn get(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    call.enter_at_large(Action::Ping, Target::Ping).await?;
    let json = HeaderValue::from_static("application/json");
    Ok(Answer::new(StatusCode::OK).header(header::CONTENT_TYPE, json).body(Bytes::from_static(b"{}")))
}
