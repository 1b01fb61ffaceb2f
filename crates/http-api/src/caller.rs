//! Who calls: from the credentials of a request to the [`Caller`] that an endpoint gets.

use std::{net::IpAddr, sync::Arc};

use axum::{
    RequestPartsExt as _,
    extract::{Extension, FromRequestParts},
};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use roadstead_access::{Action, By, ManageError, Manager, Presented, Refusal, Right, Subject, Target, decide, manage};
use roadstead_http_oci::{Origin, authorization};

use crate::{enter::Asked, problem::Problem, rights::Row, service::Api};

/// Somebody who is signed in, or anyone where the region is open. Asked for as a parameter of an endpoint's function.
#[derive(Clone, Debug)]
pub struct Caller {
    who: roadstead_access::Caller,
    row: Row,
    from: IpAddr,
    origin: Origin,
    request: Arc<str>,
}

impl Caller {
    pub(crate) fn new(who: roadstead_access::Caller, row: Row, asked: &Asked) -> Self {
        let (origin, request) = (asked.origin.clone(), Arc::clone(&asked.request));
        Self { who, row, from: asked.client, origin, request }
    }

    /// Who it is, for the decision about its rights.
    pub fn who(&self) -> &roadstead_access::Caller {
        &self.who
    }

    /// The address that was asked, as the caller sees it.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
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

/// The one answer to what another site made a browser ask for.
fn other_site() -> Problem {
    Problem::denied("another site made this request: open the console itself")
}

/// Who a request comes from. Somebody, or a refusal.
pub(crate) async fn identify(
    api: &Api,
    (origin, client): (&Origin, IpAddr),
    method: &Method,
    headers: &HeaderMap,
) -> Result<roadstead_access::Caller, Problem> {
    // A browser sends sessions along by itself, and keys that somebody typed into its own form.
    if !method.is_safe() && is_of_other_site(origin, headers) {
        return Err(other_site());
    }
    if !headers.contains_key(header::AUTHORIZATION)
        && let Some(caller) = of_session(api, origin, headers).await?
    {
        return Ok(caller);
    }
    let caller = api.access().authenticate(authorization(headers), &origin.audience(), client).await?;
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
        Presented::Basic | Presented::Open | Presented::Session => {}
    }
    Ok(caller)
}

/// A caller who may do what was asked, as endpoints go on with it.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The name of the person, or `PROJECT/ROBOT`.
    pub name: String,
    /// For the audit log.
    pub by: By,
    person: Option<i64>,
    project: Option<i64>,
    registry: Option<i64>,
}

impl Allowed {
    /// The row of the person.
    ///
    /// # Errors
    /// 403 for who is none.
    pub fn person(&self) -> Result<i64, Problem> {
        self.person.ok_or_else(|| Problem::denied("only people have keys of their own here"))
    }

    /// The row of the project that was named, or of the registry's.
    ///
    /// # Errors
    /// 404 where none was.
    pub fn project(&self) -> Result<i64, Problem> {
        self.project.ok_or_else(|| ManageError::Missing("project").into())
    }

    /// The row of the registry that was named.
    ///
    /// # Errors
    /// 404 where none was.
    pub fn registry(&self) -> Result<i64, Problem> {
        self.registry.ok_or_else(|| ManageError::Missing("registry").into())
    }
}

impl Caller {
    /// Whether the caller has the right of the operation's row, by facts that are read now.
    ///
    /// # Errors
    /// 401, 403; 404 for what the caller may not even see.
    pub async fn allow(&self, api: &Api, subject: Subject<'_>) -> Result<Allowed, Problem> {
        let Row::Right(right) = self.row else {
            return Err(Problem::internal("an operation without a right asked for one"));
        };
        let Manager { name, person, project, registry, .. } =
            manage(api.core().db(), &self.who, right, subject).await?;
        let who = if name.is_empty() { "anyone".to_owned() } else { name.clone() };
        let request = Some(self.request.to_string());
        let by = By { who, from: self.from.to_string(), request, project, key: None };
        Ok(Allowed { name, by, person, project, registry })
    }

