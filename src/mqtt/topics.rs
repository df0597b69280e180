//! The topic tree below `<base>/<gateway>`, written and read.

use uuid::Uuid;

/// Bytes of a command's id that are taken.
const COMMAND_ID_BYTES_MAX: usize = 64;

/// Names of every topic of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    base: String,
    prefix: String,
    gateway: String,
}

/// Whom a topic is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Gateway,
    Camera(Uuid),
}

/// What a received topic asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// `.../cmd/<type>/<id>`
    Command {
        subject: Subject,
        kind: &'a str,
        id: &'a str,
    },
    /// `<base>/all/cmd/<type>/<id>`: to every gateway that its selector fits.
    Fleet { kind: &'a str, id: &'a str },
    /// `.../set/<key>`: a button or a switch.
    Set { subject: Subject, key: &'a str },
    /// What the operator wants of this gateway.
    Desired,
    /// Home Assistant came up or goes down.
    HomeAssistant,
}

impl Topics {
    /// `base` and `prefix` are topics without a slash at either end; `gateway` is one level.
    pub fn new(base: &str, prefix: &str, gateway: &str) -> Self {
        Self {
            base: base.to_owned(),
            prefix: prefix.to_owned(),
            gateway: gateway.to_owned(),
        }
    }

    /// Base and discovery prefix.
    pub fn tree(&self) -> (&str, &str) {
        (&self.base, &self.prefix)
    }

    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// `ohmvision/<gw>`, where events come from.
    pub fn root(&self) -> String {
        format!("{}/{}", self.base, self.gateway)
    }

    /// A topic of the gateway, such as `status`.
    pub fn own(&self, leaf: &str) -> String {
        format!("{}/{}/{leaf}", self.base, self.gateway)
    }

    pub fn status(&self) -> String {
        self.own("status")
    }

    /// A topic of one camera, such as `state`.
    pub fn camera(&self, uid: Uuid, leaf: &str) -> String {
        format!("{}/{}/cam/{uid}/{leaf}", self.base, self.gateway)
    }

    pub fn of(&self, subject: Subject, leaf: &str) -> String {
        match subject {
            Subject::Gateway => self.own(leaf),
            Subject::Camera(uid) => self.camera(uid, leaf),
        }
    }

    /// Where a command of this type and id lives.
    pub fn command(&self, subject: Subject, kind: &str, id: &str) -> String {
        self.of(subject, &format!("cmd/{kind}/{id}"))
    }

    /// `homeassistant/device/<gw>/<object>/config`
    pub fn discovery(&self, subject: Subject) -> String {
        let object = match subject {
            Subject::Gateway => "gateway".to_owned(),
            Subject::Camera(uid) => uid.simple().to_string(),
        };
        format!("{}/device/{}/{object}/config", self.prefix, self.gateway)
    }

    pub fn home_assistant_status(&self) -> String {
        format!("{}/status", self.prefix)
    }

    /// What is listened to: `(filter, whether it carries commands)`.
    pub fn subscriptions(&self) -> Vec<String> {
        let mut filters: Vec<String> = [
            "cmd/+/+",
            "set/+",
            "cam/+/cmd/+/+",
            "cam/+/set/+",
            "desired",
        ]
        .iter()
        .map(|leaf| self.own(leaf))
        .collect();
        filters.push(format!("{}/all/cmd/+/+", self.base));
        filters.push(self.home_assistant_status());
        filters
    }

    /// Reads a received topic; `None` for whatever is none of ours.
    pub fn read<'a>(&self, topic: &'a str) -> Option<Incoming<'a>> {
        if topic.strip_prefix(self.prefix.as_str()) == Some("/status") {
            return Some(Incoming::HomeAssistant);
        }
        let below = topic.strip_prefix(self.base.as_str())?.strip_prefix('/')?;
        if let Some(command) = below.strip_prefix("all/cmd/") {
            let (kind, id) = kind_and_id(command)?;
            return Some(Incoming::Fleet { kind, id });
        }
        let below = below
            .strip_prefix(self.gateway.as_str())?
            .strip_prefix('/')?;
        if below == "desired" {
            return Some(Incoming::Desired);
        }
        let (subject, leaf) = match below.strip_prefix("cam/") {
            Some(camera) => {
                let (uid, leaf) = camera.split_once('/')?;
                (Subject::Camera(dashed(uid)?), leaf)
            }
            None => (Subject::Gateway, below),
        };
        if let Some(key) = leaf.strip_prefix("set/") {
            return is_level(key).then_some(Incoming::Set { subject, key });
        }
        let (kind, id) = kind_and_id(leaf.strip_prefix("cmd/")?)?;
        Some(Incoming::Command { subject, kind, id })
    }
}

