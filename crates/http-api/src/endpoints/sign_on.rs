//! `/api/v1/session/oidc`: signing in at a provider of OpenID Connect, for the console.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use roadstead_access::{By, Returned, SignOn};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{caller::Asking, problem::Problem, query::Params, service::Api};

/// Where the provider sends the browser back to; it must know this address.
const BACK: &str = "/api/v1/session/oidc/callback";

/// Where to go after the sign-in.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Onward {
    /// A path on this service; left out, `/`.
    to: Option<String>,
}

/// What the provider sends the browser back with.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ComeBack {
    /// What the browser was sent away with.
    #[serde(default)]
    state: String,
    /// What the provider gives for us.
    code: Option<String>,
    /// Why it gives nothing.
    error: Option<String>,
    /// The provider.
    iss: Option<String>,
}

fn sign_on(api: &Api) -> Result<&SignOn, Problem> {
    let words = "nobody signs in at a provider here: whoever runs the service sets `oidc.issuer`";
    api.access().sign_on().ok_or_else(|| Problem::not_found(words))
}

/// Sign in at the provider
///
/// For browsers: the answer sends them to the provider of OpenID Connect, and sets a cookie that is good for ten minutes.
#[utoipa::path(get, path = "/api/v1/session/oidc", tag = "Session", params(Onward),
    responses((status = 303, description = "To the provider.")))]
pub(super) async fn begin_sign_on(
    State(api): State<Api>,
    asking: Asking,
    Params(onward): Params<Onward>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 2]), Problem> {
    let to = onward.to.as_deref().unwrap_or("/");
    let begun = sign_on(&api)?.begin(asking.address(BACK), to).await?;
    let cookie = asking.sign_on_cookie(&begun.cookie, begun.lifetime.as_secs())?;
    let address =
        HeaderValue::from_str(&begun.address).map_err(|_| Problem::internal("the provider's page is no text"))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, address), (header::SET_COOKIE, cookie)]))
}

/// Come back from the provider
///
/// Where the provider sends the browser, with more parameters as it likes. The answer sets the cookie of a session, and is a page that goes on to where the sign-in was begun for.
#[utoipa::path(get, path = "/api/v1/session/oidc/callback", tag = "Session", params(ComeBack),
    extensions(("x-more-parameters" = json!(true))),
    responses((status = 200, description = "Signed in.", content_type = "text/html")))]
pub(super) async fn finish_sign_on(
    State(api): State<Api>,
    asking: Asking,
    headers: HeaderMap,
    Params(back): Params<ComeBack>,
) -> Result<Response, Problem> {
    let by = By { who: String::new(), from: asking.from(), request: Some(asking.request()), ..By::default() };
    let ComeBack { state, code, error, iss } = back;
    let returned = Returned { state, code, error, issuer: iss };
    let signed_on = sign_on(&api)?.finish(api.sessions(), returned, asking.sign_on(&headers), &by).await?;
    let session = asking.cookie(&signed_on.session.secret, signed_on.session.lifetime.as_secs())?;
    let mut page = page(&signed_on.to).into_response();
    let headers = page.headers_mut();
    headers.append(header::SET_COOKIE, session);
    headers.append(header::SET_COOKIE, asking.sign_on_cookie("", 0)?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let nothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(nothing));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(page)
}

/// A page that goes on by itself. A redirect would still be the provider's doing, with which browsers do not send the session along.
fn page(to: &str) -> String {
    let mut address = String::with_capacity(to.len());
    for character in to.chars() {
        match character {
            '&' => address.push_str("&amp;"),
            '<' => address.push_str("&lt;"),
            '>' => address.push_str("&gt;"),
            '"' => address.push_str("&quot;"),
            '\'' => address.push_str("&#39;"),
            other => address.push(other),
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Signed in</title>\n\
         <meta http-equiv=\"refresh\" content=\"0; url={address}\">\n<p>Signed in. <a href=\"{address}\">Go on</a></p>\n</html>\n"
    )
}
