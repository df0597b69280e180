//! The table of parsers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ohmvision::config::{Config, Sources};
use ohmvision::model::{Codec, StreamUrl};
use ohmvision::vendor::Catalogue;
use ohmvision::wire::parameters::{ParameterSets, annex_b_units};
use ohmvision::wire::{
    arp, auth, discovery, dns, ipv4, jpeg, mjpeg, neigh, onvif, rtp, rtsp, sdp, soap, video, wsd, x509,
};

pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub static TARGETS: &[Target] = &[
    Target { name: "auth", run: challenges },
    Target { name: "config", run: configuration },
    Target { name: "discovery", run: discoveries },
    Target { name: "dns", run: names },
    Target { name: "frames", run: frames },
    Target { name: "jpeg", run: pictures },
    Target { name: "maker", run: makers },
    Target { name: "multipart", run: multipart },
    Target { name: "onvif", run: onvif_answers },
    Target { name: "rtp", run: packets },
    Target { name: "rtsp", run: messages },
    Target { name: "sdp", run: descriptions },
    Target { name: "units", run: units },
    Target { name: "url", run: urls },
    Target { name: "wsd", run: matches },
    Target { name: "x509", run: certificates },
];

/// Cuts the input into pieces: each begins with its length.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&length, rest) = data.split_first()?;
        let (piece, rest) = rest.split_at(usize::from(length).min(rest.len()));
        data = rest;
        Some(piece)
    })
}

fn challenges(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = auth::Challenge::choose(text.split('\n'));
    }
}

fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let sources = Sources {
        file: Some((PathBuf::from("ohmvision.toml"), text.to_owned())),
        ..Sources::default()
    };
    if let Err(errors) = Config::load(&sources) {
        assert!(!errors.to_string().is_empty());
    }
}

fn discoveries(data: &[u8]) {
    for protocol in &discovery::PROTOCOLS {
        let _ = (protocol.decode)(data);
    }
}

fn names(data: &[u8]) {
    let _ = dns::reverse_answer(data, 0, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)));
}

fn frames(data: &[u8]) {
    let mut reader = ipv4::Reader::default();
    for piece in pieces(data) {
        let _ = reader.read(piece);
        let _ = arp::Arp::parse(piece);
        let _ = neigh::parse(piece);
    }
}

fn pictures(data: &[u8]) {
    // In one piece or byte by byte: the same picture.
    let whole = jpeg::facts(data);
    let mut scanner = jpeg::JpegScanner::new();
    for byte in data {
        let _ = scanner.feed(std::slice::from_ref(byte));
    }
    if let Some(facts) = whole {
        assert_eq!(scanner.facts(), facts);
    }
}

fn makers(data: &[u8]) {
    thread_local!(static CATALOGUE: Catalogue = Catalogue::builtin());
    let Ok(text) = std::str::from_utf8(data) else { return };
    CATALOGUE.with(|catalogue| {
        let _ = catalogue.by_vendor_name(text);
        let _ = catalogue.by_http(Some(text), Some(text), Some(text));
        let _ = catalogue.by_onvif_scope(text);
        let _ = catalogue.find(text);
    });
}

fn multipart(data: &[u8]) {
    for framing in [mjpeg::Framing::Parts, mjpeg::Framing::Bare] {
        let mut reader = mjpeg::MjpegReader::new(framing);
        'body: for piece in pieces(data) {
            let mut input = Bytes::copy_from_slice(piece);
            while !input.is_empty() {
                if reader.next(&mut input).is_err() {
                    break 'body;
                }
            }
        }
        let _ = reader.finish();
    }
}

fn onvif_answers(data: &[u8]) {
    let _ = soap::body(data);
    let _ = onvif::date_and_time(data);
    let _ = onvif::device_information(data);
    let _ = onvif::services(data);
    let _ = onvif::mac(data, None);
    let _ = onvif::media::uri(data);
    let _ = onvif::media::profiles(data).map(|profiles| onvif::media::ranked(profiles, 1));
    let _ = onvif::ptz::abilities(data);
}

fn packets(data: &[u8]) {
    for codec in [Codec::H264, Codec::H265, Codec::Mjpeg] {
        let mut watch = video::VideoWatch::new(codec, 96, ParameterSets::new(codec));
        for (nth, piece) in pieces(data).enumerate() {
            let _ = rtp::Packet::parse(piece);
            watch.push(piece, Duration::from_millis(nth as u64));
        }
        let _ = (watch.has_key_frame(), watch.sets().read(), watch.jpeg_size());
    }
}

fn messages(data: &[u8]) {
    let mut decoder = rtsp::Decoder::default();
    for piece in pieces(data) {
        let mut rest = piece;
        while !rest.is_empty() {
            let space = decoder.space();
            let count = space.len().min(rest.len());
            assert!(count > 0, "no room and nothing to take");
            let (now, later) = rest.split_at(count);
            space[..count].copy_from_slice(now);
            rest = later;
            decoder.filled(count);
            loop {
                match decoder.poll() {
                    Ok(Some(rtsp::Event::Response(message))) => {
                        let _ = decoder.response(&message);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    }
    let _ = decoder.finish();
}

fn descriptions(data: &[u8]) {
    if let Ok(description) = sdp::parse(data) {
        for video in description.videos {
            let _ = sdp::control_url(description.base, "rtsp://10.0.0.1/a", video.control);
        }
    }
}

fn units(data: &[u8]) {
    for codec in [Codec::H264, Codec::H265] {
        let mut sets = ParameterSets::new(codec);
        annex_b_units(data).for_each(|unit| sets.keep(unit));
        let _ = sets.read();
        if let Ok(text) = std::str::from_utf8(data) {
            let _ = ParameterSets::from_format(codec, text).read();
        }
    }
}

fn urls(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(parsed) = StreamUrl::parse(text) {
        let shown = parsed.url.to_string();
        let again = StreamUrl::parse(&shown).map(|parsed| parsed.url.to_string());
        assert_eq!(again.as_deref(), Ok(shown.as_str()), "{text}");
    }
}

fn matches(data: &[u8]) {
    if let Ok(all) = wsd::parse(data) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for found in all {
            *seen.entry(found.endpoint.clone()).or_default() += 1;
            let _ = (found.is_onvif(), found.scope("name"), found.services().count());
        }
    }
}

fn certificates(data: &[u8]) {
    let _ = x509::facts(data, "", 1_700_000_000);
}
