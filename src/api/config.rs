//! The configuration: shown with origins, changed, reloaded.

use hyper::StatusCode;
use serde_json::Value;

use super::{Context, FieldError, Problem, Response, body, json};
use crate::control::ControlError;

pub async fn show(context: &Context) -> Result<Response, Problem> {
    json(&context.control.show().await?)
}

pub async fn change(context: &Context, body: &Value) -> Result<Response, Problem> {
    let changes = body::object(body)?.clone();
    if changes.is_empty() {
        let message =
            "names no setting: send sections of keys, as in {\"log\": {\"filter\": \"debug\"}}";
        return Err(Problem::invalid(vec![FieldError {
            field: String::new(),
            message: message.to_owned(),
        }]));
    }
    json(&context.control.change(changes).await?)
}

pub async fn reload(context: &Context) -> Result<Response, Problem> {
    json(&context.control.reload().await?)
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::Invalid(errors) => {
                let field = |(field, message)| FieldError { field, message };
                Self::invalid(errors.into_iter().map(field).collect())
            }
            ControlError::Fixed { .. } => Self::new(StatusCode::CONFLICT, "fixed", detail),
            ControlError::Unreadable(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
            }
            ControlError::Store(_) => Self::unavailable("store", detail),
            ControlError::Stopping => Self::unavailable("stopping", detail),
        }
    }
}
