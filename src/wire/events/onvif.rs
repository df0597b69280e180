//! Notification messages of ONVIF (Core section 9, WS-BaseNotification), pulled or pushed, and what
//! their topics mean: the standard's own and those that makers put beside them.

use super::{Notice, said, words};
use crate::model::{ObjectClass, Observed, ObservedState, Timestamp};
use crate::wire::xml::{Step, XmlError, walk};

/// Messages of one answer that are read; more are left out.
const MESSAGES_MAX: usize = 128;
/// Items of one message that are read.
const ITEMS_MAX: usize = 32;

/// One notification message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// As written, with its prefixes: `tns1:RuleEngine/CellMotionDetector/Motion`.
    pub topic: String,
    /// The state when the subscription began.
    pub is_initial: bool,
    pub is_deleted: bool,
    pub at_device: Option<Timestamp>,
    /// Simple items of `Source` and `Key`.
    pub source: Vec<(String, String)>,
    /// Simple items of `Data`.
    pub data: Vec<(String, String)>,
}

/// Reads the messages of a `Notify` or of a `PullMessagesResponse`.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn messages(document: &[u8]) -> Result<Vec<Message>, XmlError> {
    let mut found: Vec<Message> = Vec::new();
    let (mut name, mut value) = (String::new(), String::new());
    walk(document, |step| match step {
        Step::Open([.., last]) if last == "NotificationMessage" && found.len() < MESSAGES_MAX => {
            found.push(Message::default());
        }
        Step::Open([.., last]) if last == "SimpleItem" => {
            name.clear();
            value.clear();
        }
        Step::Attribute(a) => {
            let Some(message) = found.last_mut() else {
                return;
            };
            let element = a.path.last().map_or("", String::as_str);
            match (element, a.name) {
                ("Message", "UtcTime") => message.at_device = time(a.text),
                ("Message", "PropertyOperation") => {
                    message.is_initial = a.text == "Initialized";
                    message.is_deleted = a.text == "Deleted";
                }
                ("SimpleItem", "Name") => a.text.clone_into(&mut name),
                ("SimpleItem", "Value") => a.text.clone_into(&mut value),
                _ => {}
            }
        }
        Step::Leaf(leaf) => {
            let Some(message) = found.last_mut() else {
                return;
            };
            match leaf.name() {
                "Topic" => leaf.text.clone_into(&mut message.topic),
                "SimpleItem" => {
                    let list = match leaf.is_in("Data") {
                        true => &mut message.data,
                        false => &mut message.source,
                    };
                    if list.len() < ITEMS_MAX {
                        list.push((std::mem::take(&mut name), std::mem::take(&mut value)));
                    }
                }
                _ => {}
            }
        }
        _ => {}
    })?;
    Ok(found)
}

/// Devices without a clock write years such as 0000 and 1970.
fn time(text: &str) -> Option<Timestamp> {
    let time = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}Z")));
    time.filter(|t| t.unix_s() > 1_000_000_000)
}

impl Message {
    /// The message in our vocabulary.
    pub fn notice(&self) -> Notice {
        let path = without_prefixes(&self.topic);
        let kind = self.kind(&path);
        let state = self.state(kind);
        let mut notice = Notice::new(kind, state, "onvif", &path);
        notice.is_initial = self.is_initial;
        let detail = &mut notice.detail;
        detail.at_device = self.at_device;
        detail.rule = self
            .item(&self.source, &["Rule", "RuleName"])
            .and_then(said);
        detail.channel = self.channel();
        detail.object = self.class(kind);
        match kind {
            Observed::Counting => {
                detail.count = self
                    .item(&self.data, &["Count"])
                    .and_then(|c| c.parse().ok());
            }
            Observed::LicensePlate | Observed::Face => {
                let names = ["PlateNumber", "LicensePlateInfo", "Label"];
                detail.text = self.item(&self.data, &names).and_then(said);
                let score = self.item(&self.data, &["Likelihood"]);
                let score: Option<f32> = score.and_then(|s| s.parse().ok());
                detail.score = score.filter(|s| (0.0..=1.0).contains(s));
            }
            Observed::IoInput => {
                let token = self.item(&self.source, &["InputToken", "port"]);
                detail.zone = token.and_then(said);
            }
            _ => {}
        }
        notice
    }

