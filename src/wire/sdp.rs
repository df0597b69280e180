//! Session descriptions as cameras write them (RFC 8866, and RFC 2326 appendix C for `a=control`),
//! and the addresses that they name. Lines that make no sense are skipped.

use std::borrow::Cow;

use crate::model::{Codec, MediaFacts};

/// Frame rates that a description may claim, frames per second.
const FPS_MAX: f64 = 240.0;
/// Sides that a description may claim, pixels.
const SIDE_MAX: u32 = 16_384;

/// What a session description says about video.
#[derive(Debug, Clone, PartialEq)]
pub struct Description<'a> {
    /// `a=control` of the whole session.
    pub control: Option<&'a str>,
    /// The first video stream of a codec that we can verify.
    pub video: Option<Video<'a>>,
    /// The first video encoding that we cannot verify.
    pub other_video: Option<&'a str>,
    /// `a=control` of the first audio stream that comes from the device.
    pub audio_control: Option<&'a str>,
}

/// One video stream: H.264, H.265 or JPEG.
#[derive(Debug, Clone, PartialEq)]
pub struct Video<'a> {
    pub codec: Codec,
    pub payload_type: u8,
    /// Ticks per second of the RTP timestamps.
    pub clock_rate_hz: u32,
    pub control: Option<&'a str>,
    /// Parameters of `a=fmtp`, without the payload type; may be empty.
    pub format: &'a str,
    pub fps: Option<f64>,
    /// Width and height, pixels.
    pub size: Option<(u32, u32)>,
}

impl Video<'_> {
    /// The facts that the attributes alone give, without any parameter set.
    pub fn facts(&self) -> MediaFacts {
        MediaFacts {
            codec: Some(self.codec),
            width: self.size.map(|s| s.0),
            height: self.size.map(|s| s.1),
            fps: self.fps,
            announced_fps: None,
        }
    }
}

/// The text is no session description: it names neither a version nor a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device's stream description cannot be read")]
pub struct SdpError;

/// Reads a session description.
///
/// # Errors
/// [`SdpError`], when no line of it is one of SDP's.
pub fn parse(body: &[u8]) -> Result<Description<'_>, SdpError> {
    let mut description = Description {
        control: None,
        video: None,
        other_video: None,
        audio_control: None,
    };
    let mut is_sdp = false;
    let mut medium: Option<Medium<'_>> = None;
    let lines = body.split(|b| matches!(b, b'\n' | b'\r'));
    for line in lines.filter_map(|l| std::str::from_utf8(l).ok()) {
        let line = line.trim();
        if let Some(value) = line.strip_prefix("m=") {
            is_sdp = true;
            description.add(medium.take());
            medium = Some(Medium::read(value));
        } else if let Some(value) = line.strip_prefix("a=") {
            match &mut medium {
                Some(medium) => medium.attribute(value),
                None => {
                    if let Some(control) = value.strip_prefix("control:") {
                        description.control = Some(control.trim());
                    }
                }
            }
        } else if line.starts_with("v=") {
            is_sdp = true;
        }
    }
    description.add(medium);
    is_sdp.then_some(description).ok_or(SdpError)
}

impl<'a> Description<'a> {
    fn add(&mut self, medium: Option<Medium<'a>>) {
        let Some(medium) = medium else { return };
        if medium.is_audio && !medium.is_back_channel {
            self.audio_control = self.audio_control.or(medium.control);
        }
        if !medium.is_video || self.video.is_some() {
            return;
        }
        match medium.video() {
            Ok(video) => self.video = Some(video),
            Err(name) => self.other_video = self.other_video.or(Some(name)),
        }
    }
}

/// The lines of one `m=` section.
struct Medium<'a> {
    is_video: bool,
    is_audio: bool,
    /// From us to the device.
    is_back_channel: bool,
    payload_type: Option<u8>,
    encoding: Option<(&'a str, u32)>,
    control: Option<&'a str>,
    format: &'a str,
    fps: Option<f64>,
    size: Option<(u32, u32)>,
}

