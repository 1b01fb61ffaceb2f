//! protocol.md 4 #39 and T16: behind nginx, which ends TLS. The clients themselves take the addresses that they are given
//! there as `e2e/` shows them over TLS of our own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
};

use reqwest::{Method, StatusCode, Url, header};
use roadstead_testkit::{
    Server,
    content::{self, Image, random_bytes},
    digest, engines,
    process::{Output, Process, directory, free_port},
    server::{KEY_ID, KEY_SECRET},
    until,
};
use tokio::runtime::Runtime;

use crate::{
    scene::{Storage, on_both_engines},
    tls::certificate,
};

on_both_engines!(t16_realm_behind_a_tls_proxy, bug39_push_behind_a_tls_proxy);

/// What nginx passes on in each of its sites, beside the request.
const FORWARDING: &str = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;";
const HOST_ALONE: &str = "proxy_set_header Host $http_host;";
/// nginx then says its upstream's address for the host.
const NOTHING: &str = "";

/// A port that nginx will listen on; said before a server is started that has to know its address.
struct Site {
    port: u16,
    passed_on: &'static str,
}

impl Site {
    fn new(passed_on: &'static str) -> Self {
        Self { port: free_port(), passed_on }
    }

    fn base(&self) -> Url {
        format!("https://127.0.0.1:{}/", self.port).parse().unwrap()
    }
}

/// nginx in front of servers, and a client that trusts its certificate alone.
struct Front {
    runtime: Runtime,
    client: reqwest::Client,
    // Ends nginx when it is dropped.
    _nginx: Process,
}

impl Front {
    fn start(program: PathBuf, sites: &[(&Site, SocketAddr)]) -> Self {
        let dir = directory("nginx");
        let certificate = certificate(&dir);
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};\n", dir.join(name).display()))
            .concat();
        let sites_text: String = { sites.iter() }
            .map(|(site, server)| {
                let (port, passed_on) = (site.port, site.passed_on);
                format!(
                    "server {{ listen 127.0.0.1:{port} ssl; location / {{ proxy_pass http://{server}; {passed_on} }} }}\n"
                )
            })
            .collect();
        // As a registry is put behind it: bodies of any size, not kept back, nothing rewritten; and compression, which
        // is left to types that no layer and no manifest has (with `gzip_types *` nginx takes the length out of HEAD,
        // and no registry can help that).
        let config = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log stderr;\n\
             events {{}}\n\
             http {{\n\
             access_log off; {folders} client_max_body_size 0; proxy_http_version 1.1; proxy_request_buffering off;\n\
             proxy_buffering off; proxy_redirect off; gzip on; gzip_types text/plain application/json; gzip_min_length 1;\n\
             ssl_certificate {dir}/tls.pem; ssl_certificate_key {dir}/tls.key;\n\
             {sites_text}}}\n",
            dir = dir.display()
        );
        std::fs::write(dir.join("nginx.conf"), config).unwrap();
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(&dir).arg("-c").arg(dir.join("nginx.conf")).current_dir(&dir);
        let mut nginx = Process::start(&command, "KILL", None, Output::default());
        until("nginx listens", || {
            assert!(nginx.exit_code().is_none(), "nginx ended:\n{}", nginx.output.text());
            { sites.iter() }.all(|(site, _)| TcpStream::connect((Ipv4Addr::LOCALHOST, site.port)).is_ok()).then_some(())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::builder().tls_certs_only([certificate]).no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { runtime, client, _nginx: nginx }
    }

    /// One request; status, headers and body of the answer.
    fn send(&self, method: Method, url: Url, login: Option<&str>, kind: &str, body: &[u8]) -> Answer {
        let is_head = method == Method::HEAD;
        let mut request = self.client.request(method, url).body(body.to_vec());
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, login);
        }
        // Compression is on; the length has to come through all the same (protocol.md 4 #11).
        if is_head {
            request = request.header(header::ACCEPT_ENCODING, "gzip");
        }
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let (status, headers) = (answer.status(), answer.headers().clone());
            Answer { status, headers, body: answer.bytes().await.unwrap().to_vec() }
        })
    }

    /// What the ping says of where tokens are made.
    fn realm(&self, base: &Url) -> (String, String) {
        let ping = self.send(Method::GET, base.join("v2/").unwrap(), None, "", b"");
        assert_eq!(ping.status, StatusCode::UNAUTHORIZED);
        let challenge = ping.header("www-authenticate");
        let value = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("{challenge}"));
            rest.split_once('"').unwrap().0.to_owned()
        };
        (value("realm"), value("service"))
    }

    /// A token as a client gets one: from the realm that the ping names, whatever that is.
    fn token(&self, base: &Url, repository: &str) -> String {
        let (realm, service) = self.realm(base);
        let mut realm: Url = realm.parse().unwrap();
        let scope = format!("repository:{repository}:pull,push");
        realm.query_pairs_mut().append_pair("service", &service).append_pair("scope", &scope);
        assert!(same_front(base, &realm), "tokens are made elsewhere: {realm}");
        let answer = self.send(Method::GET, realm, Some(&basic()), "", b"");
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        format!("Bearer {}", json["token"].as_str().unwrap())
    }

    /// Pushes an image in chunks and pulls it, each address resolved as a client resolves it, and never another one than
    /// the front's.
    fn push_and_pull(&self, base: &Url, repository: &str, login: &str, image: &Image) {
        let at = |rest: &str| base.join(&format!("v2/{repository}/{rest}")).unwrap();
        let located = |url: &Url, answer: &Answer, status: StatusCode| {
            assert_eq!(answer.status, status, "{answer:?}");
            let location = url.join(&answer.header("location")).unwrap();
            assert!(same_front(base, &location), "sent elsewhere: {location}");
            location
        };
        for blob in &image.blobs {
            let begin = at("blobs/uploads/");
            let begun = self.send(Method::POST, begin.clone(), Some(login), "", b"");
            let patch = located(&begin, &begun, StatusCode::ACCEPTED);
            let patched = self.send(Method::PATCH, patch.clone(), Some(login), "application/octet-stream", blob);
            let mut put = located(&patch, &patched, StatusCode::ACCEPTED);
            put.query_pairs_mut().append_pair("digest", &digest(blob));
            let done = self.send(Method::PUT, put.clone(), Some(login), "", b"");
            let blob_at = located(&put, &done, StatusCode::CREATED);
            let head = self.send(Method::HEAD, blob_at.clone(), Some(login), "", b"");
            assert_eq!(head.header("content-length"), blob.len().to_string());
            assert!(self.send(Method::GET, blob_at, Some(login), "", b"").body == *blob);
        }
        let tag = at("manifests/v1");
        let manifest = &image.manifest;
        let put = self.send(Method::PUT, tag.clone(), Some(login), &manifest.media_type, &manifest.bytes);
        let manifest_at = located(&tag, &put, StatusCode::CREATED);
        assert!(self.send(Method::GET, manifest_at, Some(login), "", b"").body == manifest.bytes);
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap().to_owned()
    }
}

