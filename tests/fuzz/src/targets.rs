//! The table of parsers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ohmvision::config::{Config, Sources};
use ohmvision::model::{Codec, RecorderFacts, StreamUrl};
use ohmvision::fleet::view::Fleet;
use ohmvision::mqtt::command;
use ohmvision::mqtt::desired::document::Desired;
use ohmvision::mqtt::topics::{Incoming, Topics};
use ohmvision::vendor::Catalogue;
use ohmvision::wire::parameters::{ParameterSets, annex_b_units};
use ohmvision::wire::events::{self, multipart::Intake};
use ohmvision::wire::maker::{dahua, dvrip, isapi, reolink};
use ohmvision::wire::sample::{SampleFormat, SampleWatch};
use ohmvision::wire::{
    amf, arp, auth, discovery, dns, flv, ipv4, jpeg, m3u8, mjpeg, mkv, mp4, neigh, onvif, rtmp, rtp, rtsp, sdp, soap, source,
    ts, uevent, video, wsd, x509,
};

pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub static TARGETS: &[Target] = &[
    Target { name: "amf", run: values },
    Target { name: "auth", run: challenges },
    Target { name: "chunks", run: chunks },
    Target { name: "command", run: commands },
    Target { name: "config", run: configuration },
    Target { name: "desired", run: documents },
    Target { name: "discovery", run: discoveries },
    Target { name: "dns", run: names },
    Target { name: "events", run: reports },
    Target { name: "fleet", run: gateways },
    Target { name: "flv", run: tags },
    Target { name: "fragments", run: fragments },
    Target { name: "frames", run: frames },
    Target { name: "jpeg", run: pictures },
    Target { name: "maker", run: makers },
    Target { name: "mkv", run: matroska },
    Target { name: "mp4", run: movies },
    Target { name: "multipart", run: multipart },
    Target { name: "onvif", run: onvif_answers },
    Target { name: "playlist", run: playlists },
    Target { name: "recorder", run: recorders },
    Target { name: "rtp", run: packets },
    Target { name: "rtsp", run: messages },
    Target { name: "sdp", run: descriptions },
    Target { name: "topics", run: topics },
    Target { name: "transport", run: transport },
    Target { name: "uevent", run: uevents },
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
    let _ = onvif::media::profiles(data).map(|profiles| onvif::media::ranked(profiles));
    let _ = onvif::ptz::abilities(data);
}

