//! What the operator wants of one gateway: the retained document `<base>/<gw>/desired`, read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::config;
use crate::model::Timestamp;
use crate::mqtt::command::{Refusal, plain_secret};
use crate::policy::closest::nearest;

/// Largest document that is taken.
pub const DESIRED_BYTES_MAX: usize = 192 * 1024;
/// Cameras of one document.
const CAMERAS_MAX: usize = 1000;
const SETTINGS_MAX: usize = 256;
const KEY_CHARS_MAX: usize = 128;
const FIELDS: [&str; 6] = [
    "revision",
    "cameras",
    "settings",
    "prune",
    "mend",
    "expires_at",
];
/// Fields of a camera that hold a secret.
pub const SECRET_FIELDS: [&str; 2] = ["password", "onvif_password"];
/// A setting that is a secret: it goes into the vault and is never shown.
pub const SECRET_SETTING: &str = "mqtt.password";

/// What stands before the name of a setting in its sealed box.
pub const SETTINGS_PLACE: &str = "settings.";

/// What stands before the name of a camera's field in its sealed box.
pub fn camera_place(key: &str) -> String {
    format!("cameras.{key}.")
}

/// The document.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Counts up; a smaller one than was applied is stale.
    pub revision: u64,
    pub cameras: Vec<Wanted>,
    /// By `section.key`.
    pub settings: BTreeMap<String, Value>,
    /// Cameras that are not named are removed.
    pub prune: bool,
    /// What is changed by hand is changed back.
    pub mend: bool,
    pub expires_at: Option<Timestamp>,
}

/// One camera as it shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its `uid`, else its `mac_address`, else its `name`: by that it is found again.
    pub key: String,
    pub by: By,
    /// As in `POST /api/cameras`, without `uid`.
    pub fields: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Uid,
    Mac,
    Name,
}

impl Desired {
    /// Reads a document. Secrets in it must be sealed.
    ///
    /// # Errors
    /// `too_large`, `malformed`, `plaintext_secret`.
    pub fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        if payload.len() > DESIRED_BYTES_MAX {
            let bytes = payload.len();
            return Err(Refusal::new(
                "too_large",
                format!(
                    "the document has {bytes} bytes, more than the {DESIRED_BYTES_MAX} that are taken"
                ),
            ));
        }
        let malformed = |reason: String| Refusal::new("malformed", reason);
        let value: Value = serde_json::from_slice(payload)
            .map_err(|e| malformed(format!("the document is no JSON: {e}")))?;
        if let Some(field) = plain_secret(&value, 0) {
            return Err(Refusal::new(
                "plaintext_secret",
                format!(
                    "`{field}` holds a password in clear: seal it with the gateway's sealing_key"
                ),
            ));
        }
        let Value::Object(fields) = value else {
            return Err(malformed("the document must be a JSON object".to_owned()));
        };
        read(fields).map_err(malformed)
    }

    /// The document as it is sent.
    pub fn to_json(&self) -> Value {
        let cameras: Vec<&Map<String, Value>> = self.cameras.iter().map(|c| &c.fields).collect();
        let mut document = json!({
            "revision": self.revision,
            "cameras": cameras,
            "settings": self.settings,
            "prune": self.prune,
            "mend": self.mend,
        });
        for (wanted, camera) in self.cameras.iter().zip(cameras_of(&mut document)) {
            if wanted.by == By::Uid {
                camera.insert("uid".to_owned(), json!(wanted.key));
            }
        }
        if let Some(expires_at) = self.expires_at {
            document["expires_at"] = json!(expires_at.to_string());
        }
        document
    }

    /// The settings in the shape of `PATCH /api/config`.
    pub fn patch<'s>(
        settings: impl IntoIterator<Item = (&'s str, &'s Value)>,
    ) -> Map<String, Value> {
        let mut patch = Map::new();
        for (key, value) in settings {
            let Some((section, name)) = key.split_once('.') else {
                continue;
            };
            let section = patch.entry(section).or_insert_with(|| json!({}));
            section[name] = value.clone();
        }
        patch
    }
}

fn cameras_of(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let cameras = document["cameras"].as_array_mut().into_iter().flatten();
    cameras.filter_map(Value::as_object_mut)
}

fn read(mut fields: Map<String, Value>) -> Result<Desired, String> {
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let near = nearest(unknown, FIELDS);
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(format!("there is no field `{}`{hint}", shown(unknown)));
    }
    let revision = fields.get("revision").and_then(Value::as_u64);
    let revision = revision.filter(|revision| *revision > 0);
    let revision = revision.ok_or("`revision` must be a whole number from 1")?;
    let flag = |name: &str, usual: bool| match fields.get(name) {
        None | Some(Value::Null) => Ok(usual),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(format!("`{name}` must be true or false")),
    };
    let (prune, mend) = (flag("prune", false)?, flag("mend", true)?);
    let expires_at = match fields.get("expires_at") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let time = value.as_str().and_then(Timestamp::parse);
            Some(time.ok_or("`expires_at` must be a time such as 2027-01-31T00:00:00Z")?)
        }
    };
    let cameras = match fields.remove("cameras") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(cameras)) if cameras.len() <= CAMERAS_MAX => cameras
            .into_iter()
            .enumerate()
            .map(|(at, camera)| wanted(camera).map_err(|why| format!("`cameras[{at}]` {why}")))
            .collect::<Result<Vec<Wanted>, String>>()?,
        Some(Value::Array(_)) => {
            return Err(format!("`cameras` has more than {CAMERAS_MAX} entries"));
        }
        Some(_) => return Err("`cameras` must be a list".to_owned()),
    };
    let mut keys = BTreeSet::new();
    if let Some(twice) = cameras.iter().find(|camera| !keys.insert(&camera.key)) {
        return Err(format!("the camera `{}` stands twice", shown(&twice.key)));
    }
    Ok(Desired {
        revision,
        cameras,
        settings: settings(fields.remove("settings"))?,
        prune,
        mend,
        expires_at,
    })
}

