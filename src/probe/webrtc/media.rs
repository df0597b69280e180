//! From an answer to a whole key frame: the way, the keys, the packets.

use std::time::Duration;

use tokio::time::Instant;

use super::peer::{Peer, PeerError, Progress};
use crate::model::{Codec, ErrorCode, MediaFacts, ProbeError, Stage};
use crate::probe::http::Clock;
use crate::probe::{Depth, STANDS_STILL, Target, Transcript};
use crate::wire::reorder::Reorder;
use crate::wire::rtcp;
use crate::wire::rtp::Packet;
use crate::wire::video::VideoWatch;
use crate::wire::webrtc::{Answer, Format};

/// A key frame is asked for at once, and again this long after.
const KEY_FRAME_AGAIN: Duration = Duration::from_secs(1);
/// Missing packets are asked for this often.
const MISSING_AGAIN: Duration = Duration::from_millis(40);
/// Bytes of a proof by pictures: 12 s of 20 Mbit/s.
const MEDIA_BYTES_MAX: usize = 32 << 20;
/// Ticks per second of RTP timestamps, for every codec that is offered.
const CLOCK_RATE_HZ: u32 = 90_000;
/// Who we are in RTCP: any number does, for we send no media.
const OUR_SSRC: u32 = 1;

/// What the stream itself has shown.
pub(super) struct Proof {
    pub facts: MediaFacts,
    pub first_frame_ms: u32,
}

/// Goes on to the first whole key frame, and to the frame rate where the depth says so.
///
/// # Errors
/// `timeout` without a way to the device, `tls` for DTLS, `no_frame`, `reset`.
pub(super) async fn prove(
    peer: Peer,
    answer: &Answer,
    target: &Target,
    clock: &Clock,
    log: &mut Transcript,
) -> Result<Proof, ProbeError> {
    let mut reception = Reception {
        peer,
        answer,
        watch: None,
        bytes_left: MEDIA_BYTES_MAX,
    };
    let result = reception.prove(target, clock, log).await;
    reception.peer.close();
    result
}

struct Reception<'a> {
    peer: Peer,
    answer: &'a Answer,
    /// From the first packet on.
    watch: Option<Watch>,
    bytes_left: usize,
}

/// The one stream that is watched.
struct Watch {
    ssrc: u32,
    started: Instant,
    order: Reorder,
    video: VideoWatch,
    codec: Codec,
    key_frame_asked: Option<Instant>,
    missing_asked: Option<Instant>,
}