fn basic() -> String {
    roadstead_testkit::token::basic(KEY_ID, KEY_SECRET)
}

fn same_front(base: &Url, url: &Url) -> bool {
    base.origin() == url.origin()
}

/// protocol.md T16, 2.4: a proxy that ends TLS and says so: the realm is https on the host and port that the client
/// asked, and a token from there is good there. One that says nothing: the setting `external_url` does it. Without
/// either nobody can know of the TLS, and the realm is http on the same host: a proxy has to say it.
fn t16_realm_behind_a_tls_proxy(storage: &Storage) {
    let Some(nginx) = engines::nginx() else { return };
    let [telling, silent, named] = [Site::new(FORWARDING), Site::new(HOST_ALONE), Site::new(NOTHING)];
    let trusting = Server::start(storage.setup().set("ROADSTEAD_TRUSTED_PROXIES", "127.0.0.0/8"));
    let external = named.base().to_string();
    let external = Server::start(storage.setup().set("ROADSTEAD_EXTERNAL_URL", external.trim_end_matches('/')));
    let sites = [(&telling, trusting.address()), (&silent, trusting.address()), (&named, external.address())];
    let front = Front::start(nginx, &sites);
    for site in [&telling, &named] {
        let base = site.base();
        assert_eq!(front.realm(&base), (format!("{base}token"), format!("127.0.0.1:{}", site.port)));
        let login = front.token(&base, "conf/realm");
        let tags = front.send(Method::GET, base.join("v2/conf/realm/tags/list").unwrap(), Some(&login), "", b"");
        assert_eq!(tags.status, StatusCode::NOT_FOUND, "{tags:?}");
    }
    assert_eq!(front.realm(&silent.base()).0, format!("http://127.0.0.1:{}/token", silent.port));
}

/// protocol.md 4 #39 (distribution #479, #1177, #2862), N1: behind nginx with TLS on a port that is not 443: no address
/// of an answer leads back to plain HTTP or to another port. With `X-Forwarded-Proto` the whole push works with a token,
/// without it, too, where the client sends its key itself, since Location is relative; and with `external_url` although
/// nginx says nothing but its own name for the server.
fn bug39_push_behind_a_tls_proxy(storage: &Storage) {
    let Some(nginx) = engines::nginx() else { return };
    let [telling, silent, named] = [Site::new(FORWARDING), Site::new(HOST_ALONE), Site::new(NOTHING)];
    let trusting = Server::start(storage.setup().set("ROADSTEAD_TRUSTED_PROXIES", "127.0.0.0/8"));
    let external = named.base().to_string();
    let external = Server::start(storage.setup().set("ROADSTEAD_EXTERNAL_URL", external.trim_end_matches('/')));
    let sites = [(&telling, trusting.address()), (&silent, trusting.address()), (&named, external.address())];
    let front = Front::start(nginx, &sites);
    let image = content::image_of(&[Vec::new(), random_bytes(1000), random_bytes(3_000_000)]);
    for (n, (site, with_token)) in
        [(&telling, true), (&telling, false), (&silent, false), (&named, true), (&named, false)].into_iter().enumerate()
    {
        let (base, repository) = (site.base(), format!("conf/front{n}"));
        let login = if with_token { front.token(&base, &repository) } else { basic() };
        front.push_and_pull(&base, &repository, &login, &image);
    }
}
