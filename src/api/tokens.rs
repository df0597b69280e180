//! Tokens of the API.

use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::strict::{Fields, not_one_of};
use super::{Context, List, Problem, Response, body, json, json_with, no_content, now, to_the_end};
use crate::model::Timestamp;
use crate::site::{Scope, TokenView};

const NAME_CHARS_MAX: usize = 64;
const SCOPES: [Scope; 3] = [Scope::Read, Scope::Operate, Scope::Admin];

/// A new token with its secret, shown this once.
#[derive(Debug, Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    view: &'a TokenView,
    token: &'a str,
}

pub fn list(context: &Context) -> Result<Response, Problem> {
    json(&List {
        items: context.site.tokens(),
        next_cursor: None,
    })
}

pub async fn create(context: &Context, body: &Value) -> Result<Response, Problem> {
    let mut fields = Fields::new(body::object(body)?);
    let name = fields.text("name", NAME_CHARS_MAX);
    let name = fields.require("name", name.filter(|name| !name.is_empty()));
    let given = fields.text("scope", 16);
    let given = fields.require("scope", given);
    let scope = given.and_then(|given| SCOPES.into_iter().find(|scope| scope.as_str() == given));
    if let (Some(given), None) = (given, scope) {
        fields.error(
            "scope",
            not_one_of(given, SCOPES.iter().map(|s| s.as_str())),
        );
    }
    // An empty text must not make a token that never ends.
    let end = fields.value("expires_at");
    let expires_at = end.and_then(|v| v.as_str()).and_then(Timestamp::parse);
    if end.is_some() && expires_at.is_none_or(|end| end <= now()) {
        fields.error(
            "expires_at",
            "must be a time to come, as in 2027-01-31T00:00:00Z",
        );
    }
    let errors = fields.finish();
    let (Some(name), Some(scope), true) = (name, scope, errors.is_empty()) else {
        return Err(Problem::invalid(errors));
    };
    let (site, name) = (context.site.clone(), name.to_owned());
    let made = to_the_end(async move { site.create_token(name, scope, expires_at).await }).await?;
    let (view, secret) = made?;
    json_with(
        StatusCode::CREATED,
        &Made {
            view: &view,
            token: secret.expose(),
        },
    )
}

pub async fn revoke(context: &Context, id: String) -> Result<Response, Problem> {
    let site = context.site.clone();
    to_the_end(async move { site.revoke_token(&id).await }).await??;
    Ok(no_content())
}
