//! Requests and answers as they are on the wire, with the assertions that tests make about them.

use std::fmt;

/// The body of a request.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// None, and no header speaks of one.
    #[default]
    None,
    /// With `Content-Length` (also for no bytes: `Content-Length: 0`).
    Length(Vec<u8>),
    /// With `Transfer-Encoding: chunked`, one chunk for each piece. Over HTTP/2: frames without a length.
    Chunked(Vec<Vec<u8>>),
    /// Says it has this length, sends only these bytes, and ends the connection.
    CutShort(usize, Vec<u8>),
    /// Chunked, these pieces, and then the connection ends without the last chunk.
    ChunkedCutShort(Vec<Vec<u8>>),
}

impl Body {
    /// `bytes` in chunks of a size that divides nothing evenly.
    pub fn streamed(bytes: &[u8]) -> Self {
        Self::Chunked(bytes.chunks(70_001).map(<[u8]>::to_vec).collect())
    }
}

/// A request. Nothing is added on the way but what [`Body`] says, `Host` when it is missing, and the login.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, ...
    pub method: String,
    /// Path and query, or a whole `http://` address.
    pub target: String,
    /// In order; a name may come several times.
    pub headers: Vec<(String, String)>,
    /// What is sent after them.
    pub body: Body,
}

impl Request {
    /// A request without headers; `POST`, `PUT` and `PATCH` say `Content-Length: 0`.
    pub fn new(method: &str, target: &str) -> Self {
        let body = if matches!(method, "POST" | "PUT" | "PATCH") { Body::Length(Vec::new()) } else { Body::None };
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body }
    }

    /// Adds a header line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// The first value of a header.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An answer, with the request it answers for the words of a failure.
#[derive(Clone)]
pub struct Response {
    /// Method and target of the request.
    pub asked: String,
    /// The status code.
    pub status: u16,
    /// All header lines in order.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Status codes of the interim answers (`100`) before it.
    pub interim: Vec<u16>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {}", self.asked, self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "    {name}: {value}")?;
        }
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(600)]);
        write!(f, "    ({} bytes) {shown}", self.body.len())
    }
}

impl Response {
    /// Asserts the status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> &Self {
        assert!(self.status == status, "expected {status}: {self:?}");
        self
    }

    /// Asserts that the status is one of several.
    #[track_caller]
    pub fn expect_one_of(&self, statuses: &[u16]) -> &Self {
        assert!(statuses.contains(&self.status), "expected one of {statuses:?}: {self:?}");
        self
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        { self.headers.iter() }.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The value of a header that must come at most once.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} comes {} times: {self:?}", all.len());
        all.first().copied()
    }

    /// The value of a header that must come exactly once.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// Asserts the value of a header.
    #[track_caller]
    pub fn expect_header(&self, name: &str, value: &str) -> &Self {
        let found = self.header(name);
        assert!(found == value, "expected {name}: {value}: {self:?}");
        self
    }

    /// Asserts that a header is not there.
    #[track_caller]
    pub fn expect_no(&self, name: &str) -> &Self {
        assert!(self.all(name).is_empty(), "expected no {name}: {self:?}");
        self
    }

    /// Asserts `Content-Length`, which a `HEAD` must have too.
    #[track_caller]
    pub fn expect_length(&self, length: usize) -> &Self {
        self.expect_header("Content-Length", &length.to_string())
    }

    /// Asserts the exact bytes of the body.
    #[track_caller]
    pub fn expect_body(&self, bytes: &[u8]) -> &Self {
        assert!(self.body == bytes, "expected a body of other {} bytes: {self:?}", bytes.len());
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts status and code of an error whose body has the form of protocol.md L1.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) -> &Self {
        self.expect(status);
        let found = self.error_code();
        assert!(found == code, "expected the error {code}: {self:?}");
        self
    }

    /// The code of the first error of a body of the form of protocol.md L1, which is asserted.
    #[track_caller]
    pub fn error_code(&self) -> String {
        self.expect_header("Content-Type", "application/json");
        let json = self.json();
        let errors = json["errors"].as_array().unwrap_or_else(|| panic!("no list of errors: {self:?}"));
        assert!(!errors.is_empty(), "no error in the list: {self:?}");
        for error in errors {
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "no message: {self:?}");
        }
        let code = errors[0]["code"].as_str();
        code.unwrap_or_else(|| panic!("an error without a code: {self:?}")).to_owned()
    }

    /// `Location`, as it came.
    #[track_caller]
    pub fn location(&self) -> String {
        self.header("Location").to_owned()
    }

    /// Path and query of `Location`, whether it came relative or absolute.
    #[track_caller]
    pub fn location_path(&self) -> String {
        path_of(self.header("Location")).to_owned()
    }

    /// Path and query of the `Link` to the next page, if there is one. Asserts the form of protocol.md H5.
    #[track_caller]
    pub fn next_page(&self) -> Option<String> {
        let link = self.get("Link")?;
        let target = link.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (target, rest) = target.unwrap_or_else(|| panic!("a Link of another form: {self:?}"));
        assert_eq!(rest.replace(' ', ""), ";rel=\"next\"", "{self:?}");
        Some(path_of(target).to_owned())
    }
}

/// Path and query of an address.
pub fn path_of(address: &str) -> &str {
    match address.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => address,
    }
}

/// `target` with one more query parameter; the value is escaped, as clients do it (`:` becomes `%3A`).
pub fn with_parameter(target: &str, name: &str, value: &str) -> String {
    let joint = if target.contains('?') { '&' } else { '?' };
    format!("{target}{joint}{name}={}", escape(value))
}

/// Percent-encodes everything but letters and digits.
pub fn escape(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}