impl<'a> Medium<'a> {
    /// `video 0 RTP/AVP 96`; of several payload types the first counts.
    fn read(value: &'a str) -> Self {
        let mut words = value.split_whitespace();
        let kind = words.next().unwrap_or_default();
        Self {
            is_video: kind.eq_ignore_ascii_case("video"),
            is_audio: kind.eq_ignore_ascii_case("audio"),
            is_back_channel: false,
            payload_type: words.nth(2).and_then(|w| w.parse().ok()),
            encoding: None,
            control: None,
            format: "",
            fps: None,
            size: None,
        }
    }

    fn attribute(&mut self, value: &'a str) {
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        let value = value.trim();
        match name.trim() {
            "control" => self.control = Some(value),
            "sendonly" => self.is_back_channel = true,
            "rtpmap" => self.encoding = self.encoding.or_else(|| self.for_us(value, rtpmap)),
            "fmtp" if self.format.is_empty() => {
                self.format = self.for_us(value, Some).unwrap_or_default();
            }
            "framerate" | "x-framerate" => self.fps = self.fps.or_else(|| fps(value)),
            "x-dimensions" | "framesize" => self.size = self.size.or_else(|| size(value)),
            // `0,0,height,width`.
            "cliprect" => {
                let reversed = || {
                    let (rest, width) = value.rsplit_once(',')?;
                    let (_, height) = rest.rsplit_once(',')?;
                    sides(width, height)
                };
                self.size = self.size.or_else(reversed);
            }
            _ => {}
        }
    }

    /// The rest of an attribute behind its payload type, unless that is another stream's. Some
    /// cameras leave the number out.
    fn for_us<T>(&self, value: &'a str, read: impl Fn(&'a str) -> Option<T>) -> Option<T> {
        let (number, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        match number.parse::<u8>() {
            Ok(number) if self.payload_type.is_none_or(|p| p == number) => read(rest.trim()),
            Ok(_) => None,
            Err(_) => read(value),
        }
    }

    /// The error is the name of an encoding that we do not verify.
    fn video(self) -> Result<Video<'a>, &'a str> {
        let named = self.encoding.map(|(name, _)| name);
        let codec = match (named, self.payload_type) {
            (Some(name), _) => codec(name).ok_or(name)?,
            (None, Some(26)) => Codec::Mjpeg,
            (None, Some(32)) => return Err("MPV"),
            (None, Some(33)) => return Err("MP2T"),
            (None, _) if self.format.contains("sprop-sps") => Codec::H265,
            (None, _) if self.format.contains("sprop-parameter-sets") => Codec::H264,
            (None, _) => return Err("an unnamed encoding"),
        };
        Ok(Video {
            codec,
            payload_type: self.payload_type.unwrap_or(96),
            clock_rate_hz: self.encoding.map_or(90_000, |(_, rate)| rate),
            control: self.control.filter(|c| !c.is_empty()),
            format: self.format,
            fps: self.fps,
            size: self.size,
        })
    }
}

fn codec(name: &str) -> Option<Codec> {
    const NAMES: [(&str, Codec); 4] = [
        ("H264", Codec::H264),
        ("H265", Codec::H265),
        ("HEVC", Codec::H265),
        ("JPEG", Codec::Mjpeg),
    ];
    let found = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, codec)| *codec)
}

/// `H264/90000`; a missing or senseless rate is the one that all video has.
fn rtpmap(value: &str) -> Option<(&str, u32)> {
    let mut parts = value.split('/').map(str::trim);
    let name = parts.next().filter(|n| !n.is_empty())?;
    let rate_hz = parts.next().and_then(|r| r.parse().ok());
    Some((name, rate_hz.filter(|r| *r > 0).unwrap_or(90_000)))
}

fn fps(value: &str) -> Option<f64> {
    plausible_fps(value.split_whitespace().next()?.parse().ok()?)
}