    fn item<'m>(&'m self, list: &'m [(String, String)], names: &[&str]) -> Option<&'m str> {
        let is_named = |(name, text): &&(String, String)| {
            !text.is_empty() && names.iter().any(|n| n.eq_ignore_ascii_case(name))
        };
        list.iter().find(is_named).map(|(_, text)| text.as_str())
    }

    /// The number at the end of a source token, where the maker counts channels there.
    fn channel(&self) -> Option<u32> {
        let names = ["Channel", "VideoChannel"];
        let text = self.item(&self.source, &names)?;
        text.parse().ok().filter(|c| *c > 0)
    }

    fn class(&self, kind: Observed) -> Option<ObjectClass> {
        let told = self.item(&self.data, &["ClassTypes", "ObjectType", "Type"]);
        told.and_then(words::class).or(match kind {
            Observed::Person => Some(ObjectClass::Person),
            Observed::Vehicle => Some(ObjectClass::Vehicle),
            Observed::Animal => Some(ObjectClass::Animal),
            _ => None,
        })
    }

    /// By the item that says so, else by the first that is true or false.
    fn state(&self, kind: Observed) -> ObservedState {
        if self.is_deleted {
            return ObservedState::Stop;
        }
        let named = self.item(&self.data, &["active", "State", "LogicalState", "IsMotion"]);
        let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "active" | "on" | "yes" => Some(true),
            "false" | "0" | "inactive" | "idle" | "off" | "no" => Some(false),
            _ => None,
        };
        let first = || self.data.iter().find_map(|(_, text)| truth(text));
        match named.and_then(truth).or_else(first) {
            _ if kind == Observed::Counting => ObservedState::Pulse,
            Some(true) => ObservedState::Start,
            Some(false) => ObservedState::Stop,
            None => ObservedState::Pulse,
        }
    }

    fn kind(&self, path: &str) -> Observed {
        let has = |name: &str| self.data.iter().any(|(n, _)| n == name);
        let steps: Vec<&str> = path.split('/').collect();
        let tail = steps.last().copied().unwrap_or_default();
        let area = |name: &str| steps.contains(&name);
        match tail {
            // Figures, no events.
            _ if area("Monitoring") && tail != "LastReboot" => Observed::Heartbeat,
            "LastReboot" => Observed::Reboot,
            // One detector for several things: the item tells which.
            "TPSmartEvent" | "TpSmartEvent" => match () {
                () if has("IsVehicle") => Observed::Vehicle,
                () if has("IsPet") => Observed::Animal,
                () if has("IsLineCross") => Observed::LineCrossing,
                () if has("IsIntrusion") => Observed::Intrusion,
                () if has("IsPeople") => Observed::Person,
                () => Observed::Tamper,
            },
            "Crossed" => Observed::LineCrossing,
            // A job that waits for motion goes on and off all day.
            "JobState" => Observed::Heartbeat,
            "Port" | "VirtualInput" | "SupervisedPort" if area("IO") => Observed::IoInput,
            "DayNightVision" => Observed::DayNight,
            "TriggerLevel" => Observed::AudioDetected,
            "FlameDetected" => Observed::Fire,
            "Light" | "Status" if area("Light") => Observed::RelayOutput,
            _ if area("PTZController") => Observed::PtzMoved,
            _ if area("ObjectAnalytics") => match self.class(Observed::Unknown) {
                Some(ObjectClass::Person) => Observed::Person,
                Some(ObjectClass::Vehicle) => Observed::Vehicle,
                _ => Observed::Motion,
            },
            _ if area("VMD") || area("VMD3") => Observed::Motion,
            // The last words first; a maker's detector names itself before them.
            _ => words::kind(tail)
                .or_else(|| steps.iter().rev().find_map(|step| words::kind(step)))
                .unwrap_or(Observed::Unknown),
        }
    }
}

/// `tns1:RuleEngine/tnsaxis:VMD3/a` -> `RuleEngine/VMD3/a`.
fn without_prefixes(topic: &str) -> String {
    let steps = topic.trim().split('/');
    let local = steps.map(|step| step.rsplit(':').next().unwrap_or(step));
    local.collect::<Vec<_>>().join("/")
}
