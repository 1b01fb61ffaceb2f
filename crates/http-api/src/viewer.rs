//! The pages for people: `/api` shows the document, `/api/problems` the codes of problems.
//!
//! Everything comes out of the program itself. The browser is told to load nothing from elsewhere, whatever the viewer would like.

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

use crate::{
    enter::{Gate, enter},
    problem::{Code, Problem},
    query::Segments,
    rights::Row,
    service::Api,
};

const HTML: &str = "text/html; charset=utf-8";
/// The viewer writes styles into its page; scripts come from files alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The viewer changes with the program's version only.
const KEEP: &str = "max-age=86400";

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The paths of these pages. They are no operations of the API, so the document does not have them.
pub(crate) fn routes() -> Router<Api> {
    let gate = Gate { row: Row::Open, parameters: Some(Arc::new([])) };
    Router::new()
        .route("/api", get(page))
        .route("/api/", get(page))
        .route("/api/problems", get(problems))
        .route("/api/viewer/{file}", get(file))
        .route_layer(from_fn(move |request: Request, next: Next| enter(gate.clone(), request, next)))
}

async fn page() -> Response {
    html(include_str!("viewer/page.html"))
}

/// What the `type` of a problem leads to.
async fn problems() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let mut page = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Problems</title>\n\
                        <h1>Problems</h1>\n<p>What the <code>code</code> of an error means.</p>\n"
            .to_owned();
        for code in Code::ALL {
            let (word, status, title, meaning) = (code.word(), code.status().as_u16(), code.title(), code.meaning());
            let _ = writeln!(page, "<h2 id=\"{word}\">{title}</h2>\n<p><code>{word}</code> ({status}): {meaning}</p>");
        }
        page
    });
    html(&PAGE)
}

/// Swagger UI as `build.rs` unpacks it, and our own script that starts it.
async fn file(Segments(name): Segments<String>) -> Result<Response, Problem> {
    let (media_type, bytes): (_, &'static [u8]) = match name.as_str() {
        "swagger-ui.css" => (CSS, include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css"))),
        "swagger-ui-bundle.js" => (SCRIPT, include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js"))),
        "start.js" => (SCRIPT, include_bytes!("viewer/start.js")),
        _ => return Err(Problem::not_found("the viewer has no such file")),
    };
    Ok(asset(media_type, Bytes::from_static(bytes)))
}

fn html(text: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(HTML)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, text).into_response()
}

fn asset(media_type: &'static str, bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEEP)),
    ];
    (headers, bytes).into_response()
}
