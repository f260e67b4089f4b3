//! `/docs`: the description of the API as a page to read and to try. The page is Swagger UI (Apache-2.0), whose files are
//! in the binary: nothing is loaded from elsewhere, and the page may load nothing from elsewhere.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    response::{Redirect, Response},
};
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

use super::{error::Failure, openapi::Binary, params::Named};
use crate::error::{Context, Error, Kind, Result};

/// Where the page finds the description: beside itself, so that it does so behind a proxy's prefix as well.
const DESCRIPTION: &str = "../openapi.json";
/// Swagger UI writes styles into its elements and draws its icons from `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// The page that shows the description, without its slash
///
/// The page names its files as its neighbours, and so stands at `/docs/`.
#[utoipa::path(
    get, path = "/docs", tag = "operation", operation_id = "docs",
    responses((status = 308, description = "To `/docs/`", headers(("Location" = String, description = "`docs/`")))),
)]
pub async fn without_slash() -> Redirect {
    // Relative, so that a proxy's prefix stays.
    Redirect::permanent("docs/")
}

/// The page that shows the description
///
/// It is in the server and loads nothing from elsewhere.
#[utoipa::path(
    get, path = "/docs/", tag = "operation", operation_id = "docs_page",
    responses((status = 200, description = "The page, packed by gzip", body = String, content_type = "text/html")),
)]
pub async fn page() -> Result<Response, Failure> {
    file(Named("index.html".to_owned())).await
}

/// A file of the page
#[utoipa::path(
    get, path = "/docs/{file}", tag = "operation", operation_id = "docs_file",
    params(("file" = String, Path, description = "As the page names it", example = "swagger-ui.css")),
    responses(
        (status = 200, description = "The file, most of them packed by gzip", content(
            (String = "text/html"), (String = "text/javascript"), (String = "text/css"), (Binary = "image/png"),
        )),
        (status = 400, description = "`invalid`: the name is not UTF-8"),
        (status = 404, description = "`not_found`: the page has no such file"),
    ),
)]
pub async fn file(Named(name): Named) -> Result<Response, Failure> {
    let config = Config::from(DESCRIPTION)
        .display_operation_id(true)
        .display_request_duration(true)
        .filter(true)
        .validator_url("none");
    let found = serve(&name, Arc::new(config)).map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
    let file = found.ok_or_else(|| Error::new(Kind::NotFound, format!("the page has no file {name}")))?;
    Ok(respond(file)?)
}

fn respond(file: SwaggerFile<'_>) -> Result<Response> {
    let mut response = Response::new(Body::from(file.bytes.into_owned()));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_str(&file.content_type).context("a media type is ASCII")?;
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // They change with the binary.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if file.gzpipped {
        // They are packed in the binary already; every browser takes them so.
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
