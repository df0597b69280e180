//! The life of a watched camera: check results go in, confirmed changes and the next due time come
//! out. Two failures make an outage, one proven success ends it; reconnection follows the back-off.

use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::rhythm::Rhythm;
use super::score::{Facts, by_response_time, grade};
use super::uptime::Span;
use crate::model::{Codec, ErrorCode, Grade, LinkState, MediaFacts, ReconnectAttempt, Timestamp};

/// A first failure is looked at again after this, ms (the contract says within 2 s).
const RECHECK_MS: i64 = 1_000;
/// Reconnection attempts that are remembered.
const ATTEMPTS_MAX: usize = 10;
/// Window of "reconnects in an hour", ms.
const HOUR_MS: u64 = 3_600_000;
/// Poor checks in a row that make a `degraded` event.
const POOR_STREAK: u32 = 2;
/// A response time that is graded good, ms.
const GOOD_MS: u32 = 500;

/// The rules for one camera: the configuration with the camera's own settings applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    pub interval_s: u32,
    pub failures_to_offline: u32,
    pub verify_frames: bool,
    /// `None`: only at add and after a recovery.
    pub verify_frames_every_s: Option<u32>,
    pub backoff: Backoff,
    /// False where nobody can be asked: such a camera comes back by its own message only, and is never given up.
    pub reconnects: bool,
    /// Where in the interval this camera's checks lie, ms: stable, so that checks are spread.
    pub offset_ms: u64,
}

/// What is known for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmed {
    #[default]
    Unknown,
    Up,
    Down,
}

/// Why a check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// The periodic one.
    Ordinary,
    /// Soon after a first failure.
    Recheck,
    /// By the back-off, after new settings, or because the operator asked for it.
    Reconnect,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Up {
        response_time_ms: u32,
        first_frame_ms: Option<u32>,
        media: MediaFacts,
        frames: Frames,
    },
    /// The camera answers, but not for us now (`busy`, `rate_limited`) or the fault is ours.
    NoVerdict {
        code: ErrorCode,
        connect_ms: Option<u32>,
        message: String,
    },
    Failed {
        code: ErrorCode,
        message: String,
    },
    /// No login may be sent, or it is not known what to expect: a look that changes nothing.
    Anonymous,
    /// It cannot be asked, and its messages come as usual.
    Heard,
}

/// Whether frames were looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    NotLooked,
    Proven,
    Missing,
}

/// A confirmed change, worth an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Offline { cause: ErrorCode, message: String },
    Online { outage_s: u64 },
    Degraded { cause: Option<ErrorCode> },
    Recovered,
    AuthRefused { message: String },
    GaveUp { attempts: u32 },
}

/// When to look next, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub at: Timestamp,
    pub kind: CheckKind,
    /// Go on to a key frame.
    pub frames: bool,
}

/// What is remembered of a camera between checks; its JSON is what the store keeps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    pub confirmed: Confirmed,
    pub suspect: bool,
    pub grade: Option<Grade>,
    pub cause: Option<ErrorCode>,
    pub last_error_message: Option<String>,
    pub last_check: Option<Timestamp>,
    /// Since when the confirmed state holds.
    pub since: Option<Timestamp>,
    pub response_time_ms: Option<u32>,
    pub first_frame_ms: Option<u32>,
    pub last_frame_at: Option<Timestamp>,
    pub codec: Option<Codec>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: Option<f64>,
    /// Failed checks since the last good one.
    pub failed_in_a_row: u32,
    pub disconnections: u32,
    pub reconnect_attempts: u32,
    pub link: Link,
    /// The stored login was refused and has not been changed since.
    pub login_refused: bool,
    /// How often it is heard of, where it pushes.
    pub rhythm: Rhythm,
    announced_fps: Option<f64>,
    frames_missing: bool,
    last_frames_look: Option<Timestamp>,
    first_failure_at: Option<Timestamp>,
    came_back: Vec<Timestamp>,
    poor_in_a_row: u32,
    degraded: bool,
    /// Look at once, whatever the interval says.
    due_at_once: bool,
}

/// Where reconnection stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    pub state: LinkState,
    /// The attempt that comes next or runs; 0 = none, or one that the operator asked for.
    pub attempt: u32,
    pub next_attempt_at: Option<Timestamp>,
    pub next_delay_s: Option<u32>,
    pub attempts: Vec<ReconnectAttempt>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            state: LinkState::Connected,
            attempt: 0,
            next_attempt_at: None,
            next_delay_s: None,
            attempts: Vec::new(),
        }
    }
}

