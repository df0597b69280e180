//! Media profiles and the addresses of their streams (Media and Media 2 service specifications).

use super::{Call, said};
use crate::model::{Codec, MediaFacts, StreamRole};
use crate::wire::soap::{escaped, shortened};
use crate::wire::xml::{Leaf, Step, XmlError, walk};

pub const MEDIA: &str = "http://www.onvif.org/ver10/media/wsdl";
pub const MEDIA2: &str = "http://www.onvif.org/ver20/media/wsdl";
const SCHEMA: &str = "http://www.onvif.org/ver10/schema";

/// Profiles of one device that are read: recorders have some for each channel.
const PROFILES_MAX: usize = 128;
/// Longest token, bytes (the schema's ReferenceToken).
const TOKEN_BYTES_MAX: usize = 64;
/// Longest address that is read, bytes.
const URI_BYTES_MAX: usize = 2048;
/// Larger numbers are no sizes.
const PIXELS_MAX: u32 = 32_768;

/// Which of the two media services: only the second tells of H.265.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Media1,
    Media2,
}

impl Version {
    fn namespace(self) -> &'static str {
        match self {
            Self::Media1 => MEDIA,
            Self::Media2 => MEDIA2,
        }
    }
}

pub fn get_profiles(version: Version) -> Call {
    // Media 2 tells tokens and names only, unless asked for more.
    let inner = match version {
        Version::Media1 => "",
        Version::Media2 => "<Type>VideoSource</Type><Type>VideoEncoder</Type><Type>PTZ</Type>",
    };
    Call::new(version.namespace(), "GetProfiles", inner)
}

/// The address of a profile's stream, RTP within the RTSP connection.
pub fn get_stream_uri(version: Version, token: &str) -> Call {
    let token = escaped(token);
    let inner = match version {
        Version::Media1 => format!(
            "<StreamSetup><Stream xmlns=\"{SCHEMA}\">RTP-Unicast</Stream>\
             <Transport xmlns=\"{SCHEMA}\"><Protocol>RTSP</Protocol></Transport></StreamSetup>\
             <ProfileToken>{token}</ProfileToken>"
        ),
        Version::Media2 => {
            format!("<Protocol>RTSP</Protocol><ProfileToken>{token}</ProfileToken>")
        }
    };
    Call::new(version.namespace(), "GetStreamUri", &inner)
}

pub fn get_snapshot_uri(version: Version, token: &str) -> Call {
    let inner = format!("<ProfileToken>{}</ProfileToken>", escaped(token));
    Call::new(version.namespace(), "GetSnapshotUri", &inner)
}

/// The address in the answer to GetStreamUri or GetSnapshotUri, as the device writes it.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn uri(answer: &[u8]) -> Result<Option<String>, XmlError> {
    let mut found = None;
    walk(answer, |step| match step {
        Step::Leaf(leaf) if leaf.name() == "Uri" && found.is_none() => {
            let is_one = !leaf.text.is_empty() && leaf.text.len() <= URI_BYTES_MAX;
            found = is_one.then(|| leaf.text.to_owned());
        }
        _ => {}
    })?;
    Ok(found)
}

/// One profile with a video encoder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    pub token: String,
    pub name: String,
    /// Token of the video source: one for each lens or channel.
    pub source: String,
    /// As configured.
    pub media: MediaFacts,
    has_encoder: bool,
    pub has_ptz: bool,
}

