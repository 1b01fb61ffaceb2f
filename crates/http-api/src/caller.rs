//! Who calls: from the credentials of a request to the [`Caller`] that an endpoint gets.

use axum::{
    RequestPartsExt as _,
    extract::{Extension, FromRequestParts},
};
use http::{HeaderMap, header, request::Parts};
use roadstead_access::{Action, Presented, Refusal, Target, decide};
use roadstead_http_oci::{Origin, authorization};

use crate::{problem::Problem, rights::Row, service::Api};

/// Somebody who is signed in, or anyone where the region is open. Asked for as a parameter of an endpoint's function.
#[derive(Clone, Debug)]
pub struct Caller {
    who: roadstead_access::Caller,
    row: Row,
}

impl Caller {
    pub(crate) fn new(who: roadstead_access::Caller, row: Row) -> Self {
        Self { who, row }
    }

    /// Who it is, for the decision about its rights.
    pub fn who(&self) -> &roadstead_access::Caller {
        &self.who
    }

    /// The row that the operation was registered with: what the decision is asked for.
    pub fn row(&self) -> Row {
        self.row
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // It is always there, but for operations whose row is `Open`.
        parts.extract::<Extension<Self>>().await.map(|Extension(caller)| caller).map_err(|_| nobody())
    }
}

/// The one answer to who has no credentials, whatever is asked for.
fn nobody() -> Problem {
    Refusal::Unauthenticated.into()
}

/// Who a request comes from. Somebody, or a refusal.
pub(crate) async fn identify(
    api: &Api,
    origin: &Origin,
    headers: &HeaderMap,
) -> Result<roadstead_access::Caller, Problem> {
    if !headers.contains_key(header::AUTHORIZATION)
        && let Some(caller) = of_session(api, origin, headers).await?
    {
        return Ok(caller);
    }
    let caller = api.access().authenticate(authorization(headers), &origin.host).await?;
    match caller.presented() {
        Presented::Nothing => return Err(nobody()),
        // A token of nobody is good for pulls alone.
        Presented::Token if caller.key().is_none() => return Err(nobody()),
        // Its key may have been revoked since it was made (invariant 10).
        Presented::Token => {
            let facts = api.core().facts_of(caller.key()).await?;
            decide(&caller, Action::Ping, Target::Ping, &facts)?;
        }
        // Was looked up a moment ago.
        Presented::Basic | Presented::Open => {}
    }
    Ok(caller)
}

/// **The place where the console's session cookie is looked at**, when a request has no `Authorization`. There are no sessions yet.
///
/// Whoever fills this in refuses changes (all but GET and HEAD) whose `Origin` is not `origin`: browsers send cookies along with
/// requests that other sites make.
async fn of_session(
    _api: &Api,
    _origin: &Origin,
    _headers: &HeaderMap,
) -> Result<Option<roadstead_access::Caller>, Problem> {
    Ok(None)
}
