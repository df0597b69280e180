//! What is known of the operator's document from one look to the next, and what is reported of it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::command::Refusal;
use super::differences::{Step, Taken};
use super::document::SECRET_SETTING;

/// Largest `reported`; beyond it the cameras are left out.
const REPORTED_BYTES_MAX: usize = 200 * 1024;
/// Differences and errors that are told.
pub(super) const TOLD_MAX: usize = 200;

/// What could not be taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Fault {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) camera: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) setting: Option<String>,
    pub(super) code: String,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn of(camera: Option<&str>, setting: Option<&str>, refusal: Refusal) -> Self {
        Self {
            camera: camera.map(str::to_owned),
            setting: setting.map(str::to_owned),
            code: refusal.code.to_owned(),
            reason: refusal.reason,
        }
    }
}

/// What outlives a restart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The last document that was taken, its secrets sealed.
    pub(super) document: Option<Value>,
    /// Of the document as it came.
    pub(super) digest: String,
    /// Its revision.
    pub(super) revision: u64,
    /// That of the last one that stands: a change on trial does not yet.
    pub(super) applied_revision: u64,
    pub(super) taken: Taken,
    pub(super) errors: Vec<Fault>,
    /// Settings that are on trial.
    pub(super) trial: Vec<String>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) kept: Kept,
    /// The last document was refused, and is told so until another comes.
    pub(super) refused: Option<(u64, Fault)>,
    /// As it was when all was looked at last.
    pub(super) looked: Option<u64>,
    /// What differs.
    pub(super) drift: Vec<Value>,
    /// It is changed back when it is time.
    pub(super) is_mend_due: bool,
    pub(super) told: String,
}

impl State {
    /// Notes a setting that could not be taken.
    pub(super) fn fail(&mut self, key: &str, refused: Refusal) {
        tracing::warn!(
            setting = key,
            code = refused.code,
            "not as wanted: {}",
            refused.reason
        );
        self.kept.taken.failed.insert(key.to_owned());
        self.kept.errors.push(Fault::of(None, Some(key), refused));
    }

    /// The body of `reported`.
    pub(super) fn reported(&self) -> String {
        let (kept, drift) = (&self.kept, &self.drift);
        let revision = self
            .refused
            .as_ref()
            .map_or(kept.revision, |(revision, _)| *revision);
        let refused = self.refused.iter().map(|(_, fault)| fault);
        let errors: Vec<&Fault> = refused.chain(&kept.errors).take(TOLD_MAX).collect();
        let cameras: Vec<Value> = kept
            .taken
            .cameras
            .iter()
            .map(|(key, managed)| {
                let shown = managed
                    .fields
                    .iter()
                    .map(|(field, held)| (field.clone(), held.shown.clone()));
                let mut camera: Map<String, Value> = shown.collect();
                camera.insert("key".to_owned(), json!(key));
                camera.insert("uid".to_owned(), json!(managed.uid));
                Value::Object(camera)
            })
            .collect();
        let settings: Map<String, Value> = kept
            .taken
            .settings
            .iter()
            .filter(|(key, _)| key.as_str() != SECRET_SETTING)
            .map(|(key, held)| (key.clone(), held.shown.clone()))
            .collect();
        let name = match () {
            () if self.refused.is_some() => "refused",
            () if !kept.trial.is_empty() => "on_trial",
            () if !drift.is_empty() => "drift",
            () if kept.document.is_none() => "none",
            () => "applied",
        };
        let mut body = json!({
            "revision": revision,
            "applied_revision": kept.applied_revision,
            "state": name,
            "cameras": cameras,
            "settings": settings,
            "drift": drift,
            "errors": errors,
        });
        let mut text = body.to_string();
        if text.len() > REPORTED_BYTES_MAX {
            body["cameras"] = Value::Null;
            text = body.to_string();
        }
        text
    }
}

pub(super) fn digest_of(payload: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, payload);
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest)
}

/// `section.key` of a patch.
pub(super) fn keys(body: &Map<String, Value>) -> Vec<String> {
    let below = |(section, fields): (&String, &Value)| -> Vec<String> {
        let names = fields.as_object().into_iter().flat_map(Map::keys);
        names.map(|name| format!("{section}.{name}")).collect()
    };
    body.iter().flat_map(below).collect()
}

pub(super) fn without(body: &mut Map<String, Value>, key: &str) {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    let fields = body.get_mut(section).and_then(Value::as_object_mut);
    let is_empty = fields.is_some_and(|fields| {
        fields.remove(name);
        fields.is_empty()
    });
    if is_empty {
        body.remove(section);
    }
}

/// Every kind of step has to be allowed, or none is done.
pub(super) fn not_allowed(steps: &[Step], allowed: &[String]) -> Result<(), Refusal> {
    let wanted: HashSet<&str> = steps.iter().map(Step::command).collect();
    let mut missing: Vec<&str> = wanted
        .into_iter()
        .filter(|name| !allowed.iter().any(|a| a == name))
        .collect();
    missing.sort_unstable();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Refusal::new(
            "not_allowed",
            format!(
                "mqtt.allowed_commands of this gateway lacks {}",
                missing.join(", ")
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CameraId;

    #[test]
    fn keys_of_a_patch() {
        let mut body = json!({"mqtt": {"url": "x", "alpn": "y"}, "log": {"filter": "z"}});
        let body = body.as_object_mut().unwrap();
        assert_eq!(keys(body), ["log.filter", "mqtt.alpn", "mqtt.url"]);
        without(body, "log.filter");
        without(body, "mqtt.url");
        assert_eq!(
            *body,
            json!({"mqtt": {"alpn": "y"}}).as_object().unwrap().clone()
        );
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        let remove = Step::Remove {
            id: CameraId(1),
            name: "a".into(),
        };
        let set = Step::Set { body: Map::new() };
        let allowed = ["config_patch".to_owned()];
        assert_eq!(not_allowed(&[set], &allowed), Ok(()));
        let refused = not_allowed(&[remove], &allowed).unwrap_err();
        assert_eq!(refused.code, "not_allowed");
        assert!(
            refused.reason.contains("camera_remove"),
            "{}",
            refused.reason
        );
    }
}