/// Reads the answer of either service; profiles without token or video encoder are left out.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn profiles(answer: &[u8]) -> Result<Vec<Profile>, XmlError> {
    let mut found: Vec<Profile> = Vec::new();
    let is_profile = |path: &[String]| {
        path.last().is_some_and(|name| name == "Profiles")
            && path.iter().any(|name| name == "GetProfilesResponse")
    };
    walk(answer, |step| match step {
        Step::Open(path) if is_profile(path) && found.len() < PROFILES_MAX => {
            found.push(Profile::default());
        }
        Step::Open(path) => {
            let Some(profile) = found.last_mut() else {
                return;
            };
            match path.last().map(String::as_str) {
                Some("VideoEncoderConfiguration" | "VideoEncoder") => profile.has_encoder = true,
                Some("PTZConfiguration" | "PTZ") => profile.has_ptz = true,
                _ => {}
            }
        }
        Step::Attribute(a) if a.name == "token" && is_profile(a.path) => {
            let Some(profile) = found.last_mut() else {
                return;
            };
            if a.text.len() <= TOKEN_BYTES_MAX && profile.token.is_empty() {
                a.text.clone_into(&mut profile.token);
            }
        }
        Step::Leaf(leaf) => {
            if let Some(profile) = found.last_mut() {
                take(profile, &leaf);
            }
        }
        _ => {}
    })?;
    found.retain(|p| p.has_encoder && !p.token.is_empty());
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|p| seen.insert(p.token.clone()));
    Ok(found)
}

fn take(profile: &mut Profile, leaf: &Leaf<'_>) {
    let parent = leaf.path.iter().rev().nth(1).map(String::as_str);
    let in_encoder = leaf.is_in("VideoEncoderConfiguration") || leaf.is_in("VideoEncoder");
    let media = &mut profile.media;
    match leaf.name() {
        "Name" if parent == Some("Profiles") => profile.name = shortened(leaf.text),
        "SourceToken" if leaf.is_in("VideoSourceConfiguration") || leaf.is_in("VideoSource") => {
            profile.source = said(leaf).unwrap_or_default();
        }
        "Encoding" if in_encoder => media.codec = codec(leaf.text),
        "Width" if in_encoder && parent == Some("Resolution") => media.width = pixels(leaf.text),
        "Height" if in_encoder && parent == Some("Resolution") => media.height = pixels(leaf.text),
        "FrameRateLimit" if in_encoder => media.fps = frame_rate(leaf.text),
        _ => {}
    }
}

/// `H264` in Media 1, `H264` or `H265` by their IANA names in Media 2, `JPEG` in both.
fn codec(text: &str) -> Option<Codec> {
    match text.to_ascii_uppercase().as_str() {
        "H264" | "H.264" => Some(Codec::H264),
        "H265" | "H.265" | "HEVC" => Some(Codec::H265),
        "JPEG" | "MJPEG" => Some(Codec::Mjpeg),
        "MPEG4" | "MP4V-ES" | "MPV4-ES" => Some(Codec::Mpeg4),
        "AV1" => Some(Codec::Av1),
        _ => None,
    }
}

fn pixels(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| (1..=PIXELS_MAX).contains(n))
}

fn frame_rate(text: &str) -> Option<f64> {
    let rate: f64 = text.parse().ok()?;
    let is_one = rate.is_finite() && rate > 0.0 && rate <= 1000.0;
    is_one.then(|| (rate * 10.0).round() / 10.0)
}

/// The profiles of every channel, channel by channel (from 1; devices count their video sources in
/// order), best first, with the role of each: video before JPEG, larger before smaller.
pub fn ranked(profiles: Vec<Profile>) -> Vec<(u32, StreamRole, Profile)> {
    let mut sources: Vec<Vec<Profile>> = Vec::new();
    for profile in profiles {
        let same = |own: &&mut Vec<Profile>| own.iter().any(|p| p.source == profile.source);
        match sources.iter_mut().find(same) {
            Some(own) => own.push(profile),
            None => sources.push(vec![profile]),
        }
    }
    const ROLES: [StreamRole; 4] = [
        StreamRole::Main,
        StreamRole::Sub,
        StreamRole::Third,
        StreamRole::Fourth,
    ];
    let mut out = Vec::new();
    for (channel, mut own) in (1..).zip(sources) {
        // Stable: the device's own order decides among equals.
        own.sort_by_key(|p| {
            let is_stills = p.media.codec == Some(Codec::Mjpeg);
            (is_stills, std::cmp::Reverse(p.media.pixels()))
        });
        let roles = ROLES.into_iter().zip(own);
        out.extend(roles.map(|(role, profile)| (channel, role, profile)));
    }
    out
}
