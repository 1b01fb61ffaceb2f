//! How an endpoint is registered: its function, and its row of the permission matrix.

use axum::{Router, extract::Request, middleware::Next, middleware::from_fn};
use utoipa::openapi::{
    OpenApi, Ref, RefOr, Schema,
    extensions::ExtensionsBuilder,
    path::{Operation, ParameterIn, PathItem},
    security::SecurityRequirement,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::{
    document,
    enter::{Gate, enter},
    rights::Row,
    service::Api,
};

/// An operation with this extension takes parameters that it does not know, since others make them up. It is not in the document, where each
/// operation has one extension alone: they have no order.
const MORE_PARAMETERS: &str = "x-more-parameters";

/// One operation of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `GET`, ...
    pub method: &'static str,
    /// With its variable segments: `/api/v1/projects/{project}`.
    pub path: String,
    /// What it asks of its caller.
    pub row: Row,
}

/// All endpoints: what answers, what the document says, and the table of rows.
pub struct Endpoints {
    router: OpenApiRouter<Api>,
    table: Vec<Endpoint>,
    clashes: Vec<String>,
}

impl Endpoints {
    pub(crate) fn new() -> Self {
        Self { router: OpenApiRouter::with_openapi(document::base()), table: Vec::new(), clashes: Vec::new() }
    }

    /// Adds operations of one path and one row: `with(Row::SignedIn, routes!(me::get_me))`.
    ///
    /// Before its function runs, the caller is known and within its limits, and the parameters of the query are those of the document.
    /// The document gets what all operations have: `x-right`, `security`, the answer to everything that can go wrong.
    #[must_use]
    pub(crate) fn with(mut self, row: Row, routes: UtoipaMethodRouter<Api>) -> Self {
        let (schemas, mut paths, methods) = routes;
        let mut parameters = Vec::new();
        let mut more = false;
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations_mut(item) {
                let listed = operation.parameters.iter().flatten();
                let listed = listed.filter(|parameter| parameter.parameter_in == ParameterIn::Query);
                parameters.extend(listed.map(|parameter| parameter.name.clone()));
                more |= operation.extensions.as_mut().is_some_and(|it| it.remove(MORE_PARAMETERS).is_some());
                complete(operation, row);
                self.table.push(Endpoint { method, path: path.clone(), row });
            }
        }
        let known = self.router.get_openapi().components.as_ref().map(|components| &components.schemas);
        let clash = |(name, schema): &&(String, RefOr<Schema>)| {
            known.and_then(|known| known.get(name)).is_some_and(|other| other != schema)
        };
        self.clashes.extend(schemas.iter().filter(clash).map(|(name, _)| name.clone()));
        let gate = Gate { row, parameters: (!more).then(|| parameters.into()) };
        let methods =
            methods.route_layer(from_fn(move |request: Request, next: Next| enter(gate.clone(), request, next)));
        self.router = self.router.routes((schemas, paths, methods));
        self
    }

    /// The table of all operations with their rows.
    pub fn table(&self) -> &[Endpoint] {
        &self.table
    }

    /// Names that two different types have in the document, where the later one hides the other.
    pub fn clashes(&self) -> &[String] {
        &self.clashes
    }

    pub(crate) fn into_parts(self) -> (Router<Api>, OpenApi) {
        self.router.split_for_parts()
    }
}

fn schemes(names: &[&str]) -> Vec<SecurityRequirement> {
    names.iter().map(|name| SecurityRequirement::new(*name, [] as [&str; 0])).collect()
}

/// The operations of a path.
fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, head, options, .. } = item;
    let all = [
        ("GET", get),
        ("PUT", put),
        ("POST", post),
        ("DELETE", delete),
        ("PATCH", patch),
        ("HEAD", head),
        ("OPTIONS", options),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// What all operations have in common, so that no endpoint says it.
fn complete(operation: &mut Operation, row: Row) {
    let right = ExtensionsBuilder::new().add("x-right", row.to_string()).build();
    operation.extensions.get_or_insert_default().merge(right);
    operation.security = Some(match row {
        Row::Open => Vec::new(),
        // A token is for pushes and pulls.
        Row::SignedIn => schemes(&[document::ACCESS_KEY, document::TOKEN]),
        Row::Right(_) => schemes(&[document::ACCESS_KEY]),
    });
    let problem = RefOr::Ref(Ref::from_response_name(document::PROBLEM));
    operation.responses.responses.entry("default".to_owned()).or_insert(problem);
}

#[cfg(test)]
mod tests {
    use utoipa_axum::routes;

    use super::*;
    use crate::{body::Json, endpoints};

    /// Another `Me` than that of `/api/v1/me`.
    #[derive(serde::Serialize, utoipa::ToSchema)]
    struct Me {
        other: u32,
    }

    #[utoipa::path(get, path = "/api/v1/other", responses((status = 200, body = Me)))]
    async fn get_other() -> Json<Me> {
        Json(Me { other: 1 })
    }

    #[test]
    fn two_types_of_one_name_are_found() {
        let endpoints = endpoints::all().with(Row::Open, routes!(get_other));
        assert_eq!(endpoints.clashes(), ["Me"]);
    }
}
