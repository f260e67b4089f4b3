//! `/openapi.json`: the description of every route. It stands at the handlers and at the shapes that they read and
//! answer; a route comes into the router only with it. Here is what routes have in common, said once: the keys,
//! what the gate answers, what every statement may answer, the bodies of errors. It never describes one route alone.

use std::collections::BTreeMap;

use axum::{
    Extension,
    body::Bytes,
    http::{HeaderName, header::CONTENT_TYPE},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ComponentsBuilder, Content, Header, Info, License, Object, OpenApi, OpenApiBuilder, Ref, RefOr,
        Response, Schema, Tag,
        path::{Operation, PathItem},
        schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
        tag::TagBuilder,
    },
};

use super::{
    access::Needs,
    error::{ErrorAnswer, GrafanaErrorAnswer, JaegerErrorAnswer, Surface},
};
use crate::query::{Library, LibraryKind};

/// How a key may be sent, by the names of `components.securitySchemes`.
const SCHEMES: [&str; 3] = ["bearer", "api_key", "basic"];

/// What answers of the gate mean.
const OF_THE_GATE: &[(&str, &str)] = &[
    ("401", "`unauthenticated`: no key, none of this server's, revoked or expired"),
    (
        "403",
        "`forbidden`: the key lacks the scope, which the message names; or, while there are no keys, the host that was \
         asked for is neither loopback, nor an address, nor in `server.hosts`",
    ),
    (
        "429",
        "`too_many_requests`: more than `access.requests_per_second` (500) of the key, or more than \
         `access.statements_max` (4) of its statements at once",
    ),
    ("500", "`internal`: a fault of the server, whose log says more"),
    ("503", "`busy`: `clients.requests_max` (512) requests are open"),
];

/// What answers of routes that read a body mean besides.
const OF_BODIES: &[(&str, &str)] = &[
    ("408", "`timeout`: the body comes more slowly than 16 KiB/s, 10 s allowed for"),
    ("503", "`busy`: 64 bodies are being read, and this one is the slowest or found no place"),
];

/// What answers of statements mean besides.
const OF_STATEMENTS: &[(&str, &str)] = &[
    ("408", "`timeout`: the statement ran longer than `query.timeout_s` (60)"),
    (
        "422",
        "`resources_exhausted`: the statement needs more memory or rows than it may have (`query.rows_max`, \
         1,000,000), or the answer is larger than a bound that the message names",
    ),
    ("503", "`busy`: `query.concurrency` (8) statements run and none ended within 5 s"),
];

/// The description before any route is in it.
pub fn outline() -> OpenApi {
    let mut info = Info::new("Driftline", env!("CARGO_PKG_VERSION"));
    info.description = Some(include_str!("../../templates/openapi.md").to_owned());
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    info.license = Some(license);
    let mut components = ComponentsBuilder::new();
    for (name, scheme) in SCHEMES.into_iter().zip(schemes()) {
        components = components.security_scheme(name, scheme);
    }
    let mut components = components.build();
    add_schema::<ErrorAnswer>(&mut components);
    add_schema::<GrafanaErrorAnswer>(&mut components);
    add_schema::<JaegerErrorAnswer>(&mut components);
    OpenApiBuilder::new().info(info).tags(Some(tags())).components(Some(components)).build()
}

fn tags() -> Vec<Tag> {
    let tag = |name: &str, says: &str| TagBuilder::new().name(name).description(Some(says)).build();
    vec![
        tag("ingest", "Records in."),
        tag("sql", "Rows out: SQL and the named queries."),
        tag("analytics", "Answers that are judged: KPIs, coverage, drift, the cost report."),
        tag("prometheus", "For scrapes."),
        tag("grafana", "Grafana's JSON datasource (`simpod-json-datasource` 0.6)."),
        tag("jaeger", "Traces, by the JSON API of Jaeger's query service."),
        tag("administration", "The life of files, deletion, backups, keys."),
        tag("operation", "How the server is, and what it can do."),
    ]
}

fn schemes() -> [SecurityScheme; 3] {
    let http =
        |scheme, says: &str| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(says)).build());
    [
        http(
            HttpAuthScheme::Bearer,
            "`Authorization: Bearer KEY`. Made by `driftline key create` or at `/api/v1/keys`.",
        ),
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "X-API-Key",
            "Where `Authorization` is taken by something else.",
        ))),
        http(HttpAuthScheme::Basic, "The key as the password, any user: Grafana, Prometheus, browsers."),
    ]
}

/// Adds to all routes what the gate asks of their callers, and what any of them may be answered.
pub fn guard(api: &mut OpenApi, needs: Needs) {
    let schemes = SCHEMES.map(|scheme| SecurityRequirement::new(scheme, [needs.permission.name()])).to_vec();
    for (_, operation) in operations(api) {
        operation.security = Some(schemes.clone());
        let of_bodies = OF_BODIES.iter().filter(|_| operation.request_body.is_some());
        let of_statements = OF_STATEMENTS.iter().filter(|_| needs.is_statement);
        let mut meanings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (status, meaning) in OF_THE_GATE.iter().chain(of_bodies).chain(of_statements) {
            meanings.entry(status).or_default().push(meaning);
        }
        for (status, meanings) in meanings {
            // What a handler says itself is said more exactly.
            let of_handler = operation.responses.responses.entry(status.to_owned());
            of_handler.or_insert_with(|| Response::new(meanings.join("; or ")).into());
        }
    }
}

