//! Addresses of services: what may be sent a secret.

use url::{Host, Url};

use crate::failure::Failure;

/// Reads the address of a service. Without a scheme it is `https`, and `http` for this machine.
///
/// # Errors
/// When it is none, has more than scheme, host and port, or would have a secret sent in the clear.
pub(crate) fn read(text: &str, insecure_http: bool) -> Result<Url, Failure> {
    let wrong = |why: &str| Failure::usage(format!("{why}: an address is like https://registry.example.com"));
    let (mut url, guessed) = match text.contains("://") {
        true => (Url::parse(text), false),
        false => (Url::parse(&format!("https://{text}")), true),
    };
    if let Ok(given) = &mut url
        && guessed
        && is_here(given)
    {
        // Only schemes of different kinds can't be set for one another.
        let _ = given.set_scheme("http");
    }
    let url = url.map_err(|error| wrong(&format!("{text:?} is no address ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("the address of a service begins with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("no key stands in an address: say `--key-id` and `--secret-stdin`"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("the address of a service has nothing after host and port"));
    }
    if url.scheme() == "http" && !is_here(&url) && !insecure_http {
        let words = format!(
            "{text}: over http the secret would be read by everyone on the way: take https, or `--insecure-http` where nobody listens"
        );
        return Err(Failure::usage(words));
    }
    Ok(url)
}

/// Whether it is this machine, which nothing leaves.
pub(crate) fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Host and port, as images are named with.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    #[test]
    fn a_bare_host_is_an_address() {
        for (text, url) in [
            ("registry.example.com", "https://registry.example.com/"),
            ("registry.example.com:8443", "https://registry.example.com:8443/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/"),
            ("localhost", "http://localhost/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("https://registry.example.com/", "https://registry.example.com/"),
            ("https://localhost:5000", "https://localhost:5000/"),
        ] {
            assert_eq!(read(text, false).expect(text).as_str(), url);
        }
        assert_eq!(host(&read("[::1]:5000", false).expect("right")), "[::1]:5000");
        assert_eq!(host(&read("x.test", false).expect("right")), "x.test");
    }

    #[test]
    fn no_secret_goes_out_in_the_clear() {
        for text in
            ["http://registry.example.com", "http://10.0.0.1:5000", "http://127.0.0.1.example.com", "http://[::2]"]
        {
            let failure = read(text, false).expect_err(text);
            assert!(failure.code() == Code::Usage && failure.words().contains("--insecure-http"), "{failure:?}");
            read(text, true).expect(text);
        }
    }

    #[test]
    fn what_is_no_address_of_a_service() {
        for text in ["", "ftp://x.test", "https://", "https://k:s@x.test", "https://x.test/v2", "https://x.test?a=1"] {
            assert_eq!(read(text, true).expect_err(text).code(), Code::Usage, "{text}");
        }
        assert!(!read("https://k:s3cret@x.test", true).expect_err("a key").words().contains("s3cret"));
    }
}
