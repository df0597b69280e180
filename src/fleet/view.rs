//! What the topics of a fleet tell of its gateways. Pure; what strangers write there harms nobody.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::mqtt::command::Selector;
use crate::mqtt::topics::is_level;

/// Gateways that are kept: topics can be forged.
const GATEWAYS_MAX: usize = 100_000;
/// Longest text that is shown.
const TEXT_CHARS_MAX: usize = 64;

/// One gateway, as far as it has told of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Gateway {
    pub id: String,
    pub online: bool,
    pub name: String,
    pub site: String,
    pub labels: BTreeMap<String, String>,
    pub version: String,
    pub started_at: Option<String>,
    pub cameras_total: Option<u64>,
    pub cameras_online: Option<u64>,
    #[serde(skip)]
    pub sealing_key: String,
    /// Commands that it takes.
    pub capabilities: Vec<String>,
    /// Of the document that lies for it; `None` where there is none.
    pub desired_revision: Option<u64>,
    pub applied_revision: Option<u64>,
    pub state: Option<String>,
    pub drift: Vec<Value>,
    pub errors: Vec<Value>,
    /// The revision that state, drift and errors are about.
    #[serde(skip)]
    pub reported_revision: Option<u64>,
    #[serde(skip)]
    pub desired: Option<Value>,
    /// `(uid, name)`
    #[serde(skip)]
    pub cameras: Vec<(String, String)>,
}

/// Topics that are listened to, below the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Status,
    Info,
    Health,
    Reported,
    Desired,
    Cams,
}

impl Topic {
    pub fn leaf(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Info => "info",
            Self::Health => "health",
            Self::Reported => "reported",
            Self::Desired => "desired",
            Self::Cams => "cams",
        }
    }

    const ALL: [Self; 6] = [
        Self::Status,
        Self::Info,
        Self::Health,
        Self::Reported,
        Self::Desired,
        Self::Cams,
    ];

    /// `<base>/+/status`
    pub fn filter(self, base: &str) -> String {
        format!("{base}/+/{}", self.leaf())
    }
}

/// Every gateway that was heard of.
#[derive(Debug, Default)]
pub struct Fleet {
    pub gateways: BTreeMap<String, Gateway>,
}

impl Fleet {
    /// Takes a message; the gateway that it is about, and the topic, where it says something new.
    pub fn hear(&mut self, base: &str, topic: &str, payload: &[u8]) -> Option<(String, Topic)> {
        let below = topic.strip_prefix(base)?.strip_prefix('/')?;
        let (id, leaf) = below.split_once('/')?;
        let topic = Topic::ALL.into_iter().find(|topic| topic.leaf() == leaf)?;
        if !is_level(id) || id == "all" {
            return None;
        }
        if !self.gateways.contains_key(id) {
            if payload.is_empty() || self.gateways.len() >= GATEWAYS_MAX {
                return None;
            }
            let gateway = Gateway {
                id: id.to_owned(),
                ..Gateway::default()
            };
            self.gateways.insert(id.to_owned(), gateway);
        }
        let gateway = self.gateways.get_mut(id)?;
        let before = gateway.clone();
        gateway.take(topic, payload);
        (*gateway != before).then(|| (id.to_owned(), topic))
    }

    /// Those that the selector fits and that have told who they are, or are named singly.
    pub fn selected<'f>(
        &'f self,
        selector: &'f Selector,
        ids: &'f [String],
    ) -> impl Iterator<Item = &'f Gateway> {
        self.gateways.values().filter(move |gateway| {
            let is_known = !gateway.sealing_key.is_empty();
            let is_named = ids.is_empty() || ids.contains(&gateway.id);
            is_known && is_named && selector.fits(&gateway.site, &gateway.labels)
        })
    }
}

impl Gateway {
    fn take(&mut self, topic: Topic, payload: &[u8]) {
        if topic == Topic::Status {
            self.online = payload == b"online";
            return;
        }
        let value: Value = serde_json::from_slice(payload).unwrap_or_default();
        match topic {
            Topic::Status => {}
            Topic::Info => self.take_info(&value),
            Topic::Health => {
                self.cameras_total = value["cameras_total"].as_u64();
                self.cameras_online = value["cameras_online"].as_u64();
            }
            Topic::Reported => {
                self.applied_revision = value["applied_revision"].as_u64();
                self.reported_revision = value["revision"].as_u64();
                self.state = value["state"].as_str().map(short);
                let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
                self.drift = list("drift");
                self.errors = list("errors");
            }
            Topic::Desired => {
                self.desired_revision = value["revision"].as_u64();
                self.desired = value.is_object().then_some(value);
            }
            Topic::Cams => {
                let lines = value["cameras"].as_array().or(value.as_array());
                let line = |line: &Value| {
                    let text = |name: &str| line[name].as_str().map(str::to_owned);
                    Some((text("uid")?, text("name")?))
                };
                self.cameras = lines.into_iter().flatten().filter_map(line).collect();
            }
        }
    }

