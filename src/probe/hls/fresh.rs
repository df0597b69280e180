//! Does the stream move? A live playlist gets a new segment at the latest 1.5 target durations after the
//! one before (RFC 8216 section 6.2.2); one that stands still is what a dead packager leaves behind.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::no_frame;
use super::playlist::Listed;
use crate::model::{ProbeError, Stage};
use crate::probe::http::Clock;
use crate::probe::http::open::Session;
use crate::probe::{Depth, Target, Transcript};

/// Target durations without a new segment after which a stream stands still.
const PATIENCE: u32 = 3;
/// Where the probe has less time: this much more than one target duration.
const GRACE: Duration = Duration::from_secs(2);
/// A playlist is not read more often than this (RFC 8216 section 6.3.4: half a target duration).
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// A packager on demand is asked for its first segment this often.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Time for the last look before the probe ends.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// Where the playlist gives no target duration.
const TARGET_DEFAULT: Duration = Duration::from_secs(4);
/// A server's dates have whole seconds, and some write segments in bursts.
const STALE_MIN: Duration = Duration::from_secs(10);

/// Where a playlist stood when it was first read.
pub(super) struct Freshness {
    next_sequence: u64,
    newest: Option<String>,
    read_at: Instant,
}

impl Freshness {
    pub fn of(listed: &Listed) -> Self {
        Self {
            next_sequence: listed.media.next_sequence,
            newest: newest(listed),
            read_at: listed.read_at,
        }
    }

    /// Some packagers leave the media sequence out, so the newest segment's name counts too. A lower
    /// number is an encoder that started anew.
    fn has_moved(&self, now: &Listed) -> bool {
        now.media.next_sequence != self.next_sequence || newest(now) != self.newest
    }

    /// Waits until the playlist moves, and is done at once with a recording. False: the target duration
    /// is too long to tell within the probe's time.
    ///
    /// # Errors
    /// `no_frame` for a stream that stands still or was ended, and those of a request.
    pub async fn moves(
        &self,
        listed: Listed,
        session: &mut Session,
        target: &Target,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<bool, ProbeError> {
        if listed.media.is_recording || self.has_moved(&listed) {
            return Ok(true);
        }
        let duration = target_duration(&listed);
        if target.depth >= Depth::Frame {
            log.enter(Stage::Sample);
        }
        let pause = (duration / 2).max(PAUSE_MIN);
        let end = clock.end.checked_sub(LAST_LOOK).unwrap_or(clock.end);
        let enough = duration + GRACE;
        let until = end.min(self.read_at + enough.max(duration * PATIENCE));
        let mut listed = listed;
        while Instant::now() < until {
            // Nobody keeps a connection, and its place among those that talk, for a pause.
            session.rest();
            sleep_until(until.min(Instant::now() + pause)).await;
            listed = listed.again(session, target, log, clock).await?;
            if self.has_moved(&listed) {
                return Ok(true);
            }
            check_not_ended(&listed, log)?;
        }
        let still_for = self.read_at.elapsed();
        if still_for < enough && !is_stale(&listed) {
            return Ok(false);
        }
        let text = format!(
            "lists the same segments for {} s, with a target duration of {} s: the stream stands still; see whether its encoder runs",
            listed
                .unchanged_for
                .unwrap_or_default()
                .max(still_for)
                .as_secs(),
            duration.as_secs_f64(),
        );
        Err(no_frame(&listed, &text, log))
    }
}

/// The playlist once it has segments: packagers on demand need some seconds for their first one.
///
/// # Errors
/// `no_frame` when none comes within the limit for a frame, or the stream was ended.
pub(super) async fn with_segments(
    listed: Listed,
    session: &mut Session,
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Listed, ProbeError> {
    let mut listed = listed;
    let until = clock.until(target.limits.frame);
    loop {
        check_not_ended(&listed, log)?;
        if !listed.media.newest.is_empty() {
            return Ok(listed);
        }
        if Instant::now() + FIRST_PAUSE >= until {
            return Err(no_segments(&listed, log));
        }
        session.rest();
        sleep_until(Instant::now() + FIRST_PAUSE).await;
        listed = listed.again(session, target, log, clock).await?;
    }
}

/// What the playlist alone shows: it has segments, was not ended, and does not stand still as far as the
/// server's dates tell. Only a playlist that its server calls old is read again.
///
/// # Errors
/// `no_frame` otherwise.
pub(super) async fn by_its_own_account(
    listed: Listed,
    session: &mut Session,
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<(), ProbeError> {
    check_not_ended(&listed, log)?;
    if listed.media.newest.is_empty() {
        return Err(no_segments(&listed, log));
    }
    if !is_stale(&listed) || listed.media.is_recording {
        return Ok(());
    }
    log.enter(Stage::FirstPacket);
    let before = Freshness::of(&listed);
    before
        .moves(listed, session, target, log, clock)
        .await
        .map(drop)
}

fn check_not_ended(listed: &Listed, log: &mut Transcript) -> Result<(), ProbeError> {
    let media = &listed.media;
    match media.is_ended && !media.is_recording {
        true => Err(no_frame(
            listed,
            "has ended this stream (EXT-X-ENDLIST): nothing new will come; start its encoder again",
            log,
        )),
        false => Ok(()),
    }
}

fn no_segments(listed: &Listed, log: &mut Transcript) -> ProbeError {
    let text = "has a playlist without any segment; see whether its encoder runs";
    no_frame(listed, text, log)
}

fn newest(listed: &Listed) -> Option<String> {
    listed
        .media
        .newest
        .back()
        .map(|segment| segment.uri.clone())
}

fn target_duration(listed: &Listed) -> Duration {
    match listed.media.target_duration_ms {
        0 => TARGET_DEFAULT,
        // A number that cannot be meant must not overflow the clock.
        ms => Duration::from_millis(u64::from(ms.min(3_600_000))),
    }
}

/// True where the server itself says that the playlist was not changed for too long.
fn is_stale(listed: &Listed) -> bool {
    let patience = (target_duration(listed) * PATIENCE).max(STALE_MIN);
    listed.unchanged_for.is_some_and(|age| age > patience)
}
