use std::sync::Arc;

use super::*;
use crate::brake::Brake;
use crate::model::Credentials;
use crate::policy::networks::AllowedNetworks;
use crate::probe::Limits;
use crate::probe::http::tests::fake::{Fake, answer, digest_is_right, is_authorized};
use crate::probe::onvif::fake::{Behaviour, Fake as OnvifFake, envelope};
use crate::probe::rtsp::tests::fake as rtsp;
use crate::vendor::{Catalogue, RawMaker};
use crate::wire::maker::isapi;

const DIGEST: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\"\r\n";

fn detector(makers: &[RawMaker]) -> Detector {
    Detector {
        catalogue: Arc::new(Catalogue::with_overlay(makers).unwrap()),
        brake: Arc::new(Brake::for_one_run()),
        gate: None,
        networks: Arc::new(AllowedNetworks::parse(&["loopback"]).unwrap()),
        limits: Limits::default(),
    }
}

fn request(port: u16, manufacturer: Option<&str>) -> ChannelsRequest {
    ChannelsRequest {
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        known: None,
        login: Some(Credentials::new("admin", "s3cret")),
        onvif_login: None,
        manufacturer: manufacturer.map(str::to_owned),
        cleartext_login: false,
        trust: Trust::FirstUse,
        timeout: Duration::from_secs(20),
    }
}

async fn hikvision() -> Fake {
    use isapi::tests::{PROTOCOLS_XML, PROXIED_XML, STATUS_XML};
    Fake::start(|head| {
        if !is_authorized(head) || !digest_is_right(head) {
            return answer("401 Unauthorized", DIGEST, b"");
        }
        match head.split(' ').nth(1).unwrap() {
            isapi::PROXIED => answer("200 OK", "", PROXIED_XML.as_bytes()),
            isapi::PROXIED_STATUS => answer("200 OK", "", STATUS_XML.as_bytes()),
            isapi::PROTOCOLS => answer("200 OK", "", PROTOCOLS_XML.as_bytes()),
            _ => answer("404 Not Found", "", b""),
        }
    })
    .await
}

#[tokio::test]
async fn a_brand_is_asked_by_its_familys_interface() {
    let device = hikvision().await;
    let detector = detector(&[]);
    for maker in [Some("hikvision"), Some("hilook_hiwatch"), None] {
        let list = detector
            .channels(&request(device.address.port(), maker))
            .await
            .unwrap();
        assert_eq!(list.source, ChannelSource::Isapi);
        let url = format!("nvr://{}/?api=isapi", device.address);
        assert_eq!(list.url.to_string(), url);
        let [gate, hall, empty] = list.channels.as_slice() else {
            panic!("{list:?}")
        };
        assert_eq!(gate.facts.state, ChannelState::Online);
        assert_eq!(hall.facts.state, ChannelState::Offline);
        assert_eq!(empty.facts.state, ChannelState::Empty);
        let main = hall.stream(StreamRole::Main).unwrap().to_string();
        assert_eq!(main, "rtsp://127.0.0.1:10554/Streaming/Channels/201");
        let sub = hall.stream(StreamRole::Sub).unwrap().to_string();
        assert_eq!(sub, "rtsp://127.0.0.1:10554/Streaming/Channels/202");
    }
    // Asked again by the URL that was found.
    let mut again = request(1, None);
    again.known = Some(
        StreamUrl::parse(&format!("nvr://{}/?api=isapi", device.address))
            .unwrap()
            .url,
    );
    assert_eq!(detector.channels(&again).await.unwrap().channels.len(), 3);
}

#[tokio::test]
async fn a_refused_login_is_what_is_told() {
    let device = Fake::start(|_| answer("401 Unauthorized", DIGEST, b"")).await;
    let detector = detector(&[]);
    let request = request(device.address.port(), None);
    let error = detector.channels(&request).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AuthFailed);
    // Once for the device's accounts and once for ONVIF's, which are a list of their own.
    assert!(device.logins() <= 2, "{}", device.logins());
    let before = device.logins();
    let again = detector.channels(&request).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::AuthFailed);
    assert_eq!(device.logins(), before, "a refused login is not sent again");
}

#[tokio::test]
async fn onvif_groups_profiles_by_source() {
    let profile = |token: &str, source: &str, width: u32| {
        format!(
            "<Profiles token='{token}'><VideoSourceConfiguration><SourceToken>{source}</SourceToken></VideoSourceConfiguration><VideoEncoderConfiguration><Encoding>H264</Encoding><Resolution><Width>{width}</Width><Height>360</Height></Resolution></VideoEncoderConfiguration></Profiles>"
        )
    };
    let profiles = [
        profile("1s", "v1", 640),
        profile("1m", "v1", 1920),
        profile("2m", "v2", 1280),
    ];
    let answered = envelope(&format!(
        "<GetProfilesResponse>{}</GetProfilesResponse>",
        profiles.concat()
    ));
    let device = OnvifFake::start(Behaviour {
        answers: vec![("GetProfiles", answered)],
        ..Behaviour::default()
    })
    .await;
    let list = detector(&[])
        .channels(&request(device.address.port(), Some("axis")))
        .await
        .unwrap();
    assert_eq!(list.source, ChannelSource::Onvif);
    let roles: Vec<(u32, Vec<StreamRole>)> = list
        .channels
        .iter()
        .map(|c| (c.facts.number, c.streams.iter().map(|(r, _)| *r).collect()))
        .collect();
    use StreamRole::{Main, Sub};
    assert_eq!(roles, [(1, vec![Main, Sub]), (2, vec![Main])]);
    assert_eq!(list.channels[0].facts.state, ChannelState::Unknown);
}

/// A maker of the operator's own, whose recorders play on this port.
fn own_maker(port: u16) -> RawMaker {
    toml::from_str(&format!(
        "id = \"own\"\nname = \"Own\"\ncategory = \"professional\"\nfamily = \"own\"\n\
         rtsp = [{{ role = \"main\", url = \"rtsp://{{user}}:{{pass}}@{{ip}}:{port}/ch{{channel}}\", ev = \"documented\", nvr = true }}]\n\
         [channels]\nrule = \"chN\"\n"
    ))
    .unwrap()
}

#[tokio::test]
async fn without_a_list_the_makers_rule_is_tried() {
    let device = rtsp::Fake::start(|request| {
        let line = request.lines().next().unwrap().to_owned();
        match line.split(' ').next() {
            Some("DESCRIBE") if line.contains("/ch1 ") || line.contains("/ch3 ") => {
                rtsp::describe_ok()
            }
            Some("DESCRIBE") if line.contains("/ch2 ") => {
                rtsp::Reply::text("RTSP/1.0 500 Internal Server Error\r\n\r\n")
            }
            Some("DESCRIBE") => rtsp::Reply::text("RTSP/1.0 404 Not Found\r\n\r\n"),
            _ => rtsp::ok(),
        }
    });
    let detector = detector(&[own_maker(device.address.port())]);
    // Nothing listens on the web port.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let list = detector
        .channels(&request(port, Some("own")))
        .await
        .unwrap();
    assert_eq!(list.source, ChannelSource::ChannelRule);
    let states: Vec<_> = list
        .channels
        .iter()
        .map(|c| (c.facts.number, c.facts.state))
        .collect();
    use ChannelState::{Offline, Online};
    assert_eq!(states, [(1, Online), (2, Offline), (3, Online)]);
    assert!(list.url.to_string().ends_with("/ch1"));
}

#[tokio::test]
async fn a_closed_host_is_told_as_such() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let error = detector(&[])
        .channels(&request(port, Some("hikvision")))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Refused, "{error}");
}
