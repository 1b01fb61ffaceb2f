//! The OpenAPI document: what the endpoints say of themselves, and what they have in common.

use std::sync::LazyLock;

use utoipa::{
    OpenApi as _, PartialSchema as _, ToSchema as _,
    openapi::{
        ComponentsBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    endpoints,
    problem::{self, Problem},
};

pub(crate) const ACCESS_KEY: &str = "access_key";
pub(crate) const TOKEN: &str = "token";
pub(crate) const PROBLEM: &str = "Problem";

/// Groups of operations, in the order in which they are shown. An endpoint names one of these as its `tag`.
#[derive(utoipa::OpenApi)]
#[openapi(tags(
    (name = "Callers", description = "Who calls; one's own keys and password."),
    (name = "Session", description = "Signing in with a password or at a provider of OpenID Connect, for the console."),
    (name = "Registries", description = "Where images are stored."),
    (name = "Repositories", description = "Images. A name is one segment of a path: its `/` are written `%2F`."),
    (name = "Artifacts", description = "What a repository holds: one manifest each, by its digest."),
    (name = "Tags", description = "Names that lead to artifacts, and what became of them."),
    (name = "Trash", description = "What was deleted, until its time is over."),
    (name = "Projects", description = "The tenants of the region."),
    (name = "Members", description = "Who has which role in a project, or on one registry."),
    (name = "Robots", description = "What programs sign in as, their keys, and the jobs of a CI that they trust."),
    (name = "People", description = "Who may sign in."),
    (name = "Buckets", description = "Where the bytes of layers lie."),
    (name = "Quotas", description = "How much projects and registries may hold, and do."),
    (name = "Audit", description = "Who changed what."),
    (name = "Documentation", description = "What this API can do."),
))]
struct Groups;

const DESCRIPTION: &str = "\
Everything about a region but pushes and pulls.

- Sign in with an access key (HTTP Basic: key id and secret).
- Lists come in pages: pass `next` of one as `after` of the next.
- What can be changed has an `ETag`; a change with `If-Match` fails with 412 when somebody else was faster.
- Whatever goes wrong is an `application/problem+json`. Its `code` is for programs.
- `x-right` of an operation is the right that it asks of its caller.";

/// The document before there is an operation in it.
pub(crate) fn base() -> OpenApi {
    let mut schemas = vec![(PROBLEM.to_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    let problem = ResponseBuilder::new()
        .description("What went wrong.")
        .content(problem::MEDIA_TYPE, Content::new(Some(Ref::from_schema_name(PROBLEM))))
        .build();
    let http = |scheme, words| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(words)).build());
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .response(PROBLEM, problem)
        .security_scheme(ACCESS_KEY, http(HttpAuthScheme::Basic, "Key id and secret of an access key."))
        .security_scheme(TOKEN, http(HttpAuthScheme::Bearer, "A token of this host, as `/token` makes them."))
        .build();
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Roadstead management API")
        .version("1")
        .description(Some(DESCRIPTION))
        .license(Some(license));
    OpenApiBuilder::new().info(info.build()).tags(Groups::openapi().tags).components(Some(components)).build()
}

/// The document, as it is served. `docs/openapi.json` is its committed copy.
pub fn openapi_json() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (_, document) = endpoints::all().into_parts();
        document.to_pretty_json().expect("a document has nothing that JSON can't say") + "\n"
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(openapi_json()).expect("JSON")
    }

    /// Method, path and what the document says of it.
    fn operations(document: &Value) -> Vec<(String, String, &Value)> {
        let paths = document["paths"].as_object().expect("paths");
        let of = |(path, item): (&String, &'_ Value)| -> Vec<(String, String)> {
            let methods = item.as_object().expect("an object").keys();
            methods.map(|method| (method.to_uppercase(), path.clone())).collect()
        };
        let all = paths.iter().flat_map(of);
        all.map(|(method, path)| (method.clone(), path.clone(), &paths[&path][method.to_lowercase()])).collect()
    }

    #[test]
    fn the_committed_document_is_the_codes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == openapi_json(),
            "docs/openapi.json differs from the code: run `cargo run -- config openapi > docs/openapi.json`"
        );
    }

    #[test]
    fn every_operation_has_a_row_of_the_matrix() {
        let (document, all) = (document(), endpoints::all());
        let operations = operations(&document);
        assert!(operations.len() >= 2, "the document was not read");
        for (method, path, operation) in &operations {
            let listed = all.table().iter().find(|one| one.method == method && one.path == *path);
            let row =
                listed.unwrap_or_else(|| panic!("{method} {path} has no row: register it with `Endpoints::with`"));
            assert_eq!(operation["x-right"], row.row.to_string(), "{method} {path}");
        }
        assert_eq!(operations.len(), all.table().len());
        assert!(all.clashes().is_empty(), "two types have one name: rename one of {:?}", all.clashes());
    }

    #[test]
    fn every_operation_is_described() {
        let document = document();
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
        let tags: BTreeSet<_> =
            document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).map(Value::to_string).collect();
        let mut ids = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            let name = format!("{method} {path}");
            assert!(path.starts_with("/api/v1/"), "{name}");
            assert!(operation["summary"].as_str().is_some_and(|it| !it.is_empty()), "{name} has no summary");
            assert!(tags.contains(&operation["tags"][0].to_string()), "{name} has none of the tags of `Groups`");
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            assert!(ids.insert(id), "{name}: another function has the same name, which clients are made from");
            assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Problem", "{name}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = openapi_json();
        for reference in text.split("\"$ref\": \"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference} is not in the document");
        }
    }
}
