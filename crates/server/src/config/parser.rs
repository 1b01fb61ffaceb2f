//! From the text of a setting to its value. Each parser knows how to say what would have been right.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use roadstead_access::{GroupRole, RoleIn};
use url::Url;

use super::Secret;

type Parse<T> = Box<dyn Fn(&str) -> Option<T>>;

/// Reads one value.
pub(super) struct Parser<T> {
    /// What a right value looks like, to follow "must be" and for the reference page.
    pub(super) form: String,
    /// A TOML array is taken (and commas in the environment).
    pub(super) list: bool,
    /// What was given must not be repeated in an error.
    pub(super) secret: bool,
    parse: Parse<T>,
}

impl<T: 'static> Parser<T> {
    fn new(form: impl Into<String>, parse: impl Fn(&str) -> Option<T> + 'static) -> Self {
        Self { form: form.into(), list: false, secret: false, parse: Box::new(parse) }
    }

    /// The value, or nothing when the text is not of this form.
    pub(super) fn parse(&self, text: &str) -> Option<T> {
        (self.parse)(text)
    }
}

/// A setting that may be left out: the empty text is "not set".
pub(super) fn optional<T: 'static>(inner: Parser<T>) -> Parser<Option<T>> {
    let Parser { form, list, secret, parse } = inner;
    let parse: Parse<Option<T>> =
        Box::new(move |text| if text.is_empty() { Some(None) } else { parse(text).map(Some) });
    Parser { form, list, secret, parse }
}

/// A setting whose value is never shown.
pub(super) fn secret<T: 'static>(inner: Parser<T>) -> Parser<Secret<T>> {
    let Parser { form, list, parse, .. } = inner;
    Parser { form, list, secret: true, parse: Box::new(move |text| parse(text).map(Secret::new)) }
}

fn list<T: 'static>(each: &str, one: impl Fn(&str) -> Option<T> + 'static) -> Parser<Vec<T>> {
    let split = move |text: &str| text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(&one).collect();
    Parser { list: true, ..Parser::new(format!("a list of {each}"), split) }
}

/// A whole number within bounds.
pub(super) fn number(range: RangeInclusive<u64>) -> Parser<u64> {
    let form = format!("a whole number from {} to {}", range.start(), range.end());
    Parser::new(form, move |text| text.parse().ok().filter(|number| range.contains(number)))
}

/// `true` or `false`.
pub(super) fn yes_or_no() -> Parser<bool> {
    Parser::new("true or false", |text| text.parse().ok())
}

/// Any text but the empty one.
pub(super) fn text() -> Parser<String> {
    Parser::new("a text", |text| (!text.is_empty()).then(|| text.to_owned()))
}

/// A path of the file system; a relative one counts from the working directory.
pub(super) fn path() -> Parser<PathBuf> {
    Parser::new("a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)))
}

/// One of a few words.
pub(super) fn choice<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> Parser<T> {
    let names: Vec<_> = words.iter().map(|(name, _)| format!("`{name}`")).collect();
    Parser::new(format!("one of {}", names.join(", ")), move |text| {
        words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
    })
}

/// An address to listen on.
pub(super) fn address() -> Parser<SocketAddr> {
    Parser::new("an address and a port such as `0.0.0.0:5000` or `[::]:5000`", |text| text.parse().ok())
}

/// At least one address to listen on.
pub(super) fn addresses() -> Parser<Vec<SocketAddr>> {
    let each = "addresses with their ports, such as `127.0.0.1:5000`, `0.0.0.0:5000` or `[::]:5000`";
    let inner = list(each, |text| text.parse::<SocketAddr>().ok());
    let parse = inner.parse;
    Parser { parse: Box::new(move |text| parse(text).filter(|found| !found.is_empty())), ..inner }
}

/// Addresses to listen on, or none.
pub(super) fn addresses_or_none() -> Parser<Vec<SocketAddr>> {
    list("addresses with their ports, such as `10.0.0.1:5001`", |text| text.parse().ok())
}

/// Networks; a single address is a network of one.
pub(super) fn networks() -> Parser<Vec<IpNet>> {
    list("networks or addresses, such as `10.0.0.0/8`, `fd00::/8` or `192.168.1.7`", |text| {
        text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
    })
}

/// An address of the web without path, query, fragment or user: kept without a slash at its end.
pub(super) fn origin() -> Parser<String> {
    Parser::new("an address such as `https://registry.example.com`, without a path", |text| {
        let url = Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        plain.then(|| url.as_str().trim_end_matches('/').to_owned())
    })
}

/// The address of a service, where a path is allowed.
pub(super) fn web_address() -> Parser<String> {
    Parser::new("an address that begins with `http://` or `https://`", |text| {
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| text.trim_end_matches('/').to_owned())
    })
}