/// Adds what can be said only when all routes are there: the bodies of errors, and the names that this server's
/// library has.
pub fn complete(api: &mut OpenApi, library: &Library) {
    for (path, operation) in operations(api) {
        let of_errors = operation.responses.responses.iter_mut().filter(|(status, _)| status.as_str() >= "400");
        for (status, response) in of_errors {
            if let RefOr::T(response) = response
                && response.content.is_empty()
            {
                fill(response, status, Surface::of(path));
            }
        }
        let kinds: &[LibraryKind] = match path {
            "/api/v1/queries/{name}" => &[LibraryKind::Queries, LibraryKind::Kpis],
            "/api/v1/kpis/{name}" => &[LibraryKind::Kpis],
            _ => continue,
        };
        let names = kinds.iter().flat_map(|kind| library.of(*kind)).map(|entry| entry.named.name.as_str());
        name_values(operation, names);
    }
    let schemas = api.components.iter_mut().flat_map(|components| components.schemas.iter_mut());
    for (_, schema) in schemas.filter(|(name, _)| !name.ends_with("Request")) {
        require_nulls(schema);
    }
}

/// Bytes that are no text, for the description.
pub enum Binary {}

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
            .into()
    }
}

impl ToSchema for Binary {}

/// The description as it is sent.
#[derive(Debug, Clone)]
pub struct Document(Bytes);

impl Document {
    /// Writes it down.
    pub fn new(api: &OpenApi) -> Self {
        Self(api.to_json().expect("a description has texts as keys").into())
    }
}

/// The description of the API: this document
///
/// OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation", operation_id = "openapi",
    responses((status = 200, description = "The description", body = Object)),
)]
pub async fn document(Extension(document): Extension<Document>) -> ([(HeaderName, &'static str); 1], Bytes) {
    ([(CONTENT_TYPE, "application/json")], document.0)
}

/// The description of the API, where the API is
///
/// The same as `/openapi.json`.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "operation", operation_id = "openapi_below_api",
    responses((status = 200, description = "The description", body = Object)),
)]
pub async fn document_below_api(document: Extension<Document>) -> ([(HeaderName, &'static str); 1], Bytes) {
    self::document(document).await
}

fn operations(api: &mut OpenApi) -> impl Iterator<Item = (&str, &mut Operation)> {
    api.paths.paths.iter_mut().flat_map(|(path, item)| {
        let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
        [get, put, post, delete, options, head, patch, trace]
            .into_iter()
            .filter_map(Option::as_mut)
            .map(|operation| (path.as_str(), operation))
    })
}

/// The body of an error, and the headers that come with it.
fn fill(response: &mut Response, status: &str, surface: Surface) {
    let shape = match surface {
        Surface::Own => ErrorAnswer::name(),
        Surface::Grafana => GrafanaErrorAnswer::name(),
        Surface::Jaeger => JaegerErrorAnswer::name(),
    };
    let content = Content::new(Some(Ref::from_schema_name(shape)));
    response.content.insert("application/json".to_owned(), content.into());
    let mut header = |name: &str, of: Type, says: &str| {
        let mut header = Header::new(Object::with_type(of));
        header.description = Some(says.to_owned());
        response.headers.insert(name.to_owned(), header.into());
    };
    match status {
        "401" => header("WWW-Authenticate", Type::String, "How a key may be sent."),
        "429" | "503" => header("Retry-After", Type::Integer, "Seconds after which it is worth another try."),
        _ => {}
    }
}

/// Limits the parameter `name` of a path to these.
fn name_values<'a>(operation: &mut Operation, names: impl Iterator<Item = &'a str>) {
    let parameters = operation.parameters.iter_mut().flatten();
    let of_path = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.name == "name" => Some(parameter),
        _ => None,
    });
    let names: Vec<serde_json::Value> = names.map(Into::into).collect();
    for parameter in of_path {
        let mut object = Object::with_type(Type::String);
        object.enum_values = Some(names.clone());
        parameter.schema = Some(object.into());
    }
}

/// What may be null in an answer is there all the same. Where no field has to be there, all of them are absent at times.
fn require_nulls(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) if !object.required.is_empty() => {
            let nullable = object.properties.iter().filter(|(_, property)| may_be_null(property));
            let names: Vec<String> =
                nullable.map(|(name, _)| name.clone()).filter(|name| !object.required.contains(name)).collect();
            object.required.extend(names);
        }
        Schema::AllOf(parts) => parts.items.iter_mut().for_each(require_nulls),
        _ => {}
    }
}

fn may_be_null(schema: &RefOr<Schema>) -> bool {
    let has_null = |of: &SchemaType| match of {
        SchemaType::Type(one) => *one == Type::Null,
        SchemaType::Array(several) => several.contains(&Type::Null),
        SchemaType::AnyValue => false,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => has_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => has_null(&array.schema_type),
        RefOr::T(Schema::OneOf(one)) => one.items.iter().any(may_be_null),
        _ => false,
    }
}

fn add_schema<T: ToSchema>(components: &mut Components) {
    let mut below = Vec::new();
    T::schemas(&mut below);
    components.schemas.extend(below);
    components.schemas.insert(T::name().into_owned(), T::schema());
}
