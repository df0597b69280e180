//! Where a gateway differs from what is wanted of it, and the steps that end it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::document::{By, Desired, SECRET_FIELDS, SECRET_SETTING, Wanted};
use crate::model::CameraId;

/// A value as it was wanted, and as the gateway shows it since it took it: makers' names and addresses
/// are shown in their usual spelling.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub wanted: Value,
    pub shown: Value,
    /// The gateway refused it, or took it back: what it shows is not what was wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_refused: bool,
}

/// A camera that a document brought or changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Managed {
    pub uid: Uuid,
    pub fields: BTreeMap<String, Held>,
}

/// What was taken of a document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    pub cameras: BTreeMap<String, Managed>,
    pub settings: BTreeMap<String, Held>,
    /// Camera keys and settings that could not be taken: not tried again for this revision.
    pub failed: BTreeSet<String>,
}

/// A camera as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    pub id: CameraId,
    pub uid: Uuid,
    /// As in `GET /api/cameras/{id}`.
    pub record: Map<String, Value>,
    /// The address where it was put, since the gateway followed it to another.
    pub moved_from: Option<String>,
}

impl Present {
    /// A field as it would be shown had the camera stayed where it was put: that it was followed to
    /// another address is nobody's change.
    fn unmoved(&self, shown: &Value) -> Option<Value> {
        let from = self.moved_from.as_deref()?;
        let at = self.record.get("ip_address").and_then(Value::as_str)?;
        let shown = shown.as_str()?;
        shown
            .contains(at)
            .then(|| Value::String(shown.replacen(at, from, 1)))
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// The camera is not there.
    Missing {
        key: String,
    },
    /// It is there, and the document forgets others.
    Extra {
        id: CameraId,
        name: String,
    },
    Field {
        key: String,
        id: CameraId,
        field: String,
        present: Value,
    },
    Setting {
        key: String,
        present: Value,
    },
}

/// What ends some differences.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Create {
        key: String,
        body: Map<String, Value>,
    },
    Update {
        key: String,
        id: CameraId,
        body: Map<String, Value>,
    },
    Remove {
        id: CameraId,
        name: String,
    },
    /// In the shape of `PATCH /api/config`.
    Set {
        body: Map<String, Value>,
    },
}

impl Step {
    /// The command that has to be allowed for it.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Create { .. } => "camera_add",
            Self::Update { .. } => "camera_update",
            Self::Remove { .. } => "camera_remove",
            Self::Set { .. } => "config_patch",
        }
    }
}

impl Difference {
    /// For `drift` of `reported`; the name of a secret, never its value.
    pub fn to_json(&self, desired: &Desired) -> Value {
        match self {
            Self::Missing { key } => json!({"camera": key, "missing": true}),
            Self::Extra { name, .. } => json!({"camera": name, "extra": true}),
            Self::Field { key, field, .. } if is_secret(field) => {
                json!({"camera": key, "field": field})
            }
            Self::Field {
                key,
                field,
                present,
                ..
            } => {
                let camera = desired.cameras.iter().find(|camera| camera.key == *key);
                let wanted = camera.and_then(|camera| camera.fields.get(field));
                json!({"camera": key, "field": field, "desired": wanted, "present": present})
            }
            Self::Setting { key, .. } if key == SECRET_SETTING => json!({"setting": key}),
            Self::Setting { key, present } => {
                json!({"setting": key, "desired": desired.settings.get(key), "present": present})
            }
        }
    }
}

pub fn is_secret(field: &str) -> bool {
    SECRET_FIELDS.contains(&field)
}

/// Which camera is meant: the one that was taken for this key before, else the one that bears it.
pub fn find<'p>(wanted: &Wanted, taken: &Taken, present: &'p [Present]) -> Option<&'p Present> {
    let known = taken.cameras.get(&wanted.key).map(|managed| managed.uid);
    let before = present.iter().find(|camera| Some(camera.uid) == known);
    before.or_else(|| {
        let text = |camera: &Present, field| {
            let value = camera.record.get(field).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        present.iter().find(|camera| match wanted.by {
            By::Uid => camera.uid.to_string() == wanted.key,
            By::Mac => text(camera, "mac_address").as_ref() == Some(&wanted.key),
            By::Name => text(camera, "name").as_ref() == Some(&wanted.key),
        })
    })
}