/// A frame rate rounded to 0.1, unless it cannot be one: cameras also claim 0 or thousands.
pub(super) fn plausible_fps(fps: f64) -> Option<f64> {
    let rounded = (fps * 10.0).round() / 10.0;
    (rounded > 0.0 && rounded <= FPS_MAX).then_some(rounded)
}

/// `w,h`, `w-h` or `96 w-h`.
fn size(value: &str) -> Option<(u32, u32)> {
    let sides_text = value.split_whitespace().last()?;
    let (width, height) = sides_text.split_once([',', '-', 'x'])?;
    sides(width, height)
}

fn sides(width: &str, height: &str) -> Option<(u32, u32)> {
    let side = |text: &str| {
        let side: u32 = text.trim().parse().ok()?;
        (1..=SIDE_MAX).contains(&side).then_some(side)
    };
    Some((side(width)?, side(height)?))
}

/// The address that a request for `control` names.
///
/// * `base`: `Content-Base`, else `Content-Location`, where the answer had one.
/// * `request_url`: what was described, without user info.
///
/// Relative values are put behind the base with exactly one slash between, as cameras expect, not
/// merged as RFC 3986 says. An address whose host is not the one that we dialled (NAT, broken bases)
/// keeps its path on our own authority.
pub fn control_url(base: Option<&str>, request_url: &str, control: Option<&str>) -> String {
    let base = match base.map(str::trim).filter(|b| !b.is_empty()) {
        Some(base) => adopt(base, request_url),
        None => Cow::Borrowed(request_url),
    };
    let url = match control.map_or("*", str::trim) {
        "*" | "" => base,
        control if scheme_end(control).is_some() => adopt(control, request_url),
        control => {
            let (before, after) = (base.trim_end_matches('/'), control.trim_start_matches('/'));
            Cow::Owned(format!("{before}/{after}"))
        }
    };
    // The request line ends at a blank.
    url.replace(char::is_whitespace, "%20")
}

/// The same address on the authority of `ours`, unless it names our host anyway.
fn adopt<'a>(url: &'a str, ours: &str) -> Cow<'a, str> {
    let (our_authority, _) = split_authority(ours);
    let (authority, path) = split_authority(url);
    let is_ours = authority.is_some_and(|a| Some(host(a)) == our_authority.map(host));
    let has_port_zero = authority.is_some_and(|a| a.ends_with(":0"));
    let has_our_scheme = scheme_end(url)
        .and_then(|end| url.split_at_checked(end))
        .is_some_and(|(scheme, rest)| ours.starts_with(scheme) && scheme_end(rest).is_none());
    let has_user = authority.is_some_and(|a| a.contains('@'));
    if is_ours && has_our_scheme && !has_port_zero && !has_user {
        return Cow::Borrowed(url);
    }
    let ours_until_path = match our_authority {
        Some(authority) => ours
            .find(authority)
            .and_then(|at| ours.get(..at + authority.len())),
        None => None,
    };
    Cow::Owned(format!("{}{path}", ours_until_path.unwrap_or_default()))
}

/// Authority, and path with query. A doubled scheme (`rtsp://rtsp://host/x`) and a missing one
/// (`192.168.1.10:554/x`, `/x`) occur.
fn split_authority(url: &str) -> (Option<&str>, &str) {
    let mut rest = url;
    while let Some(end) = scheme_end(rest) {
        rest = rest.get(end..).unwrap_or_default();
    }
    let path_start = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_start);
    ((!authority.is_empty()).then_some(authority), path)
}

/// The length of `rtsp://` or the like at the start.
fn scheme_end(url: &str) -> Option<usize> {
    let end = url.find("://")?;
    let is_scheme = url.get(..end)?.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_scheme && end > 0).then_some(end + 3)
}

fn host(authority: &str) -> &str {
    let without_user = authority.rsplit('@').next().unwrap_or_default();
    match without_user.find(']') {
        Some(end) => without_user.get(..=end).unwrap_or_default(),
        None => without_user.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
