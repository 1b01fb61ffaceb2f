//! Hosts, proxies and names, as clients use them.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.0.0.1:4000";
const STRANGER: &str = "192.0.2.7:4000";

fn naming() -> Naming {
    Naming {
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        domain: Some("example.com".into()),
        region: Some("kr1".into()),
        external: None,
        private: None,
    }
}

fn read(naming: &Naming, remote: &str, tls: bool, headers: &[(&str, &str)]) -> (String, Addressing) {
    let (origin, addressing) = read_at(Reach::Public, naming, remote, tls, headers);
    (origin.address(""), addressing)
}

fn read_at(reach: Reach, naming: &Naming, remote: &str, tls: bool, headers: &[(&str, &str)]) -> (Origin, Addressing) {
    let remote: SocketAddr = remote.parse().expect("an address");
    let connection = Connection { remote, client: remote.ip(), tls, reach };
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (HeaderName::try_from(*name).expect("a name"), HeaderValue::try_from(*value).expect("a value"))
        })
        .collect();
    naming.read(&connection, &Uri::from_static("/v2/"), &headers)
}

fn address(remote: &str, tls: bool, headers: &[(&str, &str)]) -> String {
    read(&naming(), remote, tls, headers).0
}

#[test]
fn the_request_says_where_it_went() {
    assert_eq!(address(STRANGER, false, &[("host", "Localhost:5000")]), "http://localhost:5000");
    assert_eq!(address(STRANGER, true, &[("host", "r.test:443")]), "https://r.test");
    assert_eq!(address(STRANGER, true, &[("host", "[::1]:5000")]), "https://[::1]:5000");
    assert_eq!(address(STRANGER, false, &[("host", "a\"b")]), "http://localhost");
    assert_eq!(address(STRANGER, false, &[]), "http://localhost");
}

/// protocol.md N1, T16; distribution #479.
#[test]
fn a_trusted_proxy_says_what_the_client_used() {
    let proto = ("x-forwarded-proto", "https");
    let host = ("host", "inner:5000");
    assert_eq!(address(PROXY, false, &[host, proto, ("x-forwarded-host", "r.test")]), "https://r.test");
    assert_eq!(
        address(PROXY, false, &[host, proto, ("x-forwarded-host", "r.test"), ("x-forwarded-port", "8443")]),
        "https://r.test:8443"
    );
    assert_eq!(address(PROXY, false, &[host, proto]), "https://inner:5000");
    assert_eq!(
        address(PROXY, false, &[host, ("x-forwarded-proto", "https, http"), ("x-forwarded-host", "r.test, inner")]),
        "https://r.test"
    );
    let port = |port| [("host", "r.test"), proto, ("x-forwarded-port", port)];
    assert_eq!(address(PROXY, false, &port("8443")), "https://r.test:8443");
    assert_eq!(address(PROXY, false, &port("443")), "https://r.test");
    assert_eq!(address(PROXY, false, &port("80")), "https://r.test");
    let forwarded = ("forwarded", "for=1.2.3.4;Proto=https;host=\"r.test:8443\", for=10.0.0.2;host=x");
    assert_eq!(address(PROXY, false, &[host, forwarded]), "https://r.test:8443");
    assert_eq!(address("[::ffff:10.0.0.1]:1", false, &[host, proto]), "https://inner:5000");
}

#[test]
fn a_stranger_says_nothing() {
    let headers = [("host", "r.test"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "other.test")];
    assert_eq!(address(STRANGER, false, &headers), "http://r.test");
}

#[test]
fn a_configured_address_wins() {
    let external = Naming::parse_external("https://Front.example.com/");
    assert_eq!(external.as_ref().map(|it| it.address("/token")).as_deref(), Some("https://front.example.com/token"));
    let naming = Naming { external, ..naming() };
    assert_eq!(
        read(&naming, STRANGER, false, &[("host", "10.1.2.3:5000")]),
        ("https://front.example.com".into(), Addressing::Path)
    );
    assert_eq!(read(&naming, STRANGER, false, &[("host", "front.example.com")]).1, Addressing::Path);
    let (address, addressing) = read(&naming, STRANGER, false, &[("host", "team.example.com")]);
    assert_eq!(address, "https://team.example.com");
    assert_eq!(addressing, Addressing::Host("team".parse().expect("a name")));
    for wrong in ["front.example.com", "ftp://x", "https://x/path", "https://"] {
        assert_eq!(Naming::parse_external(wrong), None, "{wrong}");
    }
}

/// product.md 2: host style in both forms; everything else is path style.
#[test]
fn hosts_of_registries() {
    let of = |host: &str| read(&naming(), STRANGER, true, &[("host", host)]).1;
    let team = Addressing::Host("team".parse().expect("a name"));
    assert_eq!(of("team.kr1.example.com"), team);
    assert_eq!(of("TEAM.example.com:8443"), team);
    for path in ["kr1.example.com", "example.com", "other.test", "te.example.com", "a.b.example.com", "teamexample.com"]
    {
        assert_eq!(of(path), Addressing::Path, "{path}");
    }
}

