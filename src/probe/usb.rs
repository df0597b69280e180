//! Cameras on this machine (`usb:NAME`): what V4L2 tells, and one picture by mapped memory. Another
//! program's pictures are never disturbed: where one takes them, the answer is `busy`.

mod errors;

use std::io;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

pub use self::errors::DriverFault;
use self::errors::{broken_off, driver_error, driver_fault, not_plugged_in, unfed};
use super::{Depth, Slot, Target, Transcript};
use crate::model::{ConnectionType, ErrorCode, Evidence, MediaFacts, Outcome, ProbeError, Stage};
use crate::sys::v4l2::{Capture, Device, Node, Stream, find, nodes};
use crate::wire::rtp::RateMeter;
use crate::wire::v4l2::{Buffer, FormatDescription, FourCc, FrameCheck, FrameFacts, PixelFormat};

/// Threads that may wait for drivers. A driver that hangs keeps its thread, and name look-ups need some.
static DRIVERS: Semaphore = Semaphore::const_new(2);
/// Formats that are chosen when the one that is set cannot be checked, best first.
const CHECKABLE: [FourCc; 5] = [
    FourCc::MJPEG,
    FourCc::JPEG,
    FourCc::H264,
    FourCc::HEVC,
    FourCc::YUYV,
];
/// How long a driver may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// Said of the last picture.
const OLD: &str = "was there before, and the program that feeds it gives no new one";
/// The clock of the frame rate: drivers' times are in microseconds.
const CLOCK_HZ: u32 = 1_000_000;

/// For `usb:`.
pub(super) async fn probe(target: &Target, log: &mut Transcript) -> Result<Outcome, ProbeError> {
    let name = target.url.path.as_str();
    let end = Instant::now() + target.limits.total;
    log.enter(Stage::Connect);
    let Some(node) = find(name) else {
        return Err(not_plugged_in(name, &nodes(), log));
    };
    let transport = if node.usb.is_some() { "usb" } else { "v4l2" };
    let mut course = Course {
        name,
        end,
        is_loopback: false,
        log,
    };
    let device = course.open(node, target.limits.connect).await?;
    let mut outcome = Outcome {
        connection_type: ConnectionType::Usb,
        url: target.url.clone(),
        role: target.role,
        evidence: Evidence::Answer,
        media: MediaFacts::default(),
        transport,
        response_time_ms: course.log.elapsed_ms(),
        first_frame_ms: None,
        certificate: None,
    };
    if target.depth == Depth::Connect {
        return Ok(outcome);
    }
    let (device, mode) = course.describe(device, target.limits.answer).await?;
    outcome.evidence = Evidence::Description;
    outcome.media = mode.facts();
    if target.depth == Depth::Answer {
        return Ok(outcome);
    }
    let _slot = course.slot(target).await?;
    let (capture, mode) = course.start(device, mode, target.limits.answer).await?;
    let stream = Stream::new(capture).map_err(|e| driver_error(&e, name, course.log))?;
    let result = course.prove(&stream, &mode, target).await;
    stop(stream).await;
    let proof = result?;
    outcome.evidence = Evidence::KeyFrame;
    outcome.media = proof.media;
    outcome.first_frame_ms = Some(proof.first_frame_ms);
    Ok(outcome)
}

/// How the device is set.
#[derive(Debug, Clone)]
struct Mode {
    format: PixelFormat,
    /// As set, not measured.
    fps: Option<f64>,
    formats: Vec<FormatDescription>,
    input_fault: Option<&'static str>,
}

impl Mode {
    fn read(device: &Device) -> io::Result<Self> {
        Ok(Self {
            format: device.format()?,
            fps: device.rate(),
            formats: device.formats(),
            input_fault: device.input_fault(),
        })
    }

    fn facts(&self) -> MediaFacts {
        let side = |pixels: u32| (pixels > 0).then_some(pixels);
        MediaFacts {
            codec: self.format.fourcc.codec(),
            width: side(self.format.width),
            height: side(self.format.height),
            fps: self.fps,
            announced_fps: None,
        }
    }

