//! The client: one for what lies outside, one for what the configuration says lies inside.

use std::{error::Error, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use reqwest::{Certificate, ClientBuilder, redirect::Policy};
use url::{Host, Url};

use crate::{
    Answer, Fetch, OutgoingError, Request,
    guard::{Inside, PublicNames, is_public},
};

/// An answer must have come within this time.
pub const WITHIN: Duration = Duration::from_secs(10);
/// A connection must stand within this time.
const CONNECT: Duration = Duration::from_secs(5);

/// How requests are made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Certificates in PEM to trust beside the public ones.
    pub ca_certificates: Vec<u8>,
}

pub(crate) struct Client {
    outside: reqwest::Client,
    inside: reqwest::Client,
}

impl Client {
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let build = |client: ClientBuilder| {
            let mut client = client
                .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT)
                .timeout(WITHIN);
            if !options.ca_certificates.is_empty() {
                let certificates =
                    Certificate::from_pem_bundle(&options.ca_certificates).map_err(|error| words(&error))?;
                client = certificates.into_iter().fold(client, ClientBuilder::add_root_certificate);
            }
            client.build().map_err(|error| format!("the HTTP client: {}", words(&error)))
        };
        Ok(Self {
            outside: build(reqwest::Client::builder().dns_resolver(PublicNames).https_only(true))?,
            inside: build(reqwest::Client::builder())?,
        })
    }

    async fn send(&self, request: Request) -> Result<Answer, OutgoingError> {
        let Request { address, internal, form, basic, most } = request;
        let url = check(&address, internal)?;
        let client = if internal { &self.inside } else { &self.outside };
        let mut builder = match form {
            Some(form) => client.post(url).form(&form),
            None => client.get(url),
        };
        builder = builder.header("accept", "application/json");
        if let Some((user, password)) = basic {
            builder = builder.basic_auth(user, Some(password));
        }
        let failed = |error: reqwest::Error| {
            OutgoingError::Failed(format!("{address} can't be reached: {}", words(&error.without_url())))
        };
        let mut answer = builder.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            if body.len() + part.len() > most {
                return Err(OutgoingError::TooLarge(address, most));
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, body })
    }
}

impl Fetch for Client {
    fn fetch(&self, request: Request) -> BoxFuture<'_, Result<Answer, OutgoingError>> {
        self.send(request).boxed()
    }
}

/// Names are looked at when they are resolved; what is an address already never is.
fn check(address: &str, internal: bool) -> Result<Url, OutgoingError> {
    let refused = |words: String| OutgoingError::Refused(words);
    let url = Url::parse(address).map_err(|error| refused(format!("{address:?} is no address: {error}")))?;
    let plain = url.username().is_empty() && url.password().is_none();
    let scheme = url.scheme() == "https" || (internal && url.scheme() == "http");
    if !plain || !scheme {
        let right = if internal { "`http` or `https`" } else { "`https`" };
        return Err(refused(format!("{address} must begin with {right}, and name no user")));
    }
    let public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(_)) => true,
        None => false,
    };
    if public || internal { Ok(url) } else { Err(refused(Inside(address.to_owned()).to_string())) }
}

/// An error with what caused it, which its own words leave out.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn request(address: &str, internal: bool) -> Request {
        Request { address: address.to_owned(), internal, form: None, basic: None, most: 100 }
    }

    /// Answers one request with these bytes; gives its address.
    async fn answer_once(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}/x", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.expect("a request") > 0, "a head");
            stream.write_all(answer.as_bytes()).await.expect("an answer");
        });
        address
    }

    #[tokio::test]
    async fn what_lies_inside_is_not_connected_to() {
        let client = Client::new(&Options::default()).expect("a client");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "169.254.169.254"]
        {
            let refused = client.send(request(&format!("https://{host}:{port}/"), false)).await.expect_err(host);
            assert!(refused.to_string().contains("is inside this network"), "{host}: {refused}");
        }
        for address in ["http://1.1.1.1/", "file:///etc/passwd", "https://user@example.com/", "ftp://example.com/", "x"]
        {
            assert!(matches!(client.send(request(address, false)).await, Err(OutgoingError::Refused(_))), "{address}");
        }
        assert!(futures::poll!(Box::pin(listener.accept())).is_pending(), "somebody has come");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_a_long_answer_is_none() {
        let client = Client::new(&Options::default()).expect("a client");
        let moved =
            answer_once("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned());
        assert_eq!(client.send(request(&moved.await, true)).await.expect("an answer").status, 302);
        let right = answer_once(format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}", "x".repeat(100)));
        assert_eq!(client.send(request(&right.await, true)).await.expect("an answer").body.len(), 100);
        let long = answer_once(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(101)));
        assert!(matches!(client.send(request(&long.await, true)).await, Err(OutgoingError::TooLarge(_, 100))));
    }
}
