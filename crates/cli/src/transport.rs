//! Requests over the network, behind a trait so that tests need none.

use std::{fs, time::Duration};

use futures::future::BoxFuture;
use reqwest::{Certificate, NoProxy, Proxy, redirect::Policy};
use url::Url;

use crate::{
    address,
    environment::Environment,
    failure::{Code, Failure},
    service::Service,
};

/// To connect takes no longer.
const CONNECT: Duration = Duration::from_secs(15);
/// No piece of an answer takes longer.
const PIECE: Duration = Duration::from_secs(120);
/// No answer that is held is longer.
const MOST: usize = 64 << 20;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, ...
    pub method: &'static str,
    /// Address, all of it.
    pub url: Url,
    /// Headers besides the credentials.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Option<String>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its media type.
    pub kind: String,
    /// When to try again.
    pub retry_after: Option<String>,
    /// Where else to go.
    pub location: Option<String>,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Takes what comes, piece by piece.
pub type Sink<'a> = dyn Fn(&[u8]) -> Result<(), Failure> + Send + Sync + 'a;

/// Sends requests to one service, with the key to it.
pub trait Transport: Send + Sync {
    /// Sends one. The body of a success goes to the `sink`, if there is one, and is not held then.
    ///
    /// # Errors
    /// When there was no whole answer, or the sink takes no more.
    fn send<'a>(&'a self, request: &'a Request, sink: Option<&'a Sink<'a>>) -> BoxFuture<'a, Result<Answer, Failure>>;
}

/// Makes the transport to a service.
pub type Connect = fn(&Service, &Environment) -> Result<Box<dyn Transport>, Failure>;

/// HTTP.
pub(crate) struct Http {
    client: reqwest::Client,
    key_id: String,
    secret: String,
}

impl Http {
    /// To this service; by a proxy where the environment names one and the way is encrypted.
    ///
    /// # Errors
    /// When certificates or proxy are not right.
    pub(crate) fn open(service: &Service, environment: &Environment) -> Result<Self, Failure> {
        let wrong = |error: reqwest::Error| Failure::usage(format!("the connection: {}", causes(&error)));
        // A redirect could take the secret elsewhere.
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(PIECE)
            .no_proxy();
        let proxy = environment.first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
        if let Some(proxy) = proxy.filter(|_| service.url.scheme() == "https" && !address::is_here(&service.url)) {
            let but = environment.first(&["no_proxy", "NO_PROXY"]).and_then(NoProxy::from_string);
            let proxy = Proxy::https(proxy).map_err(|_| Failure::usage("https_proxy is no address of a proxy"))?;
            client = client.proxy(proxy.no_proxy(but));
        }
        if let Some(path) = &service.ca_file {
            let refused = |error: String| Failure::usage(format!("certificates in {}: {error}", path.display()));
            let text = fs::read(path).map_err(|error| refused(error.to_string()))?;
            let certificates = Certificate::from_pem_bundle(&text).map_err(|error| refused(causes(&error)))?;
            if certificates.is_empty() {
                return Err(refused("there are none in it; they are PEM, `-----BEGIN CERTIFICATE-----`".to_owned()));
            }
            client = certificates.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate);
        }
        // Where nothing is encrypted no authority is needed, and a small container has none.
        if service.url.scheme() == "http" {
            client = client.tls_certs_only(std::iter::empty());
        }
        let client = client.build().map_err(wrong)?;
        Ok(Self { client, key_id: service.key_id.clone(), secret: service.secret.clone() })
    }

    async fn exchange(&self, request: &Request, sink: Option<&Sink<'_>>) -> Result<Answer, Failure> {
        let unreachable = |error: reqwest::Error| {
            let host = address::host(&request.url);
            Failure::new(Code::Unavailable, format!("{host} can't be reached: {}", causes(&error.without_url())))
        };
        let method = reqwest::Method::from_bytes(request.method.as_bytes());
        let method = method.map_err(|_| Failure::other(format!("{:?} is no method", request.method)))?;
        let mut sent = self.client.request(method, request.url.clone()).basic_auth(&self.key_id, Some(&self.secret));
        for (name, value) in &request.headers {
            sent = sent.header(*name, value);
        }
        if let Some(body) = &request.body {
            sent = sent.header("Content-Type", "application/json").body(body.clone());
        }
        let mut response = sent.send().await.map_err(unreachable)?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut answer = Answer {
            status: response.status().as_u16(),
            kind: header("content-type").unwrap_or_default(),
            retry_after: header("retry-after"),
            location: header("location"),
            body: Vec::new(),
        };
        let sink = sink.filter(|_| (200..300).contains(&answer.status));
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if let Some(sink) = sink {
                sink(&chunk)?;
                continue;
            }
            if answer.body.len() + chunk.len() > MOST {
                return Err(Failure::other(format!(
                    "{} answers more than a Roadstead does",
                    address::host(&request.url)
                )));
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

impl Transport for Http {
    fn send<'a>(&'a self, request: &'a Request, sink: Option<&'a Sink<'a>>) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(self.exchange(request, sink))
    }
}

/// An error with what caused it, outermost first; each once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        next = cause.source();
    }
    words
}