    /// What it is changed to where its pictures cannot be checked. `None`: it stays as it is.
    ///
    /// # Errors
    /// There is no format that can be checked.
    fn better(&self) -> Result<Option<PixelFormat>, FourCc> {
        let now = self.format.fourcc;
        let has = |fourcc: &FourCc| self.formats.iter().any(|f| f.fourcc == *fourcc);
        let is_compressed = self
            .formats
            .iter()
            .find(|f| f.fourcc == now)
            .is_some_and(|f| f.is_compressed);
        if CHECKABLE.contains(&now) || !is_compressed {
            return Ok(None);
        }
        let fourcc = CHECKABLE.into_iter().find(has).ok_or(now)?;
        Ok(Some(PixelFormat {
            fourcc,
            ..self.format
        }))
    }
}

/// What the pictures have proven.
struct Proof {
    media: MediaFacts,
    first_frame_ms: u32,
}

/// Runs what may block on a thread of its own. A driver that does not come back keeps its thread, not
/// the caller.
///
/// # Errors
/// [`DriverFault`].
pub async fn ask_driver<T: Send + 'static>(
    until: Instant,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DriverFault> {
    let Ok(Ok(permit)) = timeout_at(until, DRIVERS.acquire()).await else {
        return Err(DriverFault::OthersHang);
    };
    let work = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    match timeout_at(until, work).await {
        Ok(Ok(done)) => done.map_err(DriverFault::Refused),
        Ok(Err(_)) => Err(DriverFault::BrokeOff),
        Err(_) => Err(DriverFault::Hangs),
    }
}

/// One probe on its way.
struct Course<'a> {
    name: &'a str,
    end: Instant,
    /// Another program feeds it.
    is_loopback: bool,
    log: &'a mut Transcript,
}