fn packets(data: &[u8]) {
    for codec in [Codec::H264, Codec::H265, Codec::Mjpeg] {
        let mut watch = video::VideoWatch::new(codec, 96, ParameterSets::new(codec));
        for (nth, piece) in pieces(data).enumerate() {
            let _ = rtp::Packet::parse(piece);
            watch.push(piece, Duration::from_millis(nth as u64));
        }
        let _ = (watch.has_key_frame(), watch.sets().read(), watch.frame_size());
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
        if let Some(video) = description.video {
            let _ = sdp::control_url(description.control, "rtsp://10.0.0.1/a", video.control);
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

fn values(data: &[u8]) {
    // What is written is read again.
    let mut written = Vec::new();
    let read = amf::read_all(data);
    read.iter().for_each(|value| amf::write(&mut written, value));
    let _ = amf::read_all(&written);
    let _ = rtmp::Command::parse(20, data).map(|command| (command.status(), command.stream()));
    if let Ok(path) = std::str::from_utf8(data) {
        let _ = rtmp::app_and_stream(path);
    }
}

fn chunks(data: &[u8]) {
    let mut reader = rtmp::ChunkReader::default();
    let mut rest = data;
    while !rest.is_empty() {
        let space = reader.space();
        let count = space.len().min(rest.len());
        assert!(count > 0, "no room and nothing to take");
        let (now, later) = rest.split_at(count);
        space[..count].copy_from_slice(now);
        rest = later;
        reader.filled(count);
        loop {
            match reader.poll() {
                Ok(Some(message)) => {
                    let _ = (reader.head(&message).len(), reader.number(&message));
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn commands(data: &[u8]) {
    if let Err(refusal) = command::read(data) {
        let _ = command::failed(&refusal);
    }
}

fn documents(data: &[u8]) {
    if let Ok(desired) = Desired::parse(data) {
        let again = Desired::parse(desired.to_json().to_string().as_bytes());
        assert_eq!(again, Ok(desired));
    }
}

/// What is understood of a topic is the whole of it.
fn topics(data: &[u8]) {
    let Ok(topic) = std::str::from_utf8(data) else { return };
    let ours = Topics::new("a/b", "ha", "gw");
    let again = match ours.read(topic) {
        None => return,
        Some(Incoming::Command { subject, kind, id }) => ours.command(subject, kind, id),
        Some(Incoming::Fleet { kind, id }) => format!("a/b/all/cmd/{kind}/{id}"),
        Some(Incoming::Set { subject, key }) => ours.of(subject, &format!("set/{key}")),
        Some(Incoming::Desired) => ours.own("desired"),
        Some(Incoming::HomeAssistant) => ours.home_assistant_status(),
    };
    assert_eq!(again, topic);
}

fn gateways(data: &[u8]) {
    let mut fleet = Fleet::default();
    for leaf in ["status", "info", "health", "reported", "desired", "cams"] {
        fleet.hear("b", &format!("b/gw/{leaf}"), data);
    }
    for gateway in fleet.gateways.values() {
        assert!(!gateway.name.chars().any(char::is_control) && gateway.labels_text().len() < 1 << 20);
    }
}

fn reports(data: &[u8]) {
    let (head, body) = data.split_at(data.len().min(16));
    let head = String::from_utf8_lossy(head);
    for content_type in ["multipart/form-data; boundary=b", "application/json", &head] {
        let mut intake = Intake::new(content_type);
        for piece in body.chunks(7) {
            intake.push(piece);
        }
        let taken = intake.finish();
        let delivery = events::Delivery {
            path: &head,
            query: &head,
            texts: &taken.texts,
            has_picture: taken.has_picture,
        };
        let _ = events::decode(&delivery);
    }
    let _ = onvif::events::subscription(data);
    let _ = events::onvif::messages(data);
}

fn tags(data: &[u8]) {
    let mut reader = flv::FlvReader::default();
    let mut watch = flv::FlvWatch::default();
    let mut input = data;
    while let Ok(Some(tag)) = reader.next(&mut input) {
        watch.push(tag.kind, tag.timestamp_ms, reader.head(), tag.length, Duration::ZERO);
    }
    let _ = (watch.has_key_frame(), watch.facts(), watch.measured_fps());
}

fn fragments(data: &[u8]) {
    let mut watch = mp4::fragment::FragmentWatch::new();
    for piece in pieces(data) {
        if watch.feed(piece).is_err() {
            break;
        }
    }
    let _ = (watch.has_key_frame(), watch.size());
    for codec in [Codec::H264, Codec::H265] {
        let mut samples = SampleWatch::new(SampleFormat::read(codec, data));
        samples.feed(data);
        samples.end(true);
        let _ = samples.has_key_frame();
    }
}

fn matroska(data: &[u8]) {
    let mut bytes = data;
    if let Ok(track) = mkv::Track::read(&mut bytes) {
        let _ = (track.fps, track.duration(&mut bytes));
        let _ = track.key_sample(&mut bytes, 1000);
    }
}

fn movies(data: &[u8]) {
    let mut bytes = data;
    let whole = mp4::Span { at: 0, bytes: source::Source::size(&bytes) };
    if let Ok(track) = mp4::Track::read(&mut bytes, whole) {
        let _ = track.measure(&mut bytes);
        let _ = track.key_sample(&mut bytes, 1000);
    }
}

fn playlists(data: &[u8]) {
    let mut reader = m3u8::PlaylistReader::new();
    if reader.feed(data).is_ok() {
        let _ = reader.finish();
    }
}

fn recorders(data: &[u8]) {
    let mut facts = RecorderFacts::default();
    let _ = (isapi::read_proxied(data, &mut facts), isapi::read_proxied_status(data, &mut facts));
    let _ = (isapi::read_inputs(data, &mut facts), isapi::rtsp_port(data));
    let _ = (dahua::read_titles(data, &mut facts), dahua::read_states(data, &mut facts), dahua::rtsp_port(data));
    dahua::read_remote_devices(data, &mut facts);
    dahua::read_video_loss(data, &mut facts);
    let _ = (reolink::token(data), reolink::read_channel_status(data, &mut facts), reolink::rtsp_port(data));
    let _ = dvrip::read_login(data, &mut facts);
    for question in [dvrip::Question::ChannelTitles, dvrip::Question::ChannelStates, dvrip::Question::Rtsp] {
        dvrip::read(question, data, &mut facts);
    }
}

fn transport(data: &[u8]) {
    let mut watch = ts::TsWatch::new();
    for piece in data.chunks(100) {
        if watch.feed(piece).is_err() {
            return;
        }
    }
    watch.finish();
    let _ = (watch.has_key_frame(), watch.codec());
}

fn uevents(data: &[u8]) {
    let _ = uevent::Uevent::parse(data).map(|event| event.is_video());
}
