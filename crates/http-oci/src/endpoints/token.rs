//! `GET /token` and `POST /token` (protocol.md 2.2, 2.3), and the exchange of a CI job's own token (RFC 8693).
//!
//! The audience is always the host that was asked, and the kind of listener, whatever `service` says; what a scope names is read as that host's clients mean it.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use http::{HeaderValue, Response, StatusCode, Uri, header};
use roadstead_access::{Access, Credentials, TokenError, TokenGrant, TokenRequest};
use roadstead_model::{Place, scope::Scopes};
use serde_json::json;

use crate::{
    answer::Answer,
    body::Body,
    error::ApiError,
    incoming::{Incoming, Room},
    origin::{Addressing, Origin},
};

/// The most bytes of a form; a refresh token and many scopes are far below it.
const FORM_BYTES: usize = 64 << 10;

/// How long a form may take to come. Anybody may send one.
const FORM_TIME: Duration = Duration::from_secs(30);

/// The exchange of a token of another service, and what such tokens are called.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const SUBJECTS: [&str; 2] = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A token request: where it was asked.
pub(crate) struct Asked<'a> {
    pub(crate) access: &'a Access,
    pub(crate) origin: &'a Origin,
    pub(crate) addressing: &'a Addressing,
    pub(crate) room: &'a Room,
    /// The client's address.
    pub(crate) client: IpAddr,
}

/// How an error is called by OAuth (POST), or not (GET).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Docker,
    OAuth,
    /// OAuth, where the credentials are what is exchanged.
    Exchange,
}

impl Asked<'_> {
    /// Key id and secret by Basic; an anonymous token without.
    pub(crate) async fn get(&self, uri: &Uri, authorization: Option<&str>) -> Result<Response<Body>, ApiError> {
        let form = Form::parse(uri.query().unwrap_or("").as_bytes());
        let Some(credentials) = Credentials::from_header(authorization) else {
            return self.failed(Manner::Docker, TokenError::WrongCredentials);
        };
        let offline = form.get("offline_token").is_some_and(|value| matches!(value, "true" | "1"));
        self.answer(Manner::Docker, credentials, &form, offline).await
    }

    /// The OAuth way: a password, a refresh token or the token of a CI's job in a form.
    pub(crate) async fn post(&self, body: Incoming) -> Result<Response<Body>, ApiError> {
        let collected = body.collect(FORM_BYTES, FORM_TIME, self.room).await;
        let body = collected.map_err(|error| error.into_answer("token request", FORM_BYTES))?;
        let form = Form::parse(&body.bytes);
        let field = |name| form.get(name).unwrap_or("").to_owned();
        let credentials = match form.get("grant_type") {
            Some("password") => Credentials::password(field("username"), field("password")),
            Some("refresh_token") => Credentials::Refresh(field("refresh_token")),
            Some(EXCHANGE) => return self.exchange(&form).await,
            _ => {
                return Ok(oauth_error(
                    StatusCode::BAD_REQUEST,
                    "unsupported_grant_type",
                    &format!("grant_type is password, refresh_token or {EXCHANGE}"),
                ));
            }
        };
        self.answer(Manner::OAuth, credentials, &form, form.get("access_type") == Some("offline")).await
    }

    /// A job's token for one of ours: `client_id` is the robot, as `PROJECT/ROBOT`.
    async fn exchange(&self, form: &Form) -> Result<Response<Body>, ApiError> {
        let invalid = |words: &str| Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_request", words));
        if !form.get("subject_token_type").is_some_and(|kind| SUBJECTS.contains(&kind)) {
            return invalid(&format!("subject_token_type is {} or {}", SUBJECTS[0], SUBJECTS[1]));
        }
        if form.get("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
            return invalid(&format!("requested_token_type is {ACCESS_TOKEN}, or left out"));
        }
        if form.get("actor_token").is_some() {
            return invalid("nobody acts for somebody else here: leave actor_token out");
        }
        let robot = form.get("client_id").filter(|robot| robot.contains('/'));
        let (Some(robot), Some(token)) = (robot, form.get("subject_token").filter(|token| !token.is_empty())) else {
            return invalid("client_id is the robot, as PROJECT/ROBOT, and subject_token the token of the job");
        };
        let credentials = Credentials::Key { id: robot.to_owned(), secret: token.to_owned() };
        self.answer(Manner::Exchange, credentials, form, false).await
    }

    async fn answer(
        &self,
        manner: Manner,
        credentials: Credentials,
        form: &Form,
        offline: bool,
    ) -> Result<Response<Body>, ApiError> {
        let request = TokenRequest {
            service: &self.origin.audience(),
            from: self.client,
            credentials,
            scopes: Scopes::parse(form.scopes()),
            view: self.addressing.view(self.origin.reach),
            resolve: &|name| self.resolve(name),
            offline,
        };
        match self.access.token(request).await {
            Ok(grant) => {
                let body = if manner == Manner::Exchange { exchanged(&grant) } else { grant.to_json() };
                Ok(Answer::new(StatusCode::OK)
                    .header(header::CONTENT_TYPE, JSON)
                    .header(header::CACHE_CONTROL, NO_STORE)
                    .body(bytes::Bytes::from(body)))
            }
            Err(error) => self.failed(manner, error),
        }
    }

    /// Which place a name in a scope means. Some clients write the host before it.
    fn resolve(&self, name: &str) -> Option<Place> {
        let own = name.strip_prefix(self.origin.host.as_str()).and_then(|rest| rest.strip_prefix('/'));
        self.addressing.place(&own.unwrap_or(name).parse().ok()?)
    }

    fn failed(&self, manner: Manner, error: TokenError) -> Result<Response<Body>, ApiError> {
        let message = error.to_string();
        match (error, manner) {
            (TokenError::Unavailable(why), _) => Err(ApiError::unavailable(why)),
            (TokenError::InvalidGrant, _) => Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_grant", &message)),
            (TokenError::WrongCredentials, Manner::Exchange) => {
                let words = "the token is not valid, or no robot of this name trusts it";
                Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_request", words))
            }
            (TokenError::WrongCredentials, Manner::OAuth) => {
                Ok(oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", &message))
            }
            (TokenError::WrongCredentials, Manner::Docker) => {
                let challenge = format!("Basic realm=\"{}\"", self.origin.host);
                Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
                    .header(header::WWW_AUTHENTICATE, challenge))
            }
            (TokenError::Invalid(_), Manner::OAuth | Manner::Exchange) => {
                Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_request", &message))
            }
            (TokenError::Invalid(_), Manner::Docker) => {
                Err(ApiError::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", message))
            }
        }
    }
}

