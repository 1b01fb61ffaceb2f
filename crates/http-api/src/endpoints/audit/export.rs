//! The audit log as a whole: JSON lines or CSV, page by page out of the database while it is sent, so that its size costs no memory.

use std::fmt::Write as _;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use roadstead_access::Subject;
use roadstead_db::audit::{self, Audited, Filter};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{AuditFilter, AuditView};
use crate::{
    caller::Caller,
    problem::Problem,
    query::{Params, Segments},
    service::{Api, Streamed},
    time::Time,
};

/// Lines that are read at a time.
const PAGE: i64 = 1000;
const HEAD: &str = "at,who,from,request,what,object,before,after\r\n";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AuditFormat)]
pub(in crate::endpoints) enum Format {
    /// One object of JSON a line, as pages have them.
    #[default]
    Json,
    /// For spreadsheets, after a line of names.
    Csv,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::endpoints) struct ExportFormat {
    /// `json` for lines of JSON, `csv` for a table. In a table, a text that a spreadsheet would take for a formula has a `'` before it.
    #[param(inline)]
    #[serde(default)]
    format: Format,
}

/// Export the audit log
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "Audit", params(ExportFormat, AuditFilter),
    responses((status = 200, description = "All lines that the filter means, the newest first.",
        content((String = "application/x-ndjson"), (String = "text/csv")))))]
pub(in crate::endpoints) async fn export_audit(
    State(api): State<Api>,
    caller: Caller,
    Params(ExportFormat { format }): Params<ExportFormat>,
    Params(filter): Params<AuditFilter>,
) -> Result<Response, Problem> {
    caller.allow(&api, Subject::Region).await?;
    export(api, filter.rows(None)?, format).await
}

/// Export the audit log of a project
#[utoipa::path(get, path = "/api/v1/projects/{project}/audit/export", tag = "Audit",
    params(("project" = String, Path, description = "Name"), ExportFormat, AuditFilter),
    responses((status = 200, description = "All lines that the filter means, the newest first.",
        content((String = "application/x-ndjson"), (String = "text/csv")))))]
pub(in crate::endpoints) async fn export_project_audit(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
    Params(ExportFormat { format }): Params<ExportFormat>,
    Params(filter): Params<AuditFilter>,
) -> Result<Response, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    export(api, filter.rows(Some(allowed.project()?))?, format).await
}

/// Where an export is.
struct Cursor {
    api: Api,
    filter: Filter,
    format: Format,
    /// Read and not sent yet; the first page is read before the answer begins, so that what fails at once is an error.
    ready: Option<Bytes>,
    more: bool,
}

impl Cursor {
    /// The next page as text, and where the one after it begins.
    async fn read(&mut self) -> Result<Bytes, String> {
        let found = audit::list(self.api.core().db(), &self.filter, PAGE).await.map_err(|error| error.to_string())?;
        let full = i64::try_from(found.rows.len()).is_ok_and(|rows| rows >= PAGE);
        let next = if full { found.rows.last().map(|line| line.id) } else { found.rest };
        self.more = next.is_some();
        self.filter.before = next.or(self.filter.before);
        Ok(self.format.page(found.rows).into())
    }
}

async fn export(api: Api, filter: Filter, format: Format) -> Result<Response, Problem> {
    let mut cursor = Cursor { api, filter, format, ready: None, more: true };
    let first = cursor.read().await.map_err(Problem::unavailable)?;
    cursor.ready = Some(match format {
        Format::Json => first,
        Format::Csv => [HEAD.as_bytes(), &first].concat().into(),
    });
    let pages = stream::try_unfold(cursor, async |mut cursor| {
        let page = match cursor.ready.take() {
            Some(ready) => ready,
            None if !cursor.more => return Ok(None),
            None => cursor.read().await?,
        };
        Ok::<_, String>(Some((page, cursor)))
    });
    let (media_type, name) = match format {
        Format::Json => ("application/x-ndjson", "attachment; filename=\"audit.jsonl\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
    };
    let mut response = Body::from_stream(pages).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    response.extensions_mut().insert(Streamed);
    Ok(response)
}

impl Format {
    fn page(self, lines: Vec<Audited>) -> String {
        let mut text = String::new();
        for line in lines {
            match self {
                Self::Json => {
                    text += &serde_json::to_string(&AuditView::from(line)).unwrap_or_default();
                    text.push('\n');
                }
                Self::Csv => write_row(&mut text, &line),
            }
        }
        text
    }
}

fn write_row(text: &mut String, line: &Audited) {
    let at = Time(line.at).to_string();
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let cells = [
        at,
        line.by.who.clone(),
        line.by.from.clone(),
        optional(&line.by.request),
        line.what.clone(),
        line.object.clone(),
        optional(&line.before),
        optional(&line.after),
    ];
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    let _ = write!(text, "{}\r\n", cells.join(","));
}

/// A cell in quotes. What a spreadsheet would run as a formula is made a text.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_never_two() {
        assert_eq!(quoted("ada"), "\"ada\"");
        assert_eq!(quoted("say \"a,b\"\r\n"), "\"say \"\"a,b\"\"\r\n\"");
        for first in ["=", "+", "-", "@", "\t", "\r", "\n"] {
            let cell = format!("{first}HYPERLINK(\"http://x\")");
            assert!(quoted(&cell).starts_with(&format!("\"'{first}")), "{cell}");
        }
    }
}
