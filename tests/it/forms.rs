//! `ohmvision probe URL --frames` on every form of URL that a network has, held against ffprobe on the same
//! source. RTMP, FLV, HLS, WebRTC, files and webcams: rtmp.rs, hls.rs, webrtc.rs, file.rs, usb.rs.

use std::net::TcpListener;

use serde_json::Value;

use super::harness::daemon::PROGRAM;
use super::harness::seen::{Seen, agrees_in_the_end, ffprobe, probe_by};
use super::harness::web::{Asked, Page, Web};
use super::harness::{Site, is_skipped};

/// A recorder beside the streams of `hik`: its only channel is that camera's main stream.
fn recorder(site: &Site) -> Web {
    let listener = site.inside("hik", || TcpListener::bind("10.77.0.11:8090").unwrap());
    Web::start_at(listener, "Hik12345", |asked: &Asked| -> Page {
        let xml = |body: &str| Some(("application/xml", body.as_bytes().to_vec()));
        match asked.path.as_str() {
            "/ISAPI/ContentMgmt/InputProxy/channels" => xml(
                "<InputProxyChannelList><InputProxyChannel><id>1</id><name>Gate</name></InputProxyChannel></InputProxyChannelList>",
            ),
            "/ISAPI/ContentMgmt/InputProxy/channels/status" => xml(
                "<l><InputProxyChannelStatus><id>1</id><online>true</online><chanDetectResult>connect</chanDetectResult></InputProxyChannelStatus></l>",
            ),
            "/ISAPI/Security/adminAccesses" => xml(
                "<l><AdminAccessProtocol><protocol>RTSP</protocol><portNo>554</portNo></AdminAccessProtocol></l>",
            ),
            _ => None,
        }
    })
}

const HIK: &str = "rtsp://admin:Hik12345@10.77.0.11:554/Streaming/Channels/101";

/// URL, the same for ffprobe where it needs another one, kind, evidence, and frames a second where ffprobe does
/// not know them.
#[rustfmt::skip]
const FORMS: &[(&str, &str, &str, &str, Option<f64>)] = &[
    (HIK, "", "rtsp", "key_frame", None),
    ("rtsps://root:Axis%20pass@10.77.0.13:322/axis-media/media.amp", "", "rtsp", "key_frame", None),
    ("rtsp://root:viv0tek@10.77.0.14:554/live.sdp", "", "rtsp", "key_frame", None),
    ("http://viewer:ustr34mer@10.77.0.16/?action=stream", "", "http_mjpeg", "key_frame", Some(1.0)),
    ("http://viewer:ustr34mer@10.77.0.16/?action=snapshot", "", "http_mjpeg", "picture", None),
    ("https://root:Axis%20pass@10.77.0.18/mjpg/video.mjpg", "", "https", "key_frame", Some(1.0)),
    ("https://root:Axis%20pass@10.77.0.18/axis-cgi/jpg/image.cgi", "", "https", "picture", None),
    ("onvif://root:Axis%20pass@10.77.0.26", "rtsp://root:Axis%20pass@10.77.0.26:554/hosts/av0", "onvif", "key_frame", None),
    ("nvr://admin:Hik12345@10.77.0.11:8090?api=isapi&channel=1", HIK, "nvr", "key_frame", None),
];

#[test]
fn every_form_shows_what_ffprobe_sees() {
    if is_skipped("ffprobe") {
        return;
    }
    let Some(site) = Site::up("ff", "hik,axis,jpeg,ustream,secure,hosts") else {
        return;
    };
    let _recorder = recorder(&site);
    for (url, theirs, kind, evidence, fps) in FORMS {
        let probe = || probe_by(site.command(PROGRAM), url);
        let theirs = if theirs.is_empty() { url } else { theirs };
        let seen = ffprobe(site.command("ffprobe"), theirs);
        let is_still = *evidence == "picture";
        let fps = if is_still { None } else { seen.fps.or(*fps) };
        let report = agrees_in_the_end(probe(), &Seen { fps, ..seen }, probe);
        let told = |name: &str| report[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (&*told("connection_type"), &*told("evidence")),
            (*kind, *evidence),
            "{report}"
        );
        // One picture has no rate.
        assert_eq!(report["fps"] == Value::Null, is_still, "{report}");
        println!(
            "{kind}: {} {} {}",
            report["codec"], report["resolution"], report["fps"]
        );
    }
}