/// A camera of a document.
///
/// # Errors
/// A sentence that goes on from the camera's name.
pub fn wanted(camera: Value) -> Result<Wanted, String> {
    let Value::Object(mut fields) = camera else {
        return Err("must be an object".to_owned());
    };
    let text = |value: Option<&Value>| -> Option<String> {
        let text = value?.as_str()?.trim();
        let fits = !text.is_empty() && text.chars().count() <= KEY_CHARS_MAX;
        fits.then(|| text.to_owned())
    };
    let uid = fields.remove("uid").filter(|uid| !uid.is_null());
    let (by, key) = match uid {
        Some(uid) => {
            let uid = text(Some(&uid)).and_then(|uid| uuid::Uuid::try_parse(&uid).ok());
            let uid = uid.ok_or("has a `uid` that is none")?;
            (By::Uid, uid.to_string())
        }
        None => match (text(fields.get("mac_address")), text(fields.get("name"))) {
            (Some(mac), _) => (By::Mac, mac.to_ascii_lowercase().replace('-', ":")),
            (None, Some(name)) => (By::Name, name),
            (None, None) => return Err("needs a `name`, a `mac_address` or a `uid`".to_owned()),
        },
    };
    Ok(Wanted { key, by, fields })
}

fn settings(value: Option<Value>) -> Result<BTreeMap<String, Value>, String> {
    let settings = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(settings)) => settings,
        Some(_) => return Err("`settings` must be an object of \"section.key\"".to_owned()),
    };
    if settings.len() > SETTINGS_MAX {
        return Err(format!("`settings` has more than {SETTINGS_MAX} keys"));
    }
    for key in settings.keys() {
        if key != SECRET_SETTING && !config::is_key(key) {
            let near = nearest(key, config::key_names());
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("there is no setting `{}`{hint}", shown(key)));
        }
    }
    Ok(settings.into_iter().collect())
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(value: &Value) -> Result<Desired, (&'static str, String)> {
        Desired::parse(value.to_string().as_bytes()).map_err(|r| (r.code, r.reason))
    }

    #[test]
    fn a_document_is_read_and_written() {
        let document = json!({
            "revision": 12,
            "cameras": [
                {"name": "Gate", "primary_stream_url": "rtsp://10.0.0.9/1", "password": {"sealed": "AA=="}},
                {"uid": "0193A58F-0000-7000-8000-000000000001", "name": "Yard"},
                {"name": "Door", "mac_address": "44-19-B6-00-00-01"},
            ],
            "settings": {"health.interval_s": 30, "mqtt.password": {"sealed": "AA=="}},
            "prune": true,
        });
        let desired = parse(&document).unwrap();
        let keys: Vec<&str> = desired.cameras.iter().map(|c| c.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "Gate",
                "0193a58f-0000-7000-8000-000000000001",
                "44:19:b6:00:00:01"
            ]
        );
        assert!(desired.prune && desired.mend);
        let again = parse(&desired.to_json()).unwrap();
        assert_eq!(again, desired);
        let patch = Desired::patch(desired.settings.iter().map(|(k, v)| (k.as_str(), v)));
        assert_eq!(patch["health"]["interval_s"], 30);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (document, code, word) in [
            (json!([]), "malformed", "object"),
            (json!({}), "malformed", "revision"),
            (json!({"revision": 0}), "malformed", "from 1"),
            (
                json!({"revision": 1, "camera": []}),
                "malformed",
                "`cameras`",
            ),
            (json!({"revision": 1, "prune": 1}), "malformed", "prune"),
            (
                json!({"revision": 1, "cameras": [{"name": ""}]}),
                "malformed",
                "cameras[0]",
            ),
            (
                json!({"revision": 1, "cameras": [{"name": "a"}, {"name": "a"}]}),
                "malformed",
                "twice",
            ),
            (
                json!({"revision": 1, "settings": {"health.intervall_s": 1}}),
                "malformed",
                "health.interval_s",
            ),
            (
                json!({"revision": 1, "cameras": [{"name": "a", "password": "x"}]}),
                "plaintext_secret",
                "password",
            ),
            (
                json!({"revision": 1, "cameras": [{"name": "a", "primary_stream_url": "rtsp://u:p@h/"}]}),
                "plaintext_secret",
                "primary",
            ),
            (
                json!({"revision": 1, "expires_at": "soon"}),
                "malformed",
                "expires_at",
            ),
            (
                json!({"revision": 1, "cameras": [{"name": "x".repeat(DESIRED_BYTES_MAX)}]}),
                "too_large",
                "bytes",
            ),
        ] {
            let (found, reason) = parse(&document).unwrap_err();
            assert_eq!(found, code, "{reason}");
            assert!(reason.contains(word), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Desired::parse(&bytes);
        }
    }
}