/// An issuer of tokens, kept letter by letter: it is compared with what tokens say.
pub(super) fn issuer() -> Parser<String> {
    Parser::new(ISSUER, |text| is_issuer(text).then(|| text.to_owned()))
}

/// Issuers of tokens.
pub(super) fn issuers() -> Parser<Vec<String>> {
    list("addresses such as `https://gitlab.com`, without `?` and `#`", |text| is_issuer(text).then(|| text.to_owned()))
}

const ISSUER: &str = "an address such as `https://login.example.com/realms/staff`, without `?` and `#`";

fn is_issuer(text: &str) -> bool {
    text.len() <= 1000
        && Url::parse(text).is_ok_and(|url| {
            let whole = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            matches!(url.scheme(), "http" | "https") && url.has_host() && whole && url.password().is_none()
        })
}

/// Words of printable letters, one of which must be among them.
pub(super) fn words(needed: &'static str) -> Parser<Vec<String>> {
    let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_graphic()).then(|| text.to_owned());
    let inner = list(&format!("words, with `{needed}` among them"), is_word);
    let parse = inner.parse;
    Parser { parse: Box::new(move |text| parse(text).filter(|found| found.iter().any(|it| it == needed))), ..inner }
}

/// Roles that groups give. The name of a group may hold colons itself.
pub(super) fn group_roles() -> Parser<Vec<GroupRole>> {
    let each = "`GROUP:project:PROJECT:ROLE` or `GROUP:registry:REGISTRY:ROLE`, the role one of `manager`, `uploader`, `viewer`";
    list(each, |text| {
        let mut parts = text.rsplitn(4, ':');
        let (role, name, kind, group) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let place = match kind {
            "project" => RoleIn::Project(name.parse().ok()?),
            "registry" => RoleIn::Registry(name.parse().ok()?),
            _ => return None,
        };
        (!group.is_empty()).then_some(())?;
        Some(GroupRole { group: group.to_owned(), place, role: role.parse().ok()? })
    })
}

/// A host name of lower-case labels without a port.
pub(super) fn domain() -> Parser<String> {
    Parser::new("a host name such as `registry.example.com`, in lower case and without a port", |text| {
        (text.len() <= 200 && text.split('.').all(is_label)).then(|| text.to_owned())
    })
}

/// A region's code, one label of a host name.
pub(super) fn label() -> Parser<String> {
    let form = "lower-case letters, digits and `-`, at most 63, such as `kr1`";
    Parser::new(form, |text| is_label(text).then(|| text.to_owned()))
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// 32 bytes in base64.
pub(super) fn key() -> Parser<[u8; 32]> {
    Parser::new("32 bytes in base64 (`openssl rand -base64 32` makes some)", |text| {
        STANDARD.decode(text.trim()).ok()?.try_into().ok()
    })
}

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseAddress {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A PostgreSQL server, as a connection string.
    Postgres(String),
}

/// `sqlite:PATH` or `postgres://...`; the latter holds a password, so it is a secret as a whole.
pub(super) fn database() -> Parser<DatabaseAddress> {
    let form = "`postgres://USER:PASSWORD@HOST/DATABASE` or `sqlite:PATH`";
    Parser::new(form, |text| {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return (!path.is_empty()).then(|| DatabaseAddress::Sqlite(PathBuf::from(path)));
        }
        (text.starts_with("postgres://") || text.starts_with("postgresql://"))
            .then(|| DatabaseAddress::Postgres(text.to_owned()))
    })
}

/// A filter of log lines, in the form of `tracing`.
pub(super) fn log_filter() -> Parser<String> {
    Parser::new(
        "a level (`error`, `warn`, `info`, `debug`, `trace`) or a list such as `info,roadstead_db=debug`",
        |text| {
            let known = |level: &str| matches!(level, "off" | "error" | "warn" | "info" | "debug" | "trace");
            let right = text.split(',').all(|part| known(part.rsplit_once('=').map_or(part, |(_, level)| level)));
            right.then(|| text.to_owned())
        },
    )
}

/// The id of an access key: it travels as the user name of HTTP Basic.
pub(super) fn key_id() -> Parser<String> {
    Parser::new("3 to 64 letters, digits, `-`, `_`, `.` or `@`, that start with a letter or digit", |text| {
        let right = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        ((3..=64).contains(&text.len()) && starts && text.bytes().all(right)).then(|| text.to_owned())
    })
}

/// The secret of an access key.
pub(super) fn key_secret() -> Parser<String> {
    Parser::new("16 to 128 printable characters without blanks", |text| {
        ((16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
    })
}

/// The name of a registry.
pub(super) fn registry_name() -> Parser<roadstead_model::RegistryName> {
    let form = "3 to 30 lower-case letters, digits and `-`, that start with a letter and do not end with `-`";
    Parser::new(form, |text| text.parse().ok())
}
