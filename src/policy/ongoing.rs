//! What a camera reports, made into beginnings and ends: repeats are one event, a missing end comes by
//! itself, and the same message twice counts once.

use crate::model::{Observed, ObservedDetail, ObservedState, Timestamp};

/// Things of one camera that go on at the same time.
const OPEN_MAX: usize = 32;
/// After this without a word, motion has ended; rules hold longer.
const MOTION_MS: i64 = 10_000;
const RULE_MS: i64 = 30_000;
/// For formats that tell the end: only if that was lost.
const TOLD_END_MS: i64 = 600_000;
/// The same pulse again within this is the same one.
const PULSE_MS: i64 = 2_000;
const DOORBELL_MS: i64 = 5_000;
/// With an id of its own it is, for as long as platforms repeat a message.
const SAME_ID_MS: i64 = 60_000;

/// What is worth telling of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub state: ObservedState,
    /// For an end: how long it went on.
    pub duration_s: Option<u64>,
}

/// What goes on at one camera.
#[derive(Debug, Clone, Default)]
pub struct Ongoing {
    open: Vec<Open>,
}

#[derive(Debug, Clone)]
struct Open {
    kind: Observed,
    detail: ObservedDetail,
    since: Timestamp,
    until: Timestamp,
    is_pulse: bool,
}

impl Ongoing {
    /// Takes a report; `None` when it says nothing new.
    pub fn take(
        &mut self,
        kind: Observed,
        detail: &ObservedDetail,
        now: Timestamp,
    ) -> Option<Told> {
        let is_pulse = detail.state == ObservedState::Pulse;
        self.open.retain(|o| !o.is_pulse || o.until > now);
        let known = self.open.iter().position(|open| {
            open.kind == kind && open.is_pulse == is_pulse && is_same(&open.detail, detail)
        });
        let until = now.plus_ms(lasts_ms(kind, detail));
        if detail.state == ObservedState::Stop {
            let ended = self.open.remove(known?);
            return Some(Told {
                state: ObservedState::Stop,
                duration_s: Some(now.ms_since(ended.since) / 1000),
            });
        }
        if let Some(open) = known.and_then(|at| self.open.get_mut(at)) {
            open.until = until;
            return None;
        }
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push(Open {
            kind,
            detail: detail.clone(),
            since: now,
            until,
            is_pulse,
        });
        let state = match is_pulse {
            true => ObservedState::Pulse,
            false => ObservedState::Start,
        };
        Some(Told {
            state,
            duration_s: None,
        })
    }

    /// Ends what was not heard of for too long: kind, detail of the end, and how long it went on, s.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(Observed, ObservedDetail, u64)> {
        let (over, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|open| open.until <= now);
        self.open = open;
        let over: Vec<Open> = over;
        let ended = over.into_iter().filter(|open| !open.is_pulse);
        ended
            .map(|open| {
                let duration_s = open.until.ms_since(open.since) / 1000;
                let detail = ObservedDetail {
                    state: ObservedState::Stop,
                    had_picture: false,
                    ..open.detail
                };
                (open.kind, detail, duration_s)
            })
            .collect()
    }

    /// When [`Self::expire`] has something to do next.
    pub fn next(&self) -> Option<Timestamp> {
        self.open.iter().map(|open| open.until).min()
    }
}

/// The same thing at the same place; what the later report leaves out does not tell them apart.
fn is_same(open: &ObservedDetail, report: &ObservedDetail) -> bool {
    let fits = |a: &Option<String>, b: &Option<String>| b.is_none() || a == b;
    open.channel == report.channel
        && fits(&open.rule, &report.rule)
        && fits(&open.zone, &report.zone)
        && fits(&open.text, &report.text)
        && fits(&open.correlation, &report.correlation)
}