impl Course<'_> {
    fn until(&self, limit: Duration) -> Instant {
        self.end.min(Instant::now() + limit)
    }

    async fn with_driver<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, ProbeError> {
        let asked = ask_driver(self.until(limit), work).await;
        asked.map_err(|fault| match fault {
            // It has no format, and does not start, before it is fed.
            DriverFault::Refused(error)
                if self.is_loopback
                    && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO)) =>
            {
                unfed(self.name, self.log)
            }
            fault => driver_fault(&fault, self.name, self.log),
        })
    }

    async fn open(&mut self, node: Node, limit: Duration) -> Result<Device, ProbeError> {
        let open = move || {
            let device = Device::open(&node)?;
            let capability = device.capability()?;
            Ok((device, capability))
        };
        let (device, capability) = self.with_driver(limit, open).await?;
        self.is_loopback = capability.is_loopback();
        if !capability.is_camera() && self.is_loopback {
            return Err(unfed(self.name, self.log));
        }
        if !capability.is_camera() {
            let sentence = format!(
                "{} ({}) is no camera; take its node with index 0",
                self.name, capability.card
            );
            return Err(self.log.error(ErrorCode::UnsupportedCodec, sentence));
        }
        Ok(device)
    }

    async fn describe(
        &mut self,
        device: Device,
        limit: Duration,
    ) -> Result<(Device, Mode), ProbeError> {
        self.log.enter(Stage::Describe);
        let read = move || Mode::read(&device).map(|mode| (device, mode));
        self.with_driver(limit, read).await
    }

    /// Leave to take pictures.
    async fn slot(&mut self, target: &Target) -> Result<Option<Slot>, ProbeError> {
        let Some(gate) = target.gate.as_deref() else {
            return Ok(None);
        };
        let asked = std::time::Instant::now();
        let slot = timeout_at(self.end, gate.talk(target.depth)).await;
        self.log.leave_out(asked);
        slot.map_err(|_| {
            let sentence = "too many other cameras are asked for pictures now";
            self.log.error(ErrorCode::Internal, sentence)
        })
    }

    async fn start(
        &mut self,
        device: Device,
        mode: Mode,
        limit: Duration,
    ) -> Result<(Capture, Mode), ProbeError> {
        self.log.enter(Stage::Start);
        let wanted = mode.better().map_err(|fourcc| {
            let sentence = format!(
                "pictures of the format {fourcc} cannot be checked, and {} has no other",
                self.name
            );
            self.log.error(ErrorCode::UnsupportedCodec, sentence)
        })?;
        let start = move || {
            let format = match wanted {
                Some(wanted) => device.set_format(&wanted)?,
                None => mode.format,
            };
            let capture = Capture::start(device)?;
            Ok((capture, Mode { format, ..mode }))
        };
        self.with_driver(limit, start).await
    }

    /// Waits for a whole picture; the first ones of many cameras are broken or dark.
    async fn prove(
        &mut self,
        stream: &Stream,
        mode: &Mode,
        target: &Target,
    ) -> Result<Proof, ProbeError> {
        self.log.enter(Stage::FirstPacket);
        let mut check = FrameCheck::new(mode.format);
        let (first, frame) = (
            self.until(target.limits.first_packet),
            self.until(target.limits.frame),
        );
        let mut last_fault = None;
        // v4l2loopback shows whoever comes the picture before, however old it is.
        let mut oldest = None;
        let is_loopback = self.is_loopback;
        let facts = loop {
            let deadline = if last_fault.is_some() { frame } else { first };
            let look = |buffer: &Buffer, bytes: &[u8]| {
                let is_old = *oldest.get_or_insert(buffer.sequence) == buffer.sequence;
                let judged = check.judge(buffer, bytes)?;
                if is_loopback && is_old {
                    Err(OLD)
                } else {
                    Ok(judged)
                }
            };
            match timeout_at(deadline, stream.frame(look)).await {
                Ok(Ok(Ok(facts))) => break facts,
                Ok(Ok(Err(fault))) => {
                    self.log.enter(Stage::FirstFrame);
                    last_fault = Some(fault);
                }
                Ok(Err(error)) => return Err(broken_off(&error, self.name, self.log)),
                Err(_) => return Err(self.no_frame(last_fault, mode)),
            }
        };
        self.log.enter(Stage::FirstFrame);
        let first_frame_ms = self.log.elapsed_ms();
        let mut media = proven(mode.facts(), &facts);
        if target.depth >= Depth::Window {
            self.log.enter(Stage::Sample);
            media.announced_fps = media.fps;
            media.fps = self.sample(stream).await.or(media.fps);
        }
        Ok(Proof {
            media,
            first_frame_ms,
        })
    }

    /// Frames per second by the driver's own times.
    async fn sample(&mut self, stream: &Stream) -> Option<f64> {
        let mut meter = RateMeter::default();
        let begun = Instant::now();
        while !meter.is_full() {
            let look = |buffer: &Buffer, _: &[u8]| buffer.timestamp_us;
            let Ok(Ok(at_us)) = timeout_at(self.end, stream.frame(look)).await else {
                break;
            };
            // Times are compared modulo 2^32.
            meter.picture(at_us as u32, begun.elapsed());
        }
        meter.fps(CLOCK_HZ)
    }

    fn no_frame(&self, last_fault: Option<&'static str>, mode: &Mode) -> ProbeError {
        let name = self.name;
        let sentence = match (last_fault, mode.input_fault) {
            (Some(fault), _) => format!("{name} sent no whole picture: the last one {fault}"),
            (None, _) if self.is_loopback => return unfed(name, self.log),
            (None, Some(fault)) => format!("{name} sent no picture: {fault}"),
            (None, None) => format!("{name} sent no picture in time; plug it in again"),
        };
        self.log.error(ErrorCode::NoFrame, sentence)
    }
}

fn proven(set: MediaFacts, facts: &FrameFacts) -> MediaFacts {
    MediaFacts {
        width: Some(facts.width),
        height: Some(facts.height),
        fps: set.fps.or(facts.announced_fps),
        ..set
    }
}

/// Gives the device back before the next one asks for it.
async fn stop(stream: Stream) {
    if let Some(capture) = stream.into_capture() {
        let stopping = tokio::task::spawn_blocking(move || drop(capture));
        let _ = tokio::time::timeout(STOP_LIMIT, stopping).await;
    }
}

#[cfg(test)]
mod tests;
