//! RTP packets (RFC 3550 section 5) and the frame rate that they show.

use std::time::Duration;

use super::sdp::plausible_fps;

/// One RTP packet in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    /// Header extension: its profile's number and its content (RFC 3550 section 5.3.1).
    pub extension: Option<(u16, &'a [u8])>,
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a packet apart; `None` when it is none.
    pub fn parse(bytes: &'a [u8]) -> Option<Packet<'a>> {
        let (header, mut rest) = bytes.split_first_chunk::<12>()?;
        let [flags, kind, s0, s1, t0, t1, t2, t3, ..] = *header;
        if flags >> 6 != 2 {
            return None;
        }
        let sources_bytes = usize::from(flags & 0x0f) * 4;
        rest = rest.get(sources_bytes..)?;
        let mut extension = None;
        if flags & 0x10 != 0 {
            let (&[p0, p1, l0, l1], after) = rest.split_first_chunk::<4>()?;
            let length_bytes = usize::from(u16::from_be_bytes([l0, l1])) * 4;
            let (content, after) = after.split_at_checked(length_bytes)?;
            extension = Some((u16::from_be_bytes([p0, p1]), content));
            rest = after;
        }
        if flags & 0x20 != 0 {
            let padding_bytes = usize::from(*rest.last()?);
            rest = rest.get(..rest.len().checked_sub(padding_bytes)?)?;
        }
        Some(Packet {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            extension,
            payload: rest,
        })
    }
}

/// Cameras send cached frames in a burst first: that long they do not count.
const BURST: Duration = Duration::from_millis(500);
/// A shorter window measures badly.
const WINDOW: Duration = Duration::from_secs(2);
/// Slow streams are watched until so many frames came.
const FRAMES_MIN: u32 = 3;
/// RTP timestamps that disagree this much with the time of arrival are wrong (constant, another
/// clock rate, a clock that was set).
const DISAGREEMENT_MAX: f64 = 3.0;

/// Measures frames per second over a window behind the first burst.
///
/// B-frames come out of order, so the latest timestamp of all may arrive before frames that belong
/// in front of it. What lies before the latest but one is complete, and only that is counted.
#[derive(Debug, Clone, Default)]
pub struct RateMeter {
    /// Arrival of the very first picture, and the latest timestamp before the window.
    begin: Option<(Duration, u32)>,
    window: Option<Window>,
}

/// Timestamps are in ticks since the latest of before; what lies in front of that is not counted.
#[derive(Debug, Clone, Copy)]
struct Window {
    first_timestamp: u32,
    last_timestamp: u32,
    first_at: Duration,
    last_at: Duration,
    /// Pictures after the first: of distinct timestamps, and all.
    frames: u32,
    pictures: u32,
    /// The latest timestamp, and the latest before that one came.
    latest: i32,
    complete_until: i32,
    /// Frames up to `complete_until`, and behind it.
    complete_frames: u32,
    pending_frames: u32,
}

impl RateMeter {
    /// Counts a picture that began with this RTP timestamp, at a time since the start of media.
    pub fn picture(&mut self, timestamp: u32, at: Duration) {
        if let Some(window) = &mut self.window {
            return window.count(timestamp, at);
        }
        let (begin_at, latest) = self.begin.get_or_insert((at, timestamp));
        if timestamp.wrapping_sub(*latest).cast_signed() > 0 {
            *latest = timestamp;
        }
        if at >= *begin_at + BURST {
            self.window = Some(Window::open(*latest, at));
        }
    }

    /// Pictures came behind the first burst, which may be of before.
    pub fn is_live(&self) -> bool {
        self.window.is_some()
    }

    /// True when the window is long enough.
    pub fn is_full(&self) -> bool {
        self.window
            .is_some_and(|w| w.last_at >= w.first_at + WINDOW && w.pictures + 1 >= FRAMES_MIN)
    }

    /// Frames per second, rounded to 0.1: by RTP timestamps, by time of arrival where those make no
    /// sense. `None` for less than two frames.
    pub fn fps(&self, clock_rate_hz: u32) -> Option<f64> {
        let window = self.window?;
        let rate = |frames: u32, seconds: f64| {
            (frames > 0 && seconds > 0.0).then(|| f64::from(frames) / seconds)
        };
        let span_s = f64::from(window.complete_until) / f64::from(clock_rate_hz);
        let by_timestamp = rate(window.complete_frames, span_s);
        let arrived = match window.frames {
            0 => window.pictures,
            frames => frames,
        };
        let by_arrival = rate(arrived, (window.last_at - window.first_at).as_secs_f64());
        let fps = match (by_timestamp, by_arrival) {
            (Some(a), Some(b)) if a > b * DISAGREEMENT_MAX || b > a * DISAGREEMENT_MAX => b,
            (Some(a), _) => a,
            (None, b) => b?,
        };
        plausible_fps(fps)
    }
}

impl Window {
    fn open(timestamp: u32, at: Duration) -> Self {
        Self {
            first_timestamp: timestamp,
            last_timestamp: timestamp,
            first_at: at,
            last_at: at,
            frames: 0,
            pictures: 0,
            latest: 0,
            complete_until: 0,
            complete_frames: 0,
            pending_frames: 0,
        }
    }

    fn count(&mut self, timestamp: u32, at: Duration) {
        self.pictures += 1;
        self.last_at = at;
        // The second field of an interlaced frame.
        if timestamp == self.last_timestamp {
            return;
        }
        self.frames += 1;
        self.last_timestamp = timestamp;
        let ticks = timestamp.wrapping_sub(self.first_timestamp).cast_signed();
        if ticks > self.latest {
            self.complete_frames += self.pending_frames;
            self.complete_until = self.latest;
            self.latest = ticks;
            self.pending_frames = 1;
        } else if ticks > self.complete_until {
            self.pending_frames += 1;
        } else if ticks > 0 {
            self.complete_frames += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_packet_apart() {
        let plain = [0x80, 0xe0, 0, 7, 0, 0, 1, 0, 1, 2, 3, 4, 9, 8];
        assert_eq!(
            Packet::parse(&plain),
            Some(Packet {
                marker: true,
                payload_type: 96,
                sequence: 7,
                timestamp: 256,
                extension: None,
                payload: &[9, 8],
            })
        );
        // One source, an extension of one word, two bytes of padding.
        let full = [
            0xb1, 26, 0, 7, 0, 0, 0, 1, 1, 2, 3, 4, 5, 5, 5, 5, 0xff, 0xd8, 0, 1, 6, 6, 6, 6, 9, 0,
            2,
        ];
        let packet = Packet::parse(&full).unwrap();
        assert_eq!(packet.extension, Some((0xffd8, &[6, 6, 6, 6][..])));
        assert_eq!(packet.payload, [9]);
        for length in 0..full.len() - 3 {
            assert_eq!(
                Packet::parse(&full[..length]).map(|p| p.payload.len()),
                None
            );
        }
        let rtcp_like_version_0 = [0; 16];
        assert_eq!(Packet::parse(&rtcp_like_version_0), None);
    }

    fn measure(pictures: impl IntoIterator<Item = (u32, u64)>) -> RateMeter {
        let mut meter = RateMeter::default();
        for (timestamp, at_ms) in pictures {
            if meter.is_full() {
                break;
            }
            meter.picture(timestamp, Duration::from_millis(at_ms));
        }
        meter
    }

    #[test]
    fn the_rate_is_that_of_the_timestamps() {
        // 25 fps with jitter of arrival, across the wrap of the timestamp.
        let start = u32::MAX - 100_000;
        let meter = measure(
            (0..100).map(|i: u32| (start.wrapping_add(i * 3600), u64::from(i * 40 + i % 3 * 9))),
        );
        assert!(meter.is_full());
        assert_eq!(meter.fps(90_000), Some(25.0));
    }

    #[test]
    fn the_first_burst_does_not_count() {
        let burst = (0..50).map(|i| (i * 3600, 0));
        let live = (50..130).map(|i: u32| (i * 3600, u64::from((i - 49) * 40)));
        let meter = measure(burst.chain(live));
        assert_eq!(meter.fps(90_000), Some(25.0));
        assert!(meter.window.unwrap().frames < 60);
    }

    #[test]
    fn frames_out_of_order_and_fields_count_once() {
        // A pyramid of B-frames in front of every fifth frame, at 15 fps.
        let order = [4, 2, 0, 1, 3];
        for start in 0..5 {
            let meter = measure((start..80u32).map(|i| {
                let frame = i / 5 * 5 + order[(i % 5) as usize];
                (frame * 6000, u64::from(i) * 1000 / 15)
            }));
            assert_eq!(meter.fps(90_000), Some(15.0), "{start}");
        }
        let fields = measure((0..150u32).map(|i| (i / 2 * 3600, u64::from(i) * 20)));
        assert_eq!(fields.fps(90_000), Some(25.0));
    }

    #[test]
    fn senseless_timestamps_give_way_to_the_time_of_arrival() {
        let constant = measure((0..100).map(|i| (0, i * 40)));
        assert_eq!(constant.fps(90_000), Some(25.0));
        let other_clock = measure((0..100u32).map(|i| (i * 40, u64::from(i) * 40)));
        assert_eq!(other_clock.fps(90_000), Some(25.0));
        let clock_set = measure((0..100u32).map(|i| {
            let jump = if i > 40 { 90_000_000 } else { 0 };
            (i * 3600 + jump, u64::from(i) * 40)
        }));
        assert_eq!(clock_set.fps(90_000), Some(25.0));
    }

    #[test]
    fn slow_streams_need_three_frames() {
        let slow = measure((0..4u32).map(|i| (i * 180_000, u64::from(i) * 2000)));
        assert!(slow.is_full());
        assert_eq!(slow.fps(90_000), Some(0.5));
        assert_eq!(measure([(0, 0), (1, 600)]).fps(90_000), None);
    }

    proptest::proptest! {
        #[test]
        fn no_packet_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let _ = Packet::parse(&bytes);
        }

        #[test]
        fn no_timestamps_panic(steps in proptest::collection::vec((proptest::prelude::any::<u32>(), 0u64..2000), 0..40)) {
            let mut at_ms = 0;
            let meter = measure(steps.into_iter().map(|(t, ms)| { at_ms += ms; (t, at_ms) }));
            if let Some(fps) = meter.fps(90_000) {
                proptest::prop_assert!(fps > 0.0 && fps.is_finite());
            }
        }
    }
}