fn lasts_ms(kind: Observed, detail: &ObservedDetail) -> i64 {
    if detail.state == ObservedState::Pulse {
        return match (&detail.correlation, kind) {
            (Some(_), _) => SAME_ID_MS,
            (None, Observed::Doorbell) => DOORBELL_MS,
            (None, _) => PULSE_MS,
        };
    }
    let tells_end = match detail.format.as_deref() {
        Some("onvif" | "axis" | "frigate" | "uniview" | "hanwha") => true,
        // Some models never tell the end of a crossing.
        Some("dahua") => kind != Observed::LineCrossing,
        _ => false,
    };
    match kind {
        _ if tells_end => TOLD_END_MS,
        Observed::Motion | Observed::Pir => MOTION_MS,
        _ => RULE_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Transport;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_s(s)
    }

    fn report(state: ObservedState, format: &str) -> ObservedDetail {
        ObservedDetail {
            format: Some(format.to_owned()),
            channel: Some(1),
            ..ObservedDetail::new(state, Transport::Webhook)
        }
    }

    use ObservedState::{Pulse, Start, Stop, Update};

    fn told(told: Option<Told>) -> Option<(ObservedState, Option<u64>)> {
        told.map(|t| (t.state, t.duration_s))
    }

    #[test]
    fn repeats_are_one_event_that_ends_by_itself() {
        let mut ongoing = Ongoing::default();
        let start = report(Start, "hikvision");
        assert_eq!(
            told(ongoing.take(Observed::Motion, &start, at(0))),
            Some((Start, None))
        );
        for s in 1..30 {
            assert_eq!(ongoing.take(Observed::Motion, &start, at(s)), None);
            assert!(ongoing.expire(at(s)).is_empty());
        }
        assert_eq!(ongoing.next(), Some(at(39)));
        assert!(ongoing.expire(at(38)).is_empty());
        let ended = ongoing.expire(at(39));
        assert_eq!(ended.len(), 1);
        assert_eq!(
            (ended[0].0, ended[0].1.state, ended[0].2),
            (Observed::Motion, Stop, 39)
        );
        // The end that comes all the same is no second one.
        let stop = report(Stop, "hikvision");
        assert_eq!(ongoing.take(Observed::Motion, &stop, at(40)), None);
        assert_eq!(ongoing.next(), None);
    }

    #[test]
    fn an_end_that_is_told_counts() {
        let mut ongoing = Ongoing::default();
        ongoing.take(Observed::Person, &report(Start, "onvif"), at(0));
        assert!(ongoing.expire(at(300)).is_empty());
        let stop = ongoing.take(Observed::Person, &report(Stop, "onvif"), at(301));
        assert_eq!(told(stop), Some((Stop, Some(301))));
        let update = ongoing.take(Observed::Vehicle, &report(Update, "frigate"), at(400));
        assert_eq!(told(update), Some((Start, None)), "its start was lost");
    }

    #[test]
    fn pulses() {
        let mut ongoing = Ongoing::default();
        let ring = report(Pulse, "");
        assert_eq!(
            told(ongoing.take(Observed::Doorbell, &ring, at(0))),
            Some((Pulse, None))
        );
        assert_eq!(ongoing.take(Observed::Doorbell, &ring, at(3)), None);
        assert!(ongoing.take(Observed::Doorbell, &ring, at(9)).is_some());
        assert!(ongoing.expire(at(100)).is_empty(), "a pulse has no end");
        let first = ObservedDetail {
            correlation: Some("a".into()),
            ..report(Pulse, "ubiquiti")
        };
        let second = ObservedDetail {
            correlation: Some("b".into()),
            ..first.clone()
        };
        assert!(ongoing.take(Observed::Person, &first, at(200)).is_some());
        assert!(ongoing.take(Observed::Person, &second, at(200)).is_some());
        assert!(ongoing.take(Observed::Person, &first, at(230)).is_none());
    }

    #[test]
    fn channels_and_objects_are_apart_and_all_is_bounded() {
        let mut ongoing = Ongoing::default();
        for channel in 0..1000 {
            let detail = ObservedDetail {
                channel: Some(channel),
                ..report(Start, "onvif")
            };
            assert!(ongoing.take(Observed::Motion, &detail, at(0)).is_some());
        }
        assert_eq!(ongoing.open.len(), OPEN_MAX);
    }
}
