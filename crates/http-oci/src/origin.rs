//! The scheme and host that a client used, and whose names it speaks.
//!
//! A proxy in front hides both. What it says of them (`Forwarded`, `X-Forwarded-*`) counts only when the peer is a trusted proxy: else
//! anyone could have tokens made for another host (protocol.md N1, 2.4).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Uri, header};
use ipnet::IpNet;
use roadstead_db::facts::View;
use roadstead_model::{Place, Reach, RegistryName, RepositoryName};

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The peer of the connection: the client, or a proxy.
    pub remote: SocketAddr,
    /// The client ([`client_of`]).
    pub client: IpAddr,
    /// The connection itself is encrypted.
    pub tls: bool,
    /// The kind of listener that it came to.
    pub reach: Reach,
}

/// The address of this service as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host name or address in lower case, with its port unless it is the scheme's own. Also `service` of tokens.
    pub host: String,
    /// From where it is seen so.
    pub reach: Reach,
}

impl Origin {
    /// The absolute address of `path`.
    pub fn address(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host)
    }

    /// What a token that is made here is good for: this host, and this kind of listener, should both kinds be called the same.
    pub fn audience(&self) -> Cow<'_, str> {
        match self.reach {
            Reach::Public => self.host.as_str().into(),
            // No host has a blank in it.
            Reach::Private => format!("{} inside", self.host).into(),
        }
    }
}

/// How origins and names are read; part of the settings.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The address that clients use, whatever a request says; except for host-style names, which are addresses of their own.
    pub external: Option<Origin>,
    /// `example.com` when `REGISTRY.example.com` and `REGISTRY.REGION.example.com` are registries.
    pub domain: Option<String>,
    /// The code of the region.
    pub region: Option<String>,
    /// Peers whose `Forwarded` and `X-Forwarded-*` headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Of private listeners, where there are any.
    pub private: Option<PrivateNaming>,
}

/// What is read otherwise on private listeners.
#[derive(Clone, Debug, Default)]
pub struct PrivateNaming {
    /// The address that clients inside use, whatever a request says; except for host-style names.
    pub external: Option<Origin>,
}

/// Whose names a host speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// `HOST/REGISTRY/REPOSITORY`.
    Path,
    /// `REGISTRY.DOMAIN/REPOSITORY`: the whole name is the repository's.
    Host(RegistryName),
    /// `ID.REGION.private.DOMAIN/REPOSITORY` on a private listener: the same, of the registry with this random id.
    Private {
        /// The id.
        id: String,
        /// Which registry that is, once it was looked up; none has it otherwise.
        registry: Option<RegistryName>,
    },
}

impl Addressing {
    /// The place a name means on this host. `None` when no registry can have it: one component alone in path style, or a first
    /// component that is no registry's name.
    pub fn place(&self, name: &RepositoryName) -> Option<Place> {
        match self {
            Self::Private { registry: None, .. } => None,
            Self::Host(registry) | Self::Private { registry: Some(registry), .. } => {
                Some(Place { registry: registry.clone(), repository: name.clone() })
            }
            Self::Path => {
                let (registry, repository) = name.as_str().split_once('/')?;
                Some(Place { registry: registry.parse().ok()?, repository: repository.parse().ok()? })
            }
        }
    }

    /// The name by which clients of this host know a place; the opposite of [`Addressing::place`].
    pub fn name(&self, place: &Place) -> String {
        match self {
            Self::Path => place.to_string(),
            Self::Host(_) | Self::Private { .. } => place.repository.to_string(),
        }
    }

    /// Which registries there are for who asks so on such a listener.
    pub fn view(&self, reach: Reach) -> View<'_> {
        match (reach, self) {
            (Reach::Public, _) => View::Public,
            (Reach::Private, Self::Private { id, .. }) => View::PrivateHost(id),
            (Reach::Private, Self::Path | Self::Host(_)) => View::Private,
        }
    }
}

impl Naming {
    /// An address such as `https://registry.example.com:8443`, as the settings have it.
    pub fn parse_external(address: &str) -> Option<Origin> {
        let uri: Uri = address.trim_end_matches('/').parse().ok()?;
        let scheme = scheme(uri.scheme_str()?)?;
        (uri.path() == "/" || uri.path().is_empty()).then_some(())?;
        Some(Origin { scheme, host: host(uri.authority()?.as_str(), scheme)?, reach: Reach::Public })
    }