/// Two entries that mean the same camera: each would undo the other's work for ever.
pub fn same_camera<'d>(
    desired: &'d Desired,
    taken: &Taken,
    present: &[Present],
) -> Option<(&'d str, &'d str)> {
    let mut named = BTreeMap::new();
    for wanted in &desired.cameras {
        let Some(camera) = find(wanted, taken, present) else {
            continue;
        };
        if let Some(other) = named.insert(camera.uid, wanted.key.as_str()) {
            return Some((other, &wanted.key));
        }
    }
    None
}

/// Every difference between the document and the gateway. `settings` is `{"section": {"key": value}}`;
/// `has_secret` says whether the camera holds this value in this field.
pub fn differences(
    desired: &Desired,
    taken: &Taken,
    present: &[Present],
    settings: &Value,
    has_secret: impl Fn(CameraId, &str, &Value) -> bool,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut named = BTreeSet::new();
    for wanted in &desired.cameras {
        let camera = find(wanted, taken, present);
        named.extend(camera.map(|camera| camera.uid));
        if taken.failed.contains(&wanted.key) {
            continue;
        }
        let Some(camera) = camera else {
            found.push(Difference::Missing {
                key: wanted.key.clone(),
            });
            continue;
        };
        let held = taken.cameras.get(&wanted.key);
        for (field, value) in &wanted.fields {
            let shown = camera.record.get(field).unwrap_or(&Value::Null);
            let is_same = match is_secret(field) {
                true => has_secret(camera.id, field, value),
                false => {
                    let held = held.and_then(|h| h.fields.get(field));
                    let unmoved = camera.unmoved(shown);
                    is_same(value, shown, held)
                        || unmoved.is_some_and(|shown| is_same(value, &shown, held))
                }
            };
            if !is_same {
                found.push(Difference::Field {
                    key: wanted.key.clone(),
                    id: camera.id,
                    field: field.clone(),
                    present: shown.clone(),
                });
            }
        }
    }
    for camera in present
        .iter()
        .filter(|camera| desired.prune && !named.contains(&camera.uid))
    {
        let name = camera.record.get("name").and_then(Value::as_str);
        found.push(Difference::Extra {
            id: camera.id,
            name: name.unwrap_or_default().to_owned(),
        });
    }
    for (key, value) in desired
        .settings
        .iter()
        .filter(|(key, _)| !taken.failed.contains(*key))
    {
        let shown = shown_setting(settings, key);
        if !is_same(value, &shown, taken.settings.get(key)) {
            found.push(Difference::Setting {
                key: key.clone(),
                present: shown,
            });
        }
    }
    found
}

/// Changed on trial: how the gateway is reached depends on it.
pub fn is_risky(key: &str) -> bool {
    key.starts_with("mqtt.") || key.starts_with("server.")
}

/// The value of `section.key`; null for a secret.
pub fn shown_setting(settings: &Value, key: &str) -> Value {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    settings[section].get(name).cloned().unwrap_or(Value::Null)
}

fn is_same(wanted: &Value, shown: &Value, held: Option<&Held>) -> bool {
    let is_held = |held: &Held| !held.is_refused && held.wanted == *wanted && held.shown == *shown;
    wanted == shown || held.is_some_and(is_held)
}

