//! A client of a registry that shows the raw facts: it follows no redirect and hides no 4xx, but it can log in.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    content::{Image, Manifest, digest},
    http::{Body, Request, Response, with_parameter},
    token::{Challenge, basic},
    wire,
};

/// How a client says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    Anonymous,
    /// Key id and secret with each request.
    Basic(String, String),
    /// Key id and secret for a token, fetched when a 401 asks for it and kept, one for each repository. Where no token
    /// is given, that refusal is the answer.
    Token(String, String),
    /// An anonymous token in the same way.
    AnonymousToken,
}

/// A client of one address with one login. Clones share their tokens.
#[derive(Clone)]
pub struct Client {
    /// Where requests without a host of their own go.
    pub address: SocketAddr,
    /// Who it is.
    pub login: Login,
    tokens: Arc<Mutex<HashMap<String, Grant>>>,
}

#[derive(Clone, Default)]
struct Grant {
    scopes: BTreeSet<String>,
    token: String,
}

impl Client {
    /// A client.
    pub fn new(address: SocketAddr, login: Login) -> Self {
        Self { address, login, tokens: Arc::default() }
    }

    /// The same client with another login.
    pub fn logged_in(&self, login: Login) -> Self {
        Self::new(self.address, login)
    }

    /// The same client without login.
    pub fn anonymous(&self) -> Self {
        self.logged_in(Login::Anonymous)
    }

