//! One playing session: SETUP, PLAY, packets until the proof, and TEARDOWN in every case. Cameras
//! have two to four slots, and old servers keep a leaked one busy for a minute.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::errors::{link_error, status_error};
use super::link::{Deadlines, Link, LinkError, Request};
use crate::model::{Codec, ErrorCode, MediaFacts, ProbeError, Stage};
use crate::probe::{Depth, Limits, Target, Transcript};
use crate::wire::parameters::ParameterSets;
use crate::wire::rtsp::Event;
use crate::wire::sdp::{self, Description};
use crate::wire::video::VideoWatch;

/// How long the answer to TEARDOWN is awaited.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(1);

/// The video stream that was chosen from a description.
#[derive(Debug)]
pub(super) struct Track {
    facts: MediaFacts,
    payload_type: u8,
    clock_rate_hz: u32,
    sets: ParameterSets,
    /// For SETUP. Like the session's, it may hold a login.
    url: Zeroizing<String>,
    /// The sound that goes with it.
    audio_url: Option<Zeroizing<String>>,
    /// For PLAY and TEARDOWN.
    session_url: Zeroizing<String>,
}

impl Track {
    /// The first stream of a codec that we verify.
    ///
    /// * `base`: `Content-Base` or `Content-Location` of the description.
    /// * `request_url`: what was described.
    ///
    /// # Errors
    /// The name of what the description offers instead, where it has video at all.
    pub fn choose<'a>(
        description: &Description<'a>,
        base: Option<&str>,
        request_url: &str,
    ) -> Result<Track, Option<&'a str>> {
        let video = description.video.as_ref().ok_or(description.other_video)?;
        let url = |control| Zeroizing::new(sdp::control_url(base, request_url, control));
        let sets = ParameterSets::from_format(video.codec, video.format);
        Ok(Track {
            facts: video.facts(),
            payload_type: video.payload_type,
            clock_rate_hz: video.clock_rate_hz,
            sets,
            url: url(video.control),
            audio_url: description.audio_control.map(|control| url(Some(control))),
            session_url: url(description.control),
        })
    }

    /// What the description alone says.
    pub fn facts(&self) -> MediaFacts {
        with_sets(self.facts, &self.sets)
    }
}

/// A parameter set knows better than the attributes of a description.
fn with_sets(mut facts: MediaFacts, sets: &ParameterSets) -> MediaFacts {
    if let Some(read) = sets.read() {
        facts.width = Some(read.width);
        facts.height = Some(read.height);
        facts.fps = read.fps.or(facts.fps);
    }
    facts
}

/// What a session has proven.
#[derive(Debug)]
pub(super) struct Proof {
    pub facts: MediaFacts,
    pub first_frame_ms: u32,
}

/// Plays until the depth is reached, then tears down, also on errors.
pub(super) async fn prove(
    mut link: Link,
    track: Track,
    target: &Target,
    deadlines: Deadlines,
    log: &mut Transcript,
) -> Result<Proof, ProbeError> {
    log.enter(Stage::Start);
    let granted = set_up(&mut link, &track, deadlines, log).await?;
    let mut session = Session {
        open: Some(Open {
            link,
            url: track.session_url.clone(),
            id: granted.id,
        }),
    };
    let result = session
        .play(track, granted.channel, target, deadlines, log)
        .await;
    session.close().await;
    result
}

/// What the answer to SETUP grants.
struct Granted {
    /// Empty where the device gave none.
    id: String,
    /// Interleaved channel of the RTP packets.
    channel: u8,
}

async fn set_up(
    link: &mut Link,
    track: &Track,
    deadlines: Deadlines,
    log: &mut Transcript,
) -> Result<Granted, ProbeError> {
    let request = Request {
        method: "SETUP",
        url: &track.url,
        headers: &[("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")],
    };
    let message = link.request(request, deadlines, log, |_, _| {}).await?;
    let response = link.response(&message);
    if !(200..=299).contains(&response.status) {
        return Err(status_error(&response, link.is_challenged(), log));
    }
    Ok(Granted {
        id: response.session().unwrap_or_default().to_owned(),
        // Some answer without the channels, or as if it were UDP, and mean what we asked for.
        channel: response.interleaved_channel().unwrap_or(0),
    })
}

/// A session on the device. Dropped in the middle, it still says goodbye.
struct Session {
    open: Option<Open>,
}

struct Open {
    link: Link,
    url: Zeroizing<String>,
    id: String,
}

impl Session {
    async fn close(mut self) {
        if let Some(open) = self.open.take() {
            open.tear_down().await;
        }
    }

