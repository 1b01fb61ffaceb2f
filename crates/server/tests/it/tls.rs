//! HTTPS: certificates from files, HTTP/2 by ALPN, a changed certificate without a restart.

use std::path::Path;

use roadstead_testkit::{
    Server, Setup,
    content::random_bytes,
    digest,
    process::directory,
    server::{KEY_ID, KEY_SECRET},
    until,
};
use rustix::process::Signal;

use crate::scene::BINARY;

/// Writes a fresh certificate for 127.0.0.1 and its key; the certificate.
pub(crate) fn certificate(dir: &Path) -> reqwest::Certificate {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("tls.pem"), made.cert.pem()).unwrap();
    reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

/// A client that trusts nothing but this certificate.
fn client(certificate: &reqwest::Certificate) -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([certificate.clone()]).no_proxy().build().unwrap()
}

/// protocol.md N4, N1: push and pull over TLS, HTTP/2 by ALPN and HTTP/1.1; the realm is https; SIGHUP reads a new
/// certificate, and connections that are open go on.
#[test]
fn n4_http2_over_tls() {
    let dir = directory("tls");
    let first = certificate(&dir);
    let setup = Setup::directory(BINARY)
        .set("ROADSTEAD_TLS_CERTIFICATE", dir.join("tls.pem").to_str().unwrap())
        .set("ROADSTEAD_TLS_KEY", dir.join("tls.key").to_str().unwrap());
    let mut server = Server::start(setup);
    let base = format!("https://{}", server.address());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let old = client(&first);
    runtime.block_on(async {
        let ping = old.get(format!("{base}/v2/")).send().await.unwrap();
        assert_eq!((ping.status().as_u16(), ping.version()), (401, reqwest::Version::HTTP_2));
        let challenge = ping.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.contains(&format!("realm=\"{base}/token\"")), "{challenge}");

        let bytes = random_bytes(300_000);
        let target = format!("{base}/v2/conf/app/blobs/uploads/?digest={}", digest(&bytes));
        let post = old.post(target).basic_auth(KEY_ID, Some(KEY_SECRET)).body(bytes.clone());
        let pushed = post.send().await.unwrap();
        assert_eq!(pushed.status().as_u16(), 201);
        let location = pushed.headers()["location"].to_str().unwrap();
        assert!(location.starts_with('/') || location.starts_with(&base), "{location}");
        let blob = format!("{base}/v2/conf/app/blobs/{}", digest(&bytes));
        let one = reqwest::Client::builder().tls_certs_only([first.clone()]).http1_only().no_proxy().build().unwrap();
        for client in [&old, &one] {
            let head = client.head(&blob).basic_auth(KEY_ID, Some(KEY_SECRET)).send().await.unwrap();
            assert_eq!(head.headers()["content-length"], "300000");
            let pulled = client.get(&blob).basic_auth(KEY_ID, Some(KEY_SECRET)).send().await.unwrap();
            assert!(pulled.bytes().await.unwrap() == bytes);
        }
    });

    let second = certificate(&dir);
    server.signal(Signal::HUP);
    until("new connections get the new certificate", || {
        let ping = client(&second).get(format!("{base}/v2/")).send();
        runtime.block_on(ping).is_ok().then_some(())
    });
    let ping = runtime.block_on(old.get(format!("{base}/v2/")).send()).unwrap();
    assert_eq!(ping.status().as_u16(), 401, "the open connection goes on");
}