    /// Whose projects and registries a list shows: the row of the person who asks, or all.
    ///
    /// # Errors
    /// 401; 403 for robots, who see none.
    pub async fn visible(&self, api: &Api) -> Result<Option<i64>, Problem> {
        let manager = manage(api.core().db(), &self.who, Right::Own, Subject::Region).await?;
        Ok(manager.person.filter(|_| !manager.administrator))
    }
}

/// A request whose caller is not known, or not yet: as signing in needs it.
pub(crate) struct Asking {
    asked: Asked,
    other_site: bool,
}

impl Asking {
    /// Nobody is signed in or out by another site.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn refuse_other_sites(&self) -> Result<(), Problem> {
        if self.other_site { Err(other_site()) } else { Ok(()) }
    }

    /// The address that it comes from.
    pub(crate) fn from(&self) -> String {
        self.asked.client.to_string()
    }

    /// The secret of the session that it came with.
    pub(crate) fn session<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        SESSION.find(&self.asked.origin, headers)
    }

    /// Its id.
    pub(crate) fn request(&self) -> String {
        self.asked.request.to_string()
    }

    /// The cookie with a session's secret: for this host alone, for no script, and not sent along by other sites.
    ///
    /// # Errors
    /// Never, for our secrets.
    pub(crate) fn cookie(&self, secret: &str, seconds: u64) -> Result<HeaderValue, Problem> {
        self.cookie_of(SESSION, secret, seconds, "Strict")
    }

    /// The cookie of a sign-in at a provider. The provider sends the browser back to us, so that it must come along from another site.
    ///
    /// # Errors
    /// Never, for what we make.
    pub(crate) fn sign_on_cookie(&self, kept: &str, seconds: u64) -> Result<HeaderValue, Problem> {
        self.cookie_of(SIGN_ON, kept, seconds, "Lax")
    }

    fn cookie_of(&self, kind: Cookie, value: &str, seconds: u64, site: &str) -> Result<HeaderValue, Problem> {
        let secure = if self.asked.origin.scheme == "https" { "; Secure" } else { "" };
        let name = kind.name(&self.asked.origin);
        let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={site}{secure}");
        HeaderValue::from_str(&cookie).map_err(|_| Problem::internal("what a cookie holds is no text"))
    }

    /// What a sign-in at a provider, that was begun in this browser, needs to be finished.
    pub(crate) fn sign_on<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        SIGN_ON.find(&self.asked.origin, headers)
    }

    /// The address of a path of ours, as clients reach it.
    pub(crate) fn address(&self, path: &str) -> String {
        self.asked.origin.address(path)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let asked = parts.extensions.get::<Asked>().cloned();
        let asked = asked.ok_or_else(|| Problem::internal("a request came past the door"))?;
        let other_site = is_of_other_site(&asked.origin, &parts.headers);
        Ok(Self { asked, other_site })
    }
}

/// One of our cookies, by its names without and with TLS.
#[derive(Clone, Copy)]
struct Cookie([&'static str; 2]);

const SESSION: Cookie = Cookie(["roadstead_session", "__Host-roadstead_session"]);
const SIGN_ON: Cookie = Cookie(["roadstead_sign_on", "__Host-roadstead_sign_on"]);

impl Cookie {
    /// Over TLS browsers let no other host set it, also none of the same domain.
    fn name(self, origin: &Origin) -> &'static str {
        self.0[usize::from(origin.scheme == "https")]
    }

    /// What a request brought of it.
    fn find<'h>(self, origin: &Origin, headers: &'h HeaderMap) -> Option<&'h str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|list| list.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find_map(|(name, value)| (name == self.name(origin) && !value.is_empty()).then_some(value))
    }
}

/// Whether a browser says that another site made the request. What is no browser says nothing.
fn is_of_other_site(origin: &Origin, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let from = text("origin").is_some_and(|from| !from.eq_ignore_ascii_case(&origin.address("")));
    from || text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

/// Whose session a request came with, if it came with one.
async fn of_session(
    api: &Api,
    origin: &Origin,
    headers: &HeaderMap,
) -> Result<Option<roadstead_access::Caller>, Problem> {
    let Some(secret) = SESSION.find(origin, headers) else { return Ok(None) };
    Ok(api.sessions().caller(secret).await?)
}
