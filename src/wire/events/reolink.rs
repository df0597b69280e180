//! Reolink, webhook of the camera: `{alarm: {type: "MD", channel: 0, ..}}` where the operator left the
//! body as it is (seen in users' reports only; nothing of it is documented). A body of the operator's
//! own is read as any other.

use serde_json::{Map, Value};

use super::pairs::Pairs;
use super::{Decoded, Notice, Sender, mac, said, words};
use crate::model::{Observed, ObservedState};

pub fn read(map: &Map<String, Value>, out: &mut Decoded) {
    let Some(alarm) = map.get("alarm") else {
        return;
    };
    let pairs = Pairs::of_json(alarm);
    out.know(Sender {
        mac: pairs.get("mac").and_then(mac),
        serial: pairs.any(&["uid", "serial"]).and_then(said),
    });
    let name = pairs.get("type").unwrap_or_default();
    let kind = match name {
        "MD" => Observed::Motion,
        "TEST" => Observed::Heartbeat,
        name => words::kind(name).unwrap_or(Observed::Unknown),
    };
    let mut notice = Notice::new(kind, ObservedState::Pulse, "reolink", name);
    notice.detail.object = words::class(name);
    // Counted from 0.
    let channel: Option<u32> = pairs.number(&["channel"]);
    notice.detail.channel = channel.and_then(|c| c.checked_add(1));
    out.push(notice);
}
