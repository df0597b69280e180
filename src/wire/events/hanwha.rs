//! Hanwha Vision (SUNAPI eventstatus): a state to a line, `Channel.0.MotionDetection=True`. Channels
//! count from 0.

use super::{Decoded, Notice, said, words};
use crate::model::{Observed, ObservedState};

const STARTS: [&str; 3] = ["Channel.", "AlarmInput.", "SystemEvent."];

pub fn is_text(text: &str) -> bool {
    STARTS.iter().any(|start| text.starts_with(start))
}

pub fn read(text: &str, out: &mut Decoded) {
    for line in text.lines() {
        let Some((name, value)) = line.trim().split_once('=') else {
            continue;
        };
        let mut steps = name.split('.');
        let (area, second) = (steps.next().unwrap_or_default(), steps.next());
        let number: Option<u32> = second.and_then(|s| s.parse().ok());
        let tail = match number {
            Some(_) => steps.collect::<Vec<_>>().join("."),
            None => name.split_once('.').map_or("", |(_, t)| t).to_owned(),
        };
        let kind = match (area, tail.as_str()) {
            ("AlarmInput", _) => Observed::IoInput,
            (_, "VideoAnalytics.Appearing") => Observed::Motion,
            (_, "NetworkAlarmInput") => Observed::IoInput,
            ("SystemEvent", "SDInsert" | "NASConnect") => Observed::DiskMissing,
            (_, tail) => words::kind(tail).unwrap_or(Observed::Unknown),
        };
        let is_on = match value.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Some(true),
            "false" | "off" | "0" => Some(false),
            _ => None,
        };
        // These tell that a disk is there.
        let is_on = is_on.map(|on| on != (kind == Observed::DiskMissing));
        let state = match is_on {
            Some(true) => ObservedState::Start,
            Some(false) => ObservedState::Stop,
            None => ObservedState::Pulse,
        };
        let mut notice = Notice::new(kind, state, "hanwha", name);
        notice.detail.channel = number.and_then(|n| n.checked_add(1));
        if kind == Observed::AudioDetected {
            notice.detail.text = tail.rsplit('.').next().and_then(said);
        }
        if kind == Observed::Counting {
            notice.detail.count = value.trim().parse().ok();
        }
        out.push(notice);
    }
}