impl Watch {
    /// How time counts now; `None` while a failure is being confirmed (it counts when that is over).
    pub fn span(&self) -> Option<Span> {
        match self.confirmed {
            _ if self.suspect => None,
            Confirmed::Unknown => Some(Span::Unknown),
            Confirmed::Up => Some(Span::Up),
            Confirmed::Down => Some(Span::Down),
        }
    }

    /// The grade that people see; `None` is "unknown".
    pub fn shown_grade(&self) -> Option<Grade> {
        match self.confirmed {
            Confirmed::Unknown => None,
            Confirmed::Up => self.grade,
            Confirmed::Down => Some(Grade::Offline),
        }
    }

    /// What must survive a kill: when this changes, the state is worth writing.
    pub fn essence(&self) -> impl PartialEq + use<> {
        let stream = (self.codec, self.width, self.height);
        (
            self.confirmed,
            self.link.state,
            self.link.attempt,
            self.login_refused,
            stream,
        )
    }

    /// When to look next. `now` only matters for what is overdue.
    pub fn plan(&self, rules: &Rules, now: Timestamp) -> Plan {
        if self.due_at_once {
            let kind = match self.confirmed {
                Confirmed::Down => CheckKind::Reconnect,
                _ => CheckKind::Ordinary,
            };
            return Plan {
                at: now,
                kind,
                frames: self.frames_due(rules, now),
            };
        }
        if self.link.state == LinkState::Waiting
            && let Some(at) = self.link.next_attempt_at
        {
            return Plan {
                at,
                kind: CheckKind::Reconnect,
                frames: rules.verify_frames,
            };
        }
        if self.suspect {
            let from = self.last_check.unwrap_or(now);
            return Plan {
                at: from.plus_ms(RECHECK_MS),
                kind: CheckKind::Recheck,
                frames: false,
            };
        }
        let at = self.last_check.map_or(now, |last| next_slot(last, rules));
        let frames = self.frames_due(rules, at.max(now));
        Plan {
            at,
            kind: CheckKind::Ordinary,
            frames,
        }
    }

    fn frames_due(&self, rules: &Rules, now: Timestamp) -> bool {
        let Some(last) = self
            .last_frames_look
            .filter(|_| self.confirmed == Confirmed::Up)
        else {
            return rules.verify_frames;
        };
        // Half an interval early, so that ten minutes are ten minutes and not eleven.
        let slack_ms = u64::from(rules.interval_s) * 500;
        let is_old = |every_s| now.ms_since(last) + slack_ms >= u64::from(every_s) * 1000;
        rules.verify_frames && rules.verify_frames_every_s.is_some_and(is_old)
    }

    /// A check begins. Returns true if this moved the reconnection state.
    pub fn begin(&mut self, kind: CheckKind, now: Timestamp) -> bool {
        self.due_at_once = false;
        if kind != CheckKind::Reconnect || self.confirmed != Confirmed::Down {
            return false;
        }
        self.reconnect_attempts = self.reconnect_attempts.saturating_add(1);
        let link = &mut self.link;
        link.state = LinkState::Reconnecting;
        link.next_attempt_at = None;
        if link.attempts.len() == ATTEMPTS_MAX {
            link.attempts.remove(0);
        }
        link.attempts.push(ReconnectAttempt {
            attempt: link.attempt,
            delay_s: link.next_delay_s.take().unwrap_or(0),
            started_at: now,
            finished_at: None,
            success: false,
            error: None,
        });
        true
    }

    /// A check ended. `dice` is random in `0.0..1.0`, for the jitter.
    pub fn step(&mut self, seen: &Seen, rules: &Rules, now: Timestamp, dice: f64) -> Vec<Change> {
        self.last_check = Some(now);
        if self.login_refused {
            return Vec::new();
        }
        match seen {
            Seen::Anonymous => Vec::new(),
            Seen::Heard => self.heard(now),
            Seen::NoVerdict {
                code,
                connect_ms,
                message,
            } => self.no_verdict(*code, *connect_ms, message, rules, now, dice),
            Seen::Failed { code, message } => self.failed(*code, message, rules, now, dice),
            Seen::Up {
                frames: Frames::Missing,
                ..
            } if self.confirmed == Confirmed::Down => {
                let message = "the camera answers, but no picture comes";
                self.failed(ErrorCode::NoFrame, message, rules, now, dice)
            }
            Seen::Up {
                response_time_ms,
                first_frame_ms,
                media,
                frames,
            } => self.up(*response_time_ms, *first_frame_ms, media, *frames, now),
        }
    }