    async fn play(
        &mut self,
        track: Track,
        channel: u8,
        target: &Target,
        deadlines: Deadlines,
        log: &mut Transcript,
    ) -> Result<Proof, ProbeError> {
        let Some(open) = &mut self.open else {
            return Err(log.error(ErrorCode::Internal, "the session is closed already"));
        };
        if let Some(url) = &track.audio_url {
            open.add_audio(url, channel, deadlines, log).await?;
        }
        let codec = track.facts.codec.unwrap_or(Codec::H264);
        let mut media = Media {
            watch: VideoWatch::new(codec, track.payload_type, track.sets),
            channel,
            started: Instant::now(),
        };
        open.start(&mut media, deadlines, log).await?;
        open.await_key_frame(&mut media, &target.limits, deadlines, log)
            .await?;
        let first_frame_ms = log.elapsed_ms();
        let mut facts = media.facts(track.facts);
        if target.depth >= Depth::Window {
            log.enter(Stage::Sample);
            open.sample(&mut media, deadlines).await;
            facts.announced_fps = facts.fps;
            facts.fps = media.watch.rate.fps(track.clock_rate_hz).or(facts.fps);
        }
        Ok(Proof {
            facts,
            first_frame_ms,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (Some(open), Ok(runtime)) = (self.open.take(), Handle::try_current()) {
            runtime.spawn(open.tear_down());
        }
    }
}

/// The packets of the played stream.
struct Media {
    watch: VideoWatch,
    channel: u8,
    started: Instant,
}

impl Media {
    fn push(&mut self, channel: u8, packet: &[u8]) {
        // Others are RTCP, or left over from an older session.
        if channel == self.channel {
            self.watch.push(packet, self.started.elapsed());
        }
    }

    /// What stream and description say; the stream knows better.
    fn facts(&self, described: MediaFacts) -> MediaFacts {
        let mut facts = with_sets(described, self.watch.sets());
        if let Some((width, height)) = self.watch.frame_size() {
            facts.width = Some(width);
            facts.height = Some(height);
        }
        facts
    }
}

impl Open {
    async fn tear_down(mut self) {
        let request = Request {
            method: "TEARDOWN",
            url: &self.url,
            headers: &[("Session", &self.id)],
        };
        self.link.tear_down(request, TEARDOWN_LIMIT).await;
    }

    /// Asks for the sound too, to throw it away: servers that cut picture and sound from one source
    /// hold the picture back when nobody takes the sound. A device that does not give it is fine.
    async fn add_audio(
        &mut self,
        url: &str,
        video_channel: u8,
        deadlines: Deadlines,
        log: &mut Transcript,
    ) -> Result<(), ProbeError> {
        let channel = (video_channel | 1).wrapping_add(1);
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={channel}-{}", channel | 1);
        let session = ("Session", self.id.as_str());
        let headers = [("Transport", transport.as_str()), session];
        let request = Request {
            method: "SETUP",
            url,
            headers: &headers,
        };
        self.link
            .request(request, deadlines, log, |_, _| {})
            .await
            .map(drop)
    }

    /// Sends PLAY. Packets may come before its answer.
    async fn start(
        &mut self,
        media: &mut Media,
        deadlines: Deadlines,
        log: &mut Transcript,
    ) -> Result<(), ProbeError> {
        const INVALID_RANGE: u16 = 457;
        self.link.expect_media();
        let session = ("Session", self.id.as_str());
        let mut request = Request {
            method: "PLAY",
            url: &self.url,
            headers: &[session, ("Range", "npt=0.000-")],
        };
        let push = |media: &mut Media, channel, packet: &[u8]| media.push(channel, packet);
        let link = &mut self.link;
        let mut message = link
            .request(request, deadlines, log, |c, p| push(media, c, p))
            .await?;
        if message.status == INVALID_RANGE {
            request.headers = std::slice::from_ref(&session);
            message = link
                .request(request, deadlines, log, |c, p| push(media, c, p))
                .await?;
        }
        let response = link.response(&message);
        match response.status {
            200..=299 => Ok(()),
            _ => Err(status_error(&response, link.is_challenged(), log)),
        }
    }

    async fn await_key_frame(
        &mut self,
        media: &mut Media,
        limits: &Limits,
        deadlines: Deadlines,
        log: &mut Transcript,
    ) -> Result<(), ProbeError> {
        log.enter(Stage::FirstPacket);
        let first_packet = deadlines.after(limits.first_packet);
        let frame = deadlines.after(limits.frame);
        while !media.watch.has_key_frame() {
            let has_packets = media.watch.packets() > 0;
            if has_packets && log.stage() == Stage::FirstPacket {
                log.enter(Stage::FirstFrame);
            }
            let deadline = if has_packets { frame } else { first_packet };
            match self.next(media, deadline).await {
                Ok(()) => {}
                Err(LinkError::Timeout | LinkError::Budget) => {
                    return Err(no_frame(&media.watch, log));
                }
                Err(error) => return Err(link_error(&error, log)),
            }
        }
        log.enter(Stage::FirstFrame);
        Ok(())
    }

    /// Watches until the frame rate is known or the probe's time is over: what was seen counts.
    async fn sample(&mut self, media: &mut Media, deadlines: Deadlines) {
        while !media.watch.rate.is_full() {
            if self.next(media, deadlines.total).await.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self, media: &mut Media, deadline: Instant) -> Result<(), LinkError> {
        if let Event::Data { channel, payload } = self.link.event(deadline).await? {
            media.push(channel, self.link.bytes(payload));
        }
        Ok(())
    }
}

fn no_frame(watch: &VideoWatch, log: &Transcript) -> ProbeError {
    let sentence = match (watch.packets(), watch.lost_packets()) {
        (0, _) => "the device accepts the stream but sends no video; see whether its camera is on"
            .to_owned(),
        (packets, 0) => format!(
            "no whole key frame among {packets} packets; shorten the key frame interval or switch off the smart codec"
        ),
        (packets, lost) => format!(
            "no whole key frame among {packets} packets, {lost} were lost; lower the stream's bit rate"
        ),
    };
    log.error(ErrorCode::NoFrame, sentence)
}
