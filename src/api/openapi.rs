//! `/openapi.json`: the API described (OpenAPI 3.1). The file is written from the table of routes,
//! `openapi/describe.rs` and `openapi/schemas.json` by a test, and held to them by the same test:
//! `OHMVISION_OPENAPI_WRITE=1 cargo test --lib the_file_is_what_the_table_says`.

use super::{Response, content};

#[cfg(test)]
mod build;
#[cfg(test)]
mod conforms;
#[cfg(test)]
mod describe;
#[cfg(test)]
mod tests;

/// The document, as it is served.
pub static DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn serve() -> Response {
    content("application/json", DOCUMENT)
}