    /// Sends a request with the login, unless it has an `Authorization` of its own.
    ///
    /// # Panics
    /// When there is no answer, or not one of HTTP/1.1.
    #[track_caller]
    pub fn send(&self, request: Request) -> Response {
        self.try_send(&request).unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.target))
    }

    /// Sends a request with the login; an error when there is no answer.
    pub fn try_send(&self, request: &Request) -> Result<Response, wire::WireError> {
        if request.header_value("Authorization").is_some() {
            return self.send_bare(request);
        }
        match &self.login {
            Login::Anonymous => self.send_bare(request),
            Login::Basic(id, secret) => self.send_bare(&request.clone().header("Authorization", &basic(id, secret))),
            Login::Token(id, secret) => self.send_with_token(request, Some((id, secret))),
            Login::AnonymousToken => self.send_with_token(request, None),
        }
    }

    fn send_bare(&self, request: &Request) -> Result<Response, wire::WireError> {
        let Some(rest) = request.target.strip_prefix("http://") else { return wire::exchange(self.address, request) };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address =
            host.parse().map_err(|_| wire::WireError::Rules(format!("not an address of this machine: {host}")))?;
        wire::exchange(address, &Request { target: path.to_owned(), ..request.clone() })
    }

    fn send_with_token(
        &self,
        request: &Request,
        credentials: Option<(&String, &String)>,
    ) -> Result<Response, wire::WireError> {
        let name = repository_of(&request.target);
        let known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let mut grant = known.unwrap_or_default();
        let bearer = |token: &str| request.clone().header("Authorization", &format!("Bearer {token}"));
        let first = if grant.token.is_empty() { request.clone() } else { bearer(&grant.token) };
        let answer = self.send_bare(&first)?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let challenge = Challenge::of(&answer);
        let wanted =
            challenge.scope.clone().into_iter().flat_map(|s| s.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let before = grant.scopes.len();
        grant.scopes.extend(wanted);
        if !grant.token.is_empty()
            && challenge.error.as_deref() == Some("insufficient_scope")
            && grant.scopes.len() == before
        {
            return Ok(answer);
        }
        let granted = self.fetch_token(&challenge, &grant.scopes, credentials)?;
        if granted.status != 200 {
            return Ok(granted);
        }
        let token = granted.json()["token"].as_str().map(str::to_owned);
        grant.token = token.unwrap_or_else(|| panic!("no token: {granted:?}"));
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(name, grant.clone());
        self.send_bare(&bearer(&grant.token))
    }

    fn fetch_token(
        &self,
        challenge: &Challenge,
        scopes: &BTreeSet<String>,
        credentials: Option<(&String, &String)>,
    ) -> Result<Response, wire::WireError> {
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let mut request = Request::new("GET", &Challenge { scope: None, ..challenge.clone() }.target(&scopes));
        if let Some((id, secret)) = credentials {
            request = request.header("Authorization", &basic(id, secret));
        }
        self.send_bare(&request)
    }

    /// `GET`.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.send(Request::new("GET", target))
    }

    /// `HEAD`.
    #[track_caller]
    pub fn head(&self, target: &str) -> Response {
        self.send(Request::new("HEAD", target))
    }

    /// `DELETE`.
    #[track_caller]
    pub fn delete(&self, target: &str) -> Response {
        self.send(Request::new("DELETE", target))
    }

    /// `POST` without a body.
    #[track_caller]
    pub fn post(&self, target: &str) -> Response {
        self.send(Request::new("POST", target))
    }

    /// `PUT`, the media type as docker sends it for blobs.
    #[track_caller]
    pub fn put(&self, target: &str, bytes: &[u8]) -> Response {
        let request = Request::new("PUT", target).header("Content-Type", "application/octet-stream");
        self.send(request.body(Body::Length(bytes.to_vec())))
    }

    /// `PATCH` with a length and, if given, the place of the first byte.
    #[track_caller]
    pub fn patch(&self, target: &str, start: Option<usize>, bytes: &[u8]) -> Response {
        let mut request = Request::new("PATCH", target).header("Content-Type", "application/octet-stream");
        if let Some(start) = start {
            request = request.header("Content-Range", &format!("{start}-{}", start + bytes.len() - 1));
        }
        self.send(request.body(Body::Length(bytes.to_vec())))
    }

    /// Begins an upload; path and query of its `Location`.
    #[track_caller]
    pub fn begin(&self, repository: &str) -> String {
        self.post(&format!("/v2/{repository}/blobs/uploads/")).expect(202).location_path()
    }

    /// Pushes a blob by `POST` and `PUT`; its digest.
    #[track_caller]
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.put(&with_parameter(&self.begin(repository), "digest", &digest), bytes).expect(201);
        digest
    }

    /// `PUT` of a manifest, whatever the answer.
    #[track_caller]
    pub fn put_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) -> Response {
        let request = Request::new("PUT", &format!("/v2/{repository}/manifests/{reference}"))
            .header("Content-Type", &manifest.media_type);
        self.send(request.body(Body::Length(manifest.bytes.clone())))
    }

    /// Pushes a manifest by a reference; its digest.
    #[track_caller]
    pub fn push_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) -> String {
        self.put_manifest(repository, reference, manifest).expect(201);
        manifest.digest()
    }

    /// Pushes blobs and manifest of an image; the digest of the manifest.
    #[track_caller]
    pub fn push_image(&self, repository: &str, reference: &str, image: &Image) -> String {
        for blob in &image.blobs {
            self.push_blob(repository, blob);
        }
        self.push_manifest(repository, reference, &image.manifest)
    }

    /// The bytes of a blob, following one redirect as clients do: without `Authorization`.
    ///
    /// # Panics
    /// When it cannot be had.
    #[track_caller]
    pub fn pull_blob(&self, repository: &str, digest: &str) -> Vec<u8> {
        self.follow(self.get(&format!("/v2/{repository}/blobs/{digest}"))).expect(200).body.clone()
    }

    /// The answer behind one redirect, if it is one.
    #[track_caller]
    pub fn follow(&self, answer: Response) -> Response {
        if answer.status == 307 { self.anonymous().get(&answer.location()) } else { answer }
    }
}

/// What a token of [`Login::Token`] is kept under: the repository in a path.
fn repository_of(target: &str) -> String {
    let path = crate::http::path_of(target).split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/v2/").unwrap_or_default();
    let marks = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
    let end = marks.iter().filter_map(|mark| path.rfind(mark)).max();
    // `a/blobs/uploads/b` can be read in two ways; the longer one only costs a token of its own.
    path[..end.unwrap_or(path.len())].trim_end_matches("/blobs").to_owned()
}
