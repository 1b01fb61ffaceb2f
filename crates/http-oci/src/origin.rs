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
    let mut host = String::with_capacity(text.len());
    host.push_str(name);
    host.make_ascii_lowercase();
    if let Some(port) = port.filter(|port| *port != usual) {
        host.push(':');
        host.push_str(itoa::Buffer::new().format(port));
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
    // Hosts are short: a searcher takes longer to be made than to look.
    match host.bytes().rposition(|byte| byte == b':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests;