    fn take_info(&mut self, info: &Value) {
        let text = |name: &str| info[name].as_str().map(short).unwrap_or_default();
        self.name = text("name");
        self.site = text("site");
        self.version = text("version");
        self.sealing_key = text("sealing_key");
        self.started_at = info["started_at"].as_str().map(short);
        self.cameras_total = self.cameras_total.or(info["cameras"].as_u64());
        let labels = info["labels"].as_object().into_iter().flatten();
        self.labels = labels
            .filter_map(|(name, value)| Some((short(name), short(value.as_str()?))))
            .collect();
        let capabilities = info["capabilities"].as_array().into_iter().flatten();
        self.capabilities = capabilities.filter_map(Value::as_str).map(short).collect();
    }

    /// `region=north role=nvr`
    pub fn labels_text(&self) -> String {
        let pair = |(name, value): (&String, &String)| format!("{name}={value}");
        self.labels.iter().map(pair).collect::<Vec<_>>().join(" ")
    }
}

fn short(text: &str) -> String {
    plain(text, TEXT_CHARS_MAX)
}

/// What a terminal can take of a stranger's text: no control characters, no marks that turn the line around.
pub fn plain(text: &str, chars_max: usize) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain = text.chars().filter(|c| !c.is_control() && !turns(*c));
    plain.take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_is_put_together() {
        let mut fleet = Fleet::default();
        let info = json!({"name": "Roof", "site": "north", "labels": {"role": "nvr"}, "version": "0.1.0",
            "sealing_key": "AAAA", "capabilities": ["scan"], "cameras": 2});
        let mut hear = |topic: &str, body: &str| fleet.hear("b", topic, body.as_bytes());
        assert!(hear("b/gw-1/info", &info.to_string()).is_some());
        assert!(hear("b/gw-1/status", "online").is_some());
        hear(
            "b/gw-1/health",
            "{\"cameras_total\":3,\"cameras_online\":1}",
        );
        hear(
            "b/gw-1/reported",
            "{\"revision\":4,\"applied_revision\":3,\"state\":\"refused\",\"errors\":[{\"code\":\"stale\"}]}",
        );
        for stranger in [
            "b/all/status",
            "b/gw-1/cam/x/state",
            "c/gw-1/status",
            "b/gw-1",
            "b/g w/status",
        ] {
            assert_eq!(hear(stranger, "online"), None, "{stranger}");
        }
        let gateway = &fleet.gateways["gw-1"];
        assert!(gateway.online);
        assert_eq!(
            (gateway.cameras_total, gateway.applied_revision),
            (Some(3), Some(3))
        );
        assert_eq!(gateway.labels_text(), "role=nvr");
        let selector = crate::fleet::selector::parse("role=nvr").unwrap();
        assert_eq!(fleet.selected(&selector, &[]).count(), 1);
        let other = crate::fleet::selector::parse("site=south").unwrap();
        assert_eq!(fleet.selected(&other, &[]).count(), 0);
    }

    #[test]
    fn a_terminal_is_not_played_with() {
        let text = "a\u{1b}[2J\u{7}\u{9b}31m\nb\u{202e}c";
        assert_eq!(plain(text, 99), "a[2J31mbc");
        assert_eq!(plain("abcdef", 3), "abc");
    }

    proptest! {
        #[test]
        fn any_message_can_be_heard(topic in "b/[a-z0-9-]{1,8}/(status|info|health|reported|desired|cams)", body in "\\PC{0,80}") {
            let mut fleet = Fleet::default();
            fleet.hear("b", &topic, body.as_bytes());
            fleet.hear("b", &topic, format!("{{\"labels\":{{\"a\":1}},\"errors\":{{}},\"x\":\"{body}\"}}").as_bytes());
        }
    }
}