/// The steps that end these differences; `desired` holds its secrets opened.
pub fn steps(desired: &Desired, differences: &[Difference]) -> Vec<Step> {
    let wanted = |key: &str| desired.cameras.iter().find(|camera| camera.key == key);
    let mut updates: BTreeMap<CameraId, (String, Map<String, Value>)> = BTreeMap::new();
    let mut steps = Vec::new();
    let mut settings = Vec::new();
    for difference in differences {
        match difference {
            Difference::Missing { key } => steps.extend(wanted(key).map(|camera| Step::Create {
                key: key.clone(),
                body: camera.fields.clone(),
            })),
            Difference::Extra { id, name } => steps.push(Step::Remove {
                id: *id,
                name: name.clone(),
            }),
            Difference::Field { key, id, field, .. } => {
                let value = wanted(key).and_then(|camera| camera.fields.get(field));
                let (_, body) = updates
                    .entry(*id)
                    .or_insert_with(|| (key.clone(), Map::new()));
                body.extend(value.map(|value| (field.clone(), value.clone())));
            }
            Difference::Setting { key, .. } => {
                settings.extend(desired.settings.get_key_value(key));
            }
        }
    }
    let update = |(id, (key, body))| Step::Update { key, id, body };
    steps.extend(updates.into_iter().map(update));
    // What may cut the gateway off comes last and alone: when it is taken back, the rest stays.
    let (risky, quiet): (Vec<_>, Vec<_>) = settings.into_iter().partition(|(key, _)| is_risky(key));
    for part in [quiet, risky].into_iter().filter(|part| !part.is_empty()) {
        let part = part.into_iter().map(|(key, value)| (key.as_str(), value));
        steps.push(Step::Set {
            body: Desired::patch(part),
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: Uuid = Uuid::from_u128(7);

    fn desired(document: Value) -> Desired {
        Desired::parse(document.to_string().as_bytes()).unwrap()
    }

    fn present(record: Value) -> Present {
        Present {
            id: CameraId(4),
            uid: UID,
            record: record.as_object().unwrap().clone(),
            moved_from: None,
        }
    }

    fn kinds(steps: &[Step]) -> Vec<&'static str> {
        steps.iter().map(Step::command).collect()
    }

    #[test]
    fn two_names_of_one_camera_are_noticed() {
        let camera = present(json!({"name": "Gate", "mac_address": "44:19:b6:00:00:01"}));
        let taken = Taken::default();
        let both = json!([{"name": "Gate"}, {"mac_address": "44:19:b6:00:00:01", "name": "Door"}]);
        let both = desired(json!({"revision": 1, "cameras": both}));
        let found = same_camera(&both, &taken, std::slice::from_ref(&camera));
        assert_eq!(found, Some(("Gate", "44:19:b6:00:00:01")));
        let apart = json!([{"name": "Gate"}, {"name": "Door"}]);
        let apart = desired(json!({"revision": 1, "cameras": apart}));
        assert_eq!(same_camera(&apart, &taken, &[camera]), None);
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let desired = desired(
            json!({"revision": 1, "cameras": [{"name": "Gate", "enabled": true}],
            "settings": {"health.interval_s": 30}}),
        );
        let cameras = [present(
            json!({"name": "Gate", "enabled": true, "model": "x"}),
        )];
        let settings = json!({"health": {"interval_s": 30}});
        let found = differences(
            &desired,
            &Taken::default(),
            &cameras,
            &settings,
            |_, _, _| true,
        );
        assert_eq!(found, []);
        let empty = differences(&desired, &Taken::default(), &[], &json!({}), |_, _, _| true);
        assert_eq!(
            kinds(&steps(&desired, &empty)),
            ["camera_add", "config_patch"]
        );
    }

    #[test]
    fn a_renamed_camera_is_the_same_and_gets_its_name_back() {
        let desired = desired(
            json!({"revision": 1, "cameras": [{"name": "Gate", "manufacturer": "Hikvision"}]}),
        );
        let held = |wanted: &str, shown: &str| Held {
            wanted: json!(wanted),
            shown: json!(shown),
            is_refused: false,
        };
        let fields = BTreeMap::from([
            ("name".to_owned(), held("Gate", "Gate")),
            ("manufacturer".to_owned(), held("Hikvision", "hikvision")),
        ]);
        let taken = Taken {
            cameras: BTreeMap::from([("Gate".to_owned(), Managed { uid: UID, fields })]),
            ..Taken::default()
        };
        let cameras = [present(
            json!({"name": "By hand", "manufacturer": "hikvision"}),
        )];
        let found = differences(&desired, &taken, &cameras, &json!({}), |_, _, _| true);
        assert_eq!(found.len(), 1);
        let drift = found[0].to_json(&desired);
        assert_eq!(
            drift,
            json!({"camera": "Gate", "field": "name", "desired": "Gate", "present": "By hand"})
        );
        let body = json!({"name": "Gate"}).as_object().unwrap().clone();
        let step = Step::Update {
            key: "Gate".into(),
            id: CameraId(4),
            body,
        };
        assert_eq!(steps(&desired, &found), [step]);
    }

    #[test]
    fn secrets_are_compared_and_not_told() {
        let desired = desired(
            json!({"revision": 1, "cameras": [{"name": "Gate", "password": {"sealed": "AA"}}]}),
        );
        let cameras = [present(json!({"name": "Gate"}))];
        let found = differences(
            &desired,
            &Taken::default(),
            &cameras,
            &json!({}),
            |_, _, _| false,
        );
        assert_eq!(
            found[0].to_json(&desired),
            json!({"camera": "Gate", "field": "password"})
        );
        let none = differences(
            &desired,
            &Taken::default(),
            &cameras,
            &json!({}),
            |_, _, _| true,
        );
        assert_eq!(none, []);
    }

    #[test]
    fn others_go_only_when_asked() {
        let keep = desired(json!({"revision": 1}));
        let prune = desired(json!({"revision": 1, "prune": true}));
        let cameras = [present(json!({"name": "Gate"}))];
        let of =
            |d: &Desired| differences(d, &Taken::default(), &cameras, &json!({}), |_, _, _| true);
        assert_eq!(of(&keep), []);
        assert_eq!(kinds(&steps(&prune, &of(&prune))), ["camera_remove"]);
    }

    #[test]
    fn what_failed_waits_for_the_next_revision() {
        let desired = desired(
            json!({"revision": 1, "cameras": [{"name": "Gate"}], "settings": {"health.interval_s": 30}}),
        );
        let taken = Taken {
            failed: BTreeSet::from(["Gate".to_owned(), "health.interval_s".to_owned()]),
            ..Taken::default()
        };
        assert_eq!(
            differences(&desired, &taken, &[], &json!({}), |_, _, _| true),
            []
        );
    }

    #[test]
    fn what_was_refused_is_no_longer_as_wanted() {
        let desired = desired(json!({"revision": 2, "settings": {"health.timeout_ms": 1}}));
        let held = |is_refused| Held {
            wanted: json!(1),
            shown: json!(5000),
            is_refused,
        };
        let settings = json!({"health": {"timeout_ms": 5000}});
        let of = |is_refused| {
            let taken = Taken {
                settings: BTreeMap::from([("health.timeout_ms".to_owned(), held(is_refused))]),
                ..Taken::default()
            };
            differences(&desired, &taken, &[], &settings, |_, _, _| true).len()
        };
        assert_eq!((of(false), of(true)), (0, 1));
    }

    #[test]
    fn a_camera_that_was_followed_is_left_where_it_is() {
        let desired = desired(json!({"revision": 1, "cameras": [
            {"name": "Gate", "ip_address": "10.0.0.9", "primary_stream_url": "rtsp://10.0.0.9/1"}]}));
        let mut camera = present(json!({"name": "Gate", "ip_address": "10.0.0.21",
            "primary_stream_url": "rtsp://10.0.0.21/1"}));
        let of = |camera: &Present| {
            let cameras = std::slice::from_ref(camera);
            differences(
                &desired,
                &Taken::default(),
                cameras,
                &json!({}),
                |_, _, _| true,
            )
            .len()
        };
        assert_eq!(of(&camera), 2, "moved by hand");
        camera.moved_from = Some("10.0.0.9".to_owned());
        assert_eq!(of(&camera), 0);
        camera.record["primary_stream_url"] = json!("rtsp://10.0.0.21/2");
        assert_eq!(of(&camera), 1, "another path is somebody's change");
    }

    #[test]
    fn what_may_cut_off_comes_last_and_alone() {
        let desired = desired(json!({"revision": 1, "settings":
            {"mqtt.url": "mqtt://h", "health.interval_s": 30, "server.body_bytes_max": 2_000_000}}));
        let found = differences(&desired, &Taken::default(), &[], &json!({}), |_, _, _| true);
        let bodies: Vec<Value> = steps(&desired, &found)
            .into_iter()
            .map(|step| match step {
                Step::Set { body } => Value::Object(body),
                other => panic!("{other:?}"),
            })
            .collect();
        let last = json!({"mqtt": {"url": "mqtt://h"}, "server": {"body_bytes_max": 2_000_000}});
        assert_eq!(bodies, [json!({"health": {"interval_s": 30}}), last]);
    }
}