fn kind_and_id(text: &str) -> Option<(&str, &str)> {
    let (kind, id) = text.split_once('/')?;
    let fits = is_level(kind) && is_level(id) && id.len() <= COMMAND_ID_BYTES_MAX;
    fits.then_some((kind, id))
}

/// One level of our grammar: `[A-Za-z0-9_-]+`.
pub fn is_level(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !text.is_empty() && text.bytes().all(is_plain)
}

/// A UUID in the one form that we write.
fn dashed(text: &str) -> Option<Uuid> {
    let uid = Uuid::try_parse(text).ok()?;
    (uid.to_string() == text).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topics() -> Topics {
        Topics::new("site/ohmvision", "homeassistant", "gw-0123456789ab")
    }

    const UID: Uuid = Uuid::from_u128(0x0193_5a8f_0000_7000_8000_0000_0000_0001);

    #[test]
    fn names_are_as_the_contract_says() {
        let t = topics();
        assert_eq!(t.status(), "site/ohmvision/gw-0123456789ab/status");
        assert_eq!(
            t.camera(UID, "state"),
            "site/ohmvision/gw-0123456789ab/cam/01935a8f-0000-7000-8000-000000000001/state"
        );
        assert_eq!(
            t.discovery(Subject::Camera(UID)),
            "homeassistant/device/gw-0123456789ab/01935a8f000070008000000000000001/config"
        );
        assert_eq!(
            t.discovery(Subject::Gateway),
            "homeassistant/device/gw-0123456789ab/gateway/config"
        );
        assert_eq!(t.subscriptions().len(), 7);
        assert_eq!(t.read(&t.own("desired")), Some(Incoming::Desired));
    }

    #[test]
    fn what_is_ours_is_read() {
        let t = topics();
        let command = t.command(Subject::Camera(UID), "check_now", "a-1");
        assert_eq!(
            t.read(&command),
            Some(Incoming::Command {
                subject: Subject::Camera(UID),
                kind: "check_now",
                id: "a-1"
            })
        );
        assert_eq!(
            t.read("site/ohmvision/all/cmd/scan/7"),
            Some(Incoming::Fleet {
                kind: "scan",
                id: "7"
            })
        );
        let set = t.camera(UID, "set/monitoring");
        assert_eq!(
            t.read(&set),
            Some(Incoming::Set {
                subject: Subject::Camera(UID),
                key: "monitoring"
            })
        );
        assert_eq!(
            t.read("homeassistant/status"),
            Some(Incoming::HomeAssistant)
        );
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        let t = topics();
        let long = format!("site/ohmvision/gw-0123456789ab/cmd/scan/{}", "x".repeat(65));
        for topic in [
            "",
            "site/ohmvision",
            "site/ohmvision/gw-other/cmd/scan/1",
            "site/ohmvision/gw-0123456789ab/status",
            "site/ohmvision/gw-0123456789ab/cmd/scan",
            "site/ohmvision/gw-0123456789ab/cmd/scan/1/2",
            "site/ohmvision/gw-0123456789ab/cmd//1",
            "site/ohmvision/gw-0123456789ab/cam/nobody/set/monitoring",
            "site/ohmvision/gw-0123456789ab/cam/01935A8F-0000-7000-8000-000000000001/set/x",
            "site/ohmvision/gw-0123456789ab/set/a b",
            "homeassistant/statuses",
            &long,
        ] {
            assert_eq!(t.read(topic), None, "{topic}");
        }
    }

    proptest! {
        #[test]
        fn any_topic_can_be_read(topic in "\\PC{0,200}", tail in "[a-z/+#]{0,60}") {
            let t = topics();
            let _ = t.read(&topic);
            let _ = t.read(&t.own(&tail));
            let _ = t.read(&t.camera(UID, &tail));
        }

        #[test]
        fn commands_round_trip(kind in "[a-z_]{1,20}", id in "[A-Za-z0-9_-]{1,64}", camera: bool) {
            let t = topics();
            let subject = if camera { Subject::Camera(UID) } else { Subject::Gateway };
            let topic = t.command(subject, &kind, &id);
            prop_assert_eq!(t.read(&topic), Some(Incoming::Command { subject, kind: &kind, id: &id }));
        }
    }
}