/// The answer to an exchange has two members more (RFC 8693, 2.2.1).
fn exchanged(grant: &TokenGrant) -> String {
    let mut answer = json!(grant);
    answer["issued_token_type"] = ACCESS_TOKEN.into();
    answer["token_type"] = "Bearer".into();
    answer.to_string()
}

/// An error by its OAuth name, and in the form of all errors of the registry beside it.
fn oauth_error(status: StatusCode, name: &str, message: &str) -> Response<Body> {
    // docker shows this code to its user, also that of a login that is over.
    let is_login = status == StatusCode::UNAUTHORIZED || name == "invalid_grant";
    let code = if is_login { "UNAUTHORIZED" } else { "UNSUPPORTED" };
    let body = json!({ "error": name, "error_description": message, "errors": [{ "code": code, "message": message }] });
    Answer::new(status)
        .header(header::CONTENT_TYPE, JSON)
        .header(header::CACHE_CONTROL, NO_STORE)
        .body(bytes::Bytes::from(body.to_string()))
}

/// The parameters of a form or query: the first of each name, and all scopes.
struct Form {
    fields: HashMap<String, String>,
    scopes: Vec<String>,
}

impl Form {
    fn parse(text: &[u8]) -> Self {
        let mut form = Self { fields: HashMap::new(), scopes: Vec::new() };
        for (name, value) in form_urlencoded::parse(text) {
            if name == "scope" {
                form.scopes.push(value.into_owned());
            } else {
                form.fields.entry(name.into_owned()).or_insert_with(|| value.into_owned());
            }
        }
        form
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// protocol.md 2.2: several parameters, each perhaps with several entries.
    #[test]
    fn forms() {
        let form =
            Form::parse(b"service=r&scope=repository:a/b:pull&scope=repository%3Ac:push+registry:catalog:*&service=x");
        assert_eq!(form.get("service"), Some("r"));
        assert_eq!(form.scopes().collect::<Vec<_>>(), ["repository:a/b:pull", "repository:c:push registry:catalog:*"]);
    }
}