    /// The operator wants it tried now: the back-off starts over.
    pub fn reconnect(&mut self) {
        self.link.attempt = 0;
        self.link.next_attempt_at = None;
        self.link.next_delay_s = None;
        self.due_at_once = true;
        self.last_frames_look = None;
        self.login_refused = false;
        if self.confirmed == Confirmed::Down {
            self.link.state = LinkState::Reconnecting;
        }
    }

    /// Something was seen that the next check should not wait for.
    pub fn look_at_once(&mut self) {
        self.due_at_once = true;
    }

    /// Address or login were changed: what was known of failures no longer holds.
    pub fn settings_changed(&mut self) {
        self.suspect = false;
        self.first_failure_at = None;
        self.failed_in_a_row = 0;
        self.link.attempts.clear();
        self.reconnect();
    }

    /// Switched off by the operator, or back on: nothing is known until the next check.
    pub fn forget_state(&mut self) {
        let keep = (
            self.disconnections,
            self.reconnect_attempts,
            self.last_frame_at,
        );
        *self = Self {
            due_at_once: true,
            ..Self::default()
        };
        (
            self.disconnections,
            self.reconnect_attempts,
            self.last_frame_at,
        ) = keep;
    }

    /// After a restart: no check is under way, and a pending attempt is due.
    pub fn resumed(&mut self, now: Timestamp) {
        self.due_at_once = !self.login_refused;
        self.rhythm.resumed(now);
        self.suspect = false;
        self.first_failure_at = None;
        if self.link.state == LinkState::Reconnecting {
            self.link.state = LinkState::Waiting;
        }
        if self.link.state == LinkState::Waiting {
            // The plan goes on where it was; only an attempt without a time is due now.
            self.due_at_once = self.link.next_attempt_at.is_none();
        }
    }

    /// Up, without a time that could be measured: good, never excellent.
    fn heard(&mut self, now: Timestamp) -> Vec<Change> {
        let media = MediaFacts::default();
        let changes = self.up(GOOD_MS, None, &media, Frames::NotLooked, now);
        self.response_time_ms = None;
        changes
    }

    fn up(
        &mut self,
        response_time_ms: u32,
        first_frame_ms: Option<u32>,
        media: &MediaFacts,
        frames: Frames,
        now: Timestamp,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        self.suspect = false;
        self.first_failure_at = None;
        self.failed_in_a_row = 0;
        self.response_time_ms = Some(response_time_ms);
        self.remember_media(media);
        match frames {
            Frames::NotLooked => {}
            Frames::Proven => {
                self.frames_missing = false;
                self.first_frame_ms = first_frame_ms;
                self.last_frame_at = Some(now);
                self.last_frames_look = Some(now);
            }
            Frames::Missing => {
                self.frames_missing = true;
                self.last_frames_look = Some(now);
            }
        }
        self.finish_attempt(true, None, now);
        if self.confirmed == Confirmed::Down {
            let outage_s = self.since.map_or(0, |since| now.ms_since(since) / 1000);
            changes.push(Change::Online { outage_s });
            if self.came_back.len() == 3 {
                self.came_back.remove(0);
            }
            self.came_back.push(now);
        }
        if self.confirmed != Confirmed::Up {
            self.confirmed = Confirmed::Up;
            self.since = Some(now);
        }
        self.link = Link {
            attempts: std::mem::take(&mut self.link.attempts),
            ..Link::default()
        };
        self.cause = self.frames_missing.then_some(ErrorCode::NoFrame);
        self.last_error_message = self
            .frames_missing
            .then(|| "the camera answers, but no picture comes".to_owned());
        let reconnects = self
            .came_back
            .iter()
            .filter(|t| now.ms_since(**t) < HOUR_MS)
            .count();
        let facts = Facts {
            response_time_ms,
            no_frame: self.frames_missing,
            measured_fps: self.fps.filter(|_| self.announced_fps.is_some()),
            announced_fps: self.announced_fps,
            reconnects_last_hour: reconnects as u32,
        };
        changes.extend(self.graded(grade(&facts)));
        changes
    }

    fn graded(&mut self, grade: Grade) -> Option<Change> {
        self.grade = Some(grade);
        self.poor_in_a_row = if grade == Grade::Poor {
            self.poor_in_a_row.saturating_add(1)
        } else {
            0
        };
        if !self.degraded && self.poor_in_a_row >= POOR_STREAK {
            self.degraded = true;
            return Some(Change::Degraded { cause: self.cause });
        }
        if self.degraded && grade >= Grade::Fair {
            self.degraded = false;
            return Some(Change::Recovered);
        }
        None
    }

    fn remember_media(&mut self, media: &MediaFacts) {
        self.codec = media.codec.or(self.codec);
        self.width = media.width.or(self.width);
        self.height = media.height.or(self.height);
        self.fps = media.fps.or(self.fps);
        self.announced_fps = media.announced_fps.or(self.announced_fps);
    }