    /// The origin of a request, and whose names its host speaks.
    pub fn read(&self, connection: &Connection, uri: &Uri, headers: &HeaderMap) -> (Origin, Addressing) {
        let asked = self.asked(connection, uri, headers);
        let addressing = match asked.reach {
            Reach::Public => self.addressing(&asked.host),
            Reach::Private => self.private_addressing(&asked.host),
        };
        let reach = asked.reach;
        match (self.external(reach), &addressing) {
            (Some(external), Addressing::Path) => (Origin { reach, ..external.clone() }, addressing),
            // The front door's encryption holds for all names behind it.
            (Some(external), Addressing::Host(_) | Addressing::Private { .. }) => {
                let host = host(&asked.host, external.scheme).unwrap_or(asked.host);
                (Origin { scheme: external.scheme, host, reach }, addressing)
            }
            (None, _) => (asked, addressing),
        }
    }

    fn external(&self, reach: Reach) -> Option<&Origin> {
        match reach {
            Reach::Public => self.external.as_ref(),
            Reach::Private => self.private.as_ref()?.external.as_ref(),
        }
    }

    fn asked(&self, connection: &Connection, uri: &Uri, headers: &HeaderMap) -> Origin {
        let forwarded =
            if self.trusts(connection.remote.ip()) { Forwarded::read(headers) } else { Forwarded::default() };
        let own = if connection.tls { "https" } else { "http" };
        let scheme = forwarded.proto.as_deref().and_then(scheme).unwrap_or(own);
        let said = uri.authority().map(http::uri::Authority::as_str).or_else(|| text(headers, header::HOST.as_str()));
        let named = |it: &str| host(&forwarded.with_port(it, scheme), scheme);
        let host = forwarded.host.as_deref().and_then(named).or_else(|| said.and_then(named));
        let host = host.or_else(|| self.external(connection.reach).map(|it| it.host.clone()));
        Origin { scheme, host: host.unwrap_or_else(|| "localhost".to_owned()), reach: connection.reach }
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }

    /// `REGISTRY.DOMAIN` or `REGISTRY.REGION.DOMAIN`. The region's own name and the external address speak path style, so no registry
    /// of that name can be asked for by the short form.
    fn addressing(&self, host: &str) -> Addressing {
        let Some(domain) = &self.domain else { return Addressing::Path };
        if self.external.as_ref().is_some_and(|external| without_port(&external.host) == without_port(host)) {
            return Addressing::Path;
        }
        let label = without_port(host).strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
        let Some(label) = label else { return Addressing::Path };
        let label = match self.region.as_deref() {
            Some(region) if label == region => return Addressing::Path,
            Some(region) => label.strip_suffix(region).and_then(|rest| rest.strip_suffix('.')).unwrap_or(label),
            None => label,
        };
        label.parse().map_or(Addressing::Path, Addressing::Host)
    }

    /// `ID.REGION.private.DOMAIN`, or `ID.private.DOMAIN` without a region; all other names speak path style.
    fn private_addressing(&self, host: &str) -> Addressing {
        let id = self.private_domain().and_then(|domain| {
            let id = without_port(host).strip_suffix(domain.as_str())?.strip_suffix('.')?;
            (!id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| id.to_owned())
        });
        id.map_or(Addressing::Path, |id| Addressing::Private { id, registry: None })
    }

    fn private_domain(&self) -> Option<String> {
        let domain = self.domain.as_ref()?;
        Some(match &self.region {
            Some(region) => format!("{region}.private.{domain}"),
            None => format!("private.{domain}"),
        })
    }

    /// Where clients find a registry, from outside or inside: `HOST/REGISTRY` and, with a domain, a host of its own. `asked` stands for
    /// a host that was not configured, if the request came in there. `None`: nobody listens there.
    pub fn endpoint(&self, reach: Reach, asked: &Origin, registry: &str, private_id: &str) -> Option<Endpoint> {
        if reach == Reach::Private && self.private.is_none() {
            return None;
        }
        let speaks_path = match reach {
            Reach::Public => self.addressing(&asked.host),
            Reach::Private => self.private_addressing(&asked.host),
        } == Addressing::Path;
        let asked = Some(asked).filter(|asked| asked.reach == reach);
        let path = self.external(reach).or(asked.filter(|_| speaks_path)).map(|it| format!("{}/{registry}", it.host));
        let port = self.external(reach).or(asked).map_or("", |it| &it.host[without_port(&it.host).len()..]);
        let host = match reach {
            Reach::Private => self.private_domain().map(|domain| format!("{private_id}.{domain}{port}")),
            Reach::Public => self.domain.as_ref().map(|domain| match &self.region {
                Some(region) => format!("{registry}.{region}.{domain}{port}"),
                None => format!("{registry}.{domain}{port}"),
            }),
        };
        Some(Endpoint { path, host })
    }
}