/// product.md 2: the names of private listeners are names there alone, and answers name private addresses.
#[test]
fn private_listeners_have_names_of_their_own() {
    let external = Naming::parse_external("https://front.example.com");
    let private = PrivateNaming { external: Naming::parse_external("http://inside.test:5001") };
    let naming = Naming { external, private: Some(private), ..naming() };
    let of = |reach, host: &str| read_at(reach, &naming, STRANGER, false, &[("host", host)]);
    let hidden = Addressing::Private { id: "0f3a".into(), registry: None };

    let (origin, addressing) = of(Reach::Private, "10.0.0.1:5001");
    assert_eq!((origin.address("/token").as_str(), addressing), ("http://inside.test:5001/token", Addressing::Path));
    let (origin, addressing) = of(Reach::Private, "0F3A.kr1.private.example.com:5001");
    assert_eq!(origin.address(""), "http://0f3a.kr1.private.example.com:5001");
    assert_eq!((addressing.view(origin.reach), &addressing), (View::PrivateHost("0f3a"), &hidden));
    for path in
        ["team.kr1.example.com", "0f3a.private.example.com", "kr1.private.example.com", "a.b.kr1.private.example.com"]
    {
        assert_eq!(of(Reach::Private, path).1, Addressing::Path, "{path}");
    }
    // Outside they mean nothing, and what was got inside under one name is of no use outside under the same.
    let (outside, addressing) = of(Reach::Public, "0f3a.kr1.private.example.com");
    assert_eq!((addressing.view(outside.reach), &addressing), (View::Public, &Addressing::Path));
    let inside = Origin { reach: Reach::Private, ..outside.clone() };
    assert_ne!(inside.audience(), outside.audience());
}

#[test]
fn where_clients_find_a_registry() {
    let asked = |reach, host: &str| Origin { scheme: "http", host: host.into(), reach };
    let plain = Naming::default();
    let endpoint = |naming: &Naming, reach, asked: &Origin| {
        let found = naming.endpoint(reach, asked, "team", "0f3a")?;
        Some((found.path.unwrap_or_default(), found.host.unwrap_or_default()))
    };
    let outside = asked(Reach::Public, "r.test:5000");
    let pair = |path: &str, host: &str| Some((path.to_owned(), host.to_owned()));
    assert_eq!(endpoint(&plain, Reach::Public, &outside), pair("r.test:5000/team", ""));
    assert_eq!(endpoint(&plain, Reach::Private, &outside), None);
    let both = Naming { private: Some(PrivateNaming::default()), ..naming() };
    assert_eq!(endpoint(&both, Reach::Public, &outside), pair("r.test:5000/team", "team.kr1.example.com:5000"));
    assert_eq!(endpoint(&both, Reach::Private, &outside), pair("", "0f3a.kr1.private.example.com"));
    let inside = asked(Reach::Private, "10.0.0.1:5001");
    let private = pair("10.0.0.1:5001/team", "0f3a.kr1.private.example.com:5001");
    assert_eq!(endpoint(&both, Reach::Private, &inside), private);
    let external = Naming::parse_external("https://inside.test");
    let named = Naming { private: Some(PrivateNaming { external }), ..both };
    let private = pair("inside.test/team", "0f3a.kr1.private.example.com");
    assert_eq!(endpoint(&named, Reach::Private, &outside), private);
}

#[test]
fn names_and_places() {
    let name = |text: &str| text.parse::<RepositoryName>().expect("a name");
    let place = Addressing::Path.place(&name("team/app/web")).expect("a place");
    assert_eq!((place.registry.as_str(), place.repository.as_str()), ("team", "app/web"));
    assert_eq!(Addressing::Path.name(&place), "team/app/web");
    let host = Addressing::Host("team".parse().expect("a name"));
    assert_eq!(host.place(&name("app/web")), Some(place.clone()));
    assert_eq!(host.name(&place), "app/web");
    assert_eq!(Addressing::Path.place(&name("alone")), None);
    assert_eq!(Addressing::Path.place(&name("ab/app")), None);
}

#[test]
fn only_trusted_proxies_say_who_the_client_is() {
    let trusted = naming().trusted_proxies;
    let [proxy, client] = ["10.0.0.1", "192.0.2.1"].map(|text| text.parse::<IpAddr>().expect("an address"));
    let forwarded: HeaderMap = ["203.0.113.9, 192.0.2.1", "10.0.0.7"]
        .into_iter()
        .map(|list| (HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(list)))
        .collect();
    assert_eq!(client_of(proxy, &forwarded, &trusted), client);
    assert_eq!(client_of(client, &forwarded, &trusted), client, "a stranger's words count for nothing");
    assert_eq!(client_of(proxy, &HeaderMap::new(), &trusted), proxy);
}

proptest! {
    #[test]
    fn no_header_panics(value in "[ -~]{0,40}") {
        let headers = [("host", &*value), ("forwarded", &value), ("x-forwarded-host", &value), ("x-forwarded-port", &value)];
        let address = address(PROXY, false, &headers);
        prop_assert!(!address.contains('"'));
    }
}