    fn no_verdict(
        &mut self,
        code: ErrorCode,
        connect_ms: Option<u32>,
        message: &str,
        rules: &Rules,
        now: Timestamp,
        dice: f64,
    ) -> Vec<Change> {
        self.cause = Some(code);
        self.last_error_message = Some(message.to_owned());
        if self.confirmed == Confirmed::Down {
            return self.attempt_failed(code, rules, now, dice);
        }
        if let Some(ms) = connect_ms {
            self.grade = Some(by_response_time(ms));
            if self.confirmed == Confirmed::Unknown {
                self.confirmed = Confirmed::Up;
                self.since = Some(now);
            }
        }
        Vec::new()
    }

    fn failed(
        &mut self,
        code: ErrorCode,
        message: &str,
        rules: &Rules,
        now: Timestamp,
        dice: f64,
    ) -> Vec<Change> {
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        self.cause = Some(code);
        self.last_error_message = Some(message.to_owned());
        let refused = code == ErrorCode::AuthFailed;
        let mut changes = Vec::new();
        if self.confirmed == Confirmed::Down {
            changes.extend(self.attempt_failed(code, rules, now, dice));
        } else if refused || self.failed_in_a_row >= rules.failures_to_offline {
            self.went_down(now);
            changes.push(Change::Offline {
                cause: code,
                message: message.to_owned(),
            });
            self.schedule(1, rules, now, dice);
        } else {
            self.suspect = true;
            self.first_failure_at.get_or_insert(now);
        }
        if refused {
            // Never the same login again: no attempts, no matter how many are left.
            self.login_refused = true;
            self.link.state = LinkState::GivenUp;
            self.link.next_attempt_at = None;
            self.link.next_delay_s = None;
            changes.push(Change::AuthRefused {
                message: message.to_owned(),
            });
        }
        changes
    }

    fn went_down(&mut self, now: Timestamp) {
        self.suspect = false;
        self.confirmed = Confirmed::Down;
        self.since = Some(self.first_failure_at.take().unwrap_or(now));
        self.grade = Some(Grade::Offline);
        self.disconnections = self.disconnections.saturating_add(1);
        self.poor_in_a_row = 0;
        self.degraded = false;
        self.link.attempts.clear();
    }

    /// The camera is still down after a try.
    fn attempt_failed(
        &mut self,
        code: ErrorCode,
        rules: &Rules,
        now: Timestamp,
        dice: f64,
    ) -> Vec<Change> {
        let ran = self.finish_attempt(false, Some(code), now);
        if !ran || self.link.state == LinkState::GivenUp {
            return Vec::new();
        }
        let done = self.link.attempt;
        match self.schedule(done + 1, rules, now, dice) {
            true => Vec::new(),
            false => vec![Change::GaveUp { attempts: done }],
        }
    }

    /// Plans attempt `attempt`; false when there are no more.
    fn schedule(&mut self, attempt: u32, rules: &Rules, now: Timestamp, dice: f64) -> bool {
        if !rules.reconnects {
            self.link.state = LinkState::Waiting;
            self.link.next_attempt_at = None;
            self.link.next_delay_s = None;
            return true;
        }
        let Some(delay_s) = rules.backoff.delay_s(attempt) else {
            self.link.state = LinkState::GivenUp;
            self.link.next_attempt_at = None;
            self.link.next_delay_s = None;
            return false;
        };
        self.link.state = LinkState::Waiting;
        self.link.attempt = attempt;
        self.link.next_delay_s = Some(delay_s);
        self.link.next_attempt_at = Some(now.plus_ms(rules.backoff.jittered_ms(delay_s, dice)));
        true
    }

    /// Ends the running attempt, if there is one.
    fn finish_attempt(&mut self, success: bool, error: Option<ErrorCode>, now: Timestamp) -> bool {
        match self.link.attempts.last_mut() {
            Some(last) if last.finished_at.is_none() => {
                last.finished_at = Some(now);
                last.success = success;
                last.error = error;
                true
            }
            _ => false,
        }
    }
}

/// The first of this camera's slots after `last` that is at least half an interval away.
fn next_slot(last: Timestamp, rules: &Rules) -> Timestamp {
    let interval_ms = i64::from(rules.interval_s.max(1)) * 1000;
    let offset_ms = (rules.offset_ms % interval_ms as u64) as i64;
    let earliest = last.unix_ms() + interval_ms / 2;
    let slots = (earliest - offset_ms).div_euclid(interval_ms) + 1;
    Timestamp(slots * interval_ms + offset_ms)
}

#[cfg(test)]
mod tests;