/// Where clients find a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `HOST/REGISTRY`, before the name of a repository; `None` where it is not known by which name clients know the host.
    pub path: Option<String>,
    /// A host of its own, where a domain is configured.
    pub host: Option<String>,
}

/// Who asks, for logs and limits: the last address that a trusted proxy did not have from another one.
pub fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let lists = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let chain: Vec<IpAddr> = lists.flat_map(|list| list.split(',')).map_while(|one| one.trim().parse().ok()).collect();
    chain.iter().rev().find(|address| !is_trusted(address)).or(chain.first()).copied().unwrap_or(peer)
}

/// What a trusted proxy says; the first entry of a list is the one nearest the client.
#[derive(Default)]
struct Forwarded {
    proto: Option<String>,
    host: Option<String>,
    port: Option<u16>,
}

impl Forwarded {
    fn read(headers: &HeaderMap) -> Self {
        let first = |name| text(headers, name).and_then(|list| list.split(',').next()).map(|it| it.trim().to_owned());
        let mut read = Self {
            proto: first("x-forwarded-proto").map(|it| it.to_ascii_lowercase()),
            host: first("x-forwarded-host"),
            port: first("x-forwarded-port").and_then(|it| it.parse().ok()),
        };
        let element = first("forwarded").unwrap_or_default();
        for pair in element.split(';') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = value.trim().trim_matches('"').to_owned();
            match name.trim().to_ascii_lowercase().as_str() {
                "proto" if read.proto.is_none() => read.proto = Some(value.to_ascii_lowercase()),
                "host" if read.host.is_none() => read.host = Some(value),
                _ => {}
            }
        }
        read
    }

    /// Gives a host without a port the forwarded one. Proxies behind a TLS terminator are known to say `80` beside `https`: the other
    /// scheme's own port is never meant.
    fn with_port<'h>(&self, host: &'h str, scheme: &str) -> Cow<'h, str> {
        let other = if scheme == "https" { 80 } else { 443 };
        match self.port {
            Some(port) if port != other && without_port(host) == host => format!("{host}:{port}").into(),
            _ => host.into(),
        }
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn scheme(text: &str) -> Option<&'static str> {
    match text {
        "http" => Some("http"),
        "https" => Some("https"),
        _ => None,
    }
}

/// A host in lower case without the scheme's own port; `None` for what could not stand in an address or a quoted header value.
fn host(text: &str, scheme: &str) -> Option<String> {
    let (name, port) = host_and_port(text)?;
    let usual = if scheme == "https" { 443 } else { 80 };
    let mut host = name.to_ascii_lowercase();
    if let Some(port) = port.filter(|port| *port != usual) {
        host.push_str(&format!(":{port}"));
    }
    Some(host)
}

/// `host.` and `host` are one name.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let name = without_port(text);
    let port = text[name.len()..].strip_prefix(':');
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    let valid = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.len() <= 253 && name.bytes().all(plain),
    };
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    valid.then_some((name, port))
}

/// Whether a text names a host as the `Host` header and an address have it: a name or an address, perhaps with a port.
pub fn is_host(text: &str) -> bool {
    host_and_port(text.strip_suffix(':').unwrap_or(text)).is_some()
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
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

    fn read_at(
        reach: Reach,
        naming: &Naming,
        remote: &str,
        tls: bool,
        headers: &[(&str, &str)],
    ) -> (Origin, Addressing) {
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
        assert_eq!(
            external.as_ref().map(|it| it.address("/token")).as_deref(),
            Some("https://front.example.com/token")
        );
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
        for path in
            ["kr1.example.com", "example.com", "other.test", "te.example.com", "a.b.example.com", "teamexample.com"]
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
        assert_eq!(
            (origin.address("/token").as_str(), addressing),
            ("http://inside.test:5001/token", Addressing::Path)
        );
        let (origin, addressing) = of(Reach::Private, "0F3A.kr1.private.example.com:5001");
        assert_eq!(origin.address(""), "http://0f3a.kr1.private.example.com:5001");
        assert_eq!((addressing.view(origin.reach), &addressing), (View::PrivateHost("0f3a"), &hidden));
        for path in [
            "team.kr1.example.com",
            "0f3a.private.example.com",
            "kr1.private.example.com",
            "a.b.kr1.private.example.com",
        ] {
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
}