impl Reception<'_> {
    async fn prove(
        &mut self,
        target: &Target,
        clock: &Clock,
        log: &mut Transcript,
    ) -> Result<Proof, ProbeError> {
        let limits = &target.limits;
        self.await_progress(Progress::Reachable, clock.until(limits.answer), log)
            .await?;
        self.await_progress(Progress::Secured, clock.until(limits.answer), log)
            .await?;
        log.enter(Stage::FirstPacket);
        let first_packet = clock.until(limits.first_packet);
        let frame = clock.until(limits.frame);
        while !self.has_key_frame() {
            let has_packets = self.watch.is_some();
            if has_packets && log.stage() == Stage::FirstPacket {
                log.enter(Stage::FirstFrame);
            }
            let until = if has_packets { frame } else { first_packet };
            if Instant::now() >= until || self.bytes_left == 0 {
                return Err(self.no_frame(log));
            }
            self.receive(until).await.map_err(|e| error(&e, log))?;
        }
        log.enter(Stage::FirstFrame);
        let first_frame_ms = log.elapsed_ms();
        if target.depth >= Depth::Window {
            log.enter(Stage::Sample);
            while !self.is_sampled() && self.bytes_left > 0 && Instant::now() < clock.end {
                // What was seen until then counts.
                if self.receive(clock.end).await.is_err() {
                    break;
                }
            }
            if Instant::now() >= clock.end && !self.is_live() {
                return Err(log.error(ErrorCode::NoFrame, STANDS_STILL));
            }
        }
        Ok(Proof {
            facts: self.facts(target.depth),
            first_frame_ms,
        })
    }

    async fn await_progress(
        &mut self,
        wanted: Progress,
        until: Instant,
        log: &Transcript,
    ) -> Result<(), ProbeError> {
        let began = Instant::now();
        while self.peer.progress() < wanted {
            if Instant::now() >= until {
                return Err(self.no_progress(began.elapsed(), log));
            }
            self.peer.next(until).await.map_err(|e| error(&e, log))?;
        }
        Ok(())
    }

    fn no_progress(&self, waited: Duration, log: &Transcript) -> ProbeError {
        let waited_ms = waited.as_millis();
        let (code, text) = match self.peer.progress() {
            Progress::Searching => {
                let addresses: Vec<String> = self
                    .answer
                    .candidates
                    .iter()
                    .take(3)
                    .map(|c| c.address.to_string())
                    .collect();
                let text = format!(
                    "ICE found no way to {} within {waited_ms} ms; let the device offer its LAN address, and UDP through to it",
                    addresses.join(", ")
                );
                (ErrorCode::Timeout, text)
            }
            _ => {
                let text = format!(
                    "the device did not finish the DTLS handshake for media within {waited_ms} ms"
                );
                (ErrorCode::Tls, text)
            }
        };
        log.error(code, text)
    }

    /// One packet, or a moment without any; asks for what is missing.
    async fn receive(&mut self, until: Instant) -> Result<(), PeerError> {
        let Self {
            peer,
            answer,
            watch,
            bytes_left,
        } = self;
        let again = Instant::now() + MISSING_AGAIN;
        if let Some(packet) = peer.next(until.min(again)).await? {
            *bytes_left = bytes_left.saturating_sub(packet.len());
            if watch.is_none() {
                *watch = Watch::begin(packet, &answer.formats);
            }
            if let Some(watch) = watch {
                watch.push(packet);
            }
        }
        if let Some(watch) = watch {
            watch.ask(peer);
        }
        Ok(())
    }

    fn has_key_frame(&self) -> bool {
        let watch = self.watch.as_ref();
        watch.is_some_and(|watch| watch.video.has_key_frame())
    }

    /// Pictures came behind those that a server keeps for whoever comes.
    fn is_live(&self) -> bool {
        let watch = self.watch.as_ref();
        watch.is_some_and(|watch| watch.video.rate.is_live())
    }

    fn is_sampled(&self) -> bool {
        let watch = self.watch.as_ref();
        watch.is_none_or(|watch| watch.video.rate.is_full())
    }

    fn facts(&self, depth: Depth) -> MediaFacts {
        let Some(watch) = &self.watch else {
            return MediaFacts::default();
        };
        let sets = watch.video.sets().read();
        let size = sets.map(|s| (s.width, s.height));
        let size = size.or_else(|| watch.video.frame_size());
        let announced = sets.and_then(|s| s.fps);
        let measured = watch.video.rate.fps(CLOCK_RATE_HZ);
        let is_measured = depth >= Depth::Window;
        MediaFacts {
            codec: Some(watch.codec),
            width: size.map(|s| s.0),
            height: size.map(|s| s.1),
            fps: measured.filter(|_| is_measured).or(announced),
            announced_fps: announced.filter(|_| is_measured),
        }
    }

    fn no_frame(&self, log: &Transcript) -> ProbeError {
        let counts = self
            .watch
            .as_ref()
            .map(|w| (w.video.packets(), w.video.lost_packets()));
        let text = match counts {
            None => "the connection for media stands, but the device sends no video; see whether its camera is on".to_owned(),
            Some((packets, 0)) => format!(
                "no whole key frame among {packets} packets, though one was asked for; shorten the key frame interval"
            ),
            Some((packets, lost)) => format!(
                "no whole key frame among {packets} packets, {lost} were lost; lower the stream's bit rate"
            ),
        };
        log.error(ErrorCode::NoFrame, text)
    }
}

impl Watch {
    /// `None` for a packet of an encoding that was not agreed on.
    fn begin(packet: &[u8], formats: &[Format]) -> Option<Self> {
        let read = Packet::parse(packet)?;
        let &[_, _, _, _, _, _, _, _, a, b, c, d] = packet.first_chunk::<12>()?;
        let format = formats
            .iter()
            .find(|f| f.payload_type == read.payload_type)?;
        Some(Self {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            started: Instant::now(),
            order: Reorder::default(),
            video: VideoWatch::new(format.codec, format.payload_type, format.sets.clone()),
            codec: format.codec,
            key_frame_asked: None,
            missing_asked: None,
        })
    }

    fn push(&mut self, packet: &[u8]) {
        let at = self.started.elapsed();
        let ssrc = packet.get(8..12);
        let sequence = Packet::parse(packet).map(|p| p.sequence);
        if let Some(sequence) = sequence.filter(|_| ssrc == Some(&self.ssrc.to_be_bytes())) {
            let video = &mut self.video;
            self.order
                .push(sequence, packet, |packet| video.push(packet, at));
        }
    }

    fn ask(&mut self, peer: &mut Peer) {
        let now = Instant::now();
        let is_due = |last: Option<Instant>, pause| last.is_none_or(|last| now >= last + pause);
        if !self.video.has_key_frame() && is_due(self.key_frame_asked, KEY_FRAME_AGAIN) {
            self.key_frame_asked = Some(now);
            peer.request(rtcp::picture_loss(OUR_SSRC, self.ssrc));
        }
        if let Some((first, following)) = self.order.missing()
            && is_due(self.missing_asked, MISSING_AGAIN)
        {
            self.missing_asked = Some(now);
            peer.request(rtcp::lost_packets(OUR_SSRC, self.ssrc, first, following));
        }
    }
}

fn error(error: &PeerError, log: &Transcript) -> ProbeError {
    let code = match error {
        PeerError::Dtls(_) | PeerError::Fingerprint => ErrorCode::Tls,
        PeerError::Closed | PeerError::Lost => ErrorCode::Reset,
        PeerError::Socket(_) => ErrorCode::Internal,
    };
    log.error(code, error.to_string())
}
