use super::media::{
    Version, get_profiles, get_snapshot_uri, get_stream_uri, profiles, ranked, uri,
};
use super::*;
use crate::model::{Codec, StreamRole};
use crate::wire::soap::{Body, body, envelope};

fn answer(body: &str) -> Vec<u8> {
    format!("<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://www.w3.org/2003/05/soap-envelope\"><SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>").into_bytes()
}

fn clock(inner: &str) -> Option<String> {
    let body = format!(
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>{inner}</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    );
    date_and_time(&answer(&body))
        .unwrap()
        .map(|t| t.to_string())
}

#[test]
fn calls_are_whole_messages() {
    let calls = [
        get_system_date_and_time(),
        get_device_information(),
        get_services(),
        get_capabilities(),
        get_network_interfaces(),
        get_profiles(Version::Media1),
        get_profiles(Version::Media2),
        get_stream_uri(Version::Media1, "a&b"),
        get_stream_uri(Version::Media2, "a&b"),
        get_snapshot_uri(Version::Media2, "a&b"),
        ptz::get_nodes(),
    ];
    for call in calls {
        let message = envelope(None, &call.body);
        assert_eq!(body(message.as_bytes()), Ok(Body::Result), "{}", call.body);
        assert!(call.action.starts_with("http://www.onvif.org/ver"));
    }
    let stream = get_stream_uri(Version::Media2, "a&b");
    assert_eq!(
        stream.action,
        "http://www.onvif.org/ver20/media/wsdl/GetStreamUri"
    );
    assert!(stream.body.contains("<ProfileToken>a&amp;b</ProfileToken>"));
}

#[test]
fn the_clock_in_utc_and_nothing_else() {
    let utc = "<tt:TimeZone><tt:TZ>CST-8</tt:TZ></tt:TimeZone><tt:UTCDateTime><tt:Time><tt:Hour>7</tt:Hour><tt:Minute>5</tt:Minute><tt:Second>60</tt:Second></tt:Time><tt:Date><tt:Year>2021</tt:Year><tt:Month>2</tt:Month><tt:Day>28</tt:Day></tt:Date></tt:UTCDateTime><tt:LocalDateTime><tt:Time><tt:Hour>15</tt:Hour></tt:Time></tt:LocalDateTime>";
    assert_eq!(clock(utc).as_deref(), Some("2021-02-28T07:05:59Z"));
    let none = "<tt:UTCDateTime><tt:Date><tt:Year>0</tt:Year><tt:Month>0</tt:Month><tt:Day>0</tt:Day></tt:Date></tt:UTCDateTime>";
    assert_eq!(clock(none), None);
    assert_eq!(clock("<tt:LocalDateTime/>"), None);
    let epoch = "<UTCDateTime><Date><Year>1970</Year></Date></UTCDateTime>";
    assert_eq!(clock(epoch).as_deref(), Some("1970-01-01T00:00:00Z"));
}

#[test]
fn device_information_with_blanks_and_gaps() {
    let body = "<tds:GetDeviceInformationResponse><tds:Manufacturer> HIKVISION\n</tds:Manufacturer><tds:Model>DS-2CD2042WD</tds:Model><tds:FirmwareVersion/><tds:SerialNumber>DS-2CD2042WD20150101</tds:SerialNumber></tds:GetDeviceInformationResponse>";
    let read = device_information(&answer(body)).unwrap();
    assert_eq!(read.manufacturer.as_deref(), Some("HIKVISION"));
    assert_eq!(read.model.as_deref(), Some("DS-2CD2042WD"));
    assert_eq!((read.firmware_version, read.hardware_id), (None, None));
}

#[test]
fn services_by_either_question() {
    let body = "<tds:GetServicesResponse><tds:Service><tds:Namespace>http://www.onvif.org/ver10/device/wsdl</tds:Namespace><tds:XAddr>http://10.0.0.9/onvif/device_service</tds:XAddr></tds:Service><tds:Service><tds:XAddr>http://10.0.0.9/onvif/media2_service</tds:XAddr><tds:Namespace>http://www.onvif.org/ver20/media/wsdl</tds:Namespace></tds:Service><tds:Service><tds:Namespace>http://www.onvif.org/ver20/ptz/wsdl/</tds:Namespace><tds:XAddr>http://10.0.0.9/onvif/ptz</tds:XAddr></tds:Service></tds:GetServicesResponse>";
    let read = services(&answer(body)).unwrap();
    assert_eq!(read.media, None);
    assert_eq!(
        read.media2.as_deref(),
        Some("http://10.0.0.9/onvif/media2_service")
    );
    assert_eq!(read.ptz.as_deref(), Some("http://10.0.0.9/onvif/ptz"));

    let body = "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Device><tt:XAddr>http://h/onvif/device_service</tt:XAddr></tt:Device><tt:Media><tt:XAddr>http://h/onvif/Media</tt:XAddr><tt:StreamingCapabilities/></tt:Media><tt:PTZ><tt:XAddr>http://h/onvif/PTZ</tt:XAddr></tt:PTZ></tds:Capabilities></tds:GetCapabilitiesResponse>";
    let read = services(&answer(body)).unwrap();
    assert_eq!(read.media.as_deref(), Some("http://h/onvif/Media"));
    assert_eq!(read.ptz.as_deref(), Some("http://h/onvif/PTZ"));
}

#[test]
fn the_mac_of_the_interface_that_was_dialled() {
    let interface = |mac: &str, ip: &str| {
        format!(
            "<tds:NetworkInterfaces token=\"eth\"><tt:Enabled>true</tt:Enabled><tt:Info><tt:HwAddress>{mac}</tt:HwAddress></tt:Info><tt:IPv4><tt:Config><tt:Manual><tt:Address>{ip}</tt:Address></tt:Manual></tt:Config></tt:IPv4></tds:NetworkInterfaces>"
        )
    };
    let two = format!(
        "<R>{}{}</R>",
        interface("00:00:00:00:00:00", "1.2.3.4"),
        interface("44-19-B6-4D-00-11", "10.0.0.9")
    );
    let ip = |text: &str| text.parse().ok();
    let expected = Some("44:19:b6:4d:00:11".to_owned());
    assert_eq!(mac(&answer(&two), ip("10.0.0.9")), Ok(expected.clone()));
    assert_eq!(mac(&answer(&two), None), Ok(expected));
    let second = format!(
        "<R>{}{}</R>",
        interface("02AABBCCDDEE", "1.2.3.4"),
        interface("4419b64d0011", "10.0.0.9")
    );
    assert_eq!(
        mac(&answer(&second), ip("10.0.0.9")),
        Ok(Some("44:19:b6:4d:00:11".into()))
    );
    let bad = interface("01:00:5e:00:00:01", "10.0.0.9");
    assert_eq!(mac(&answer(&bad), None), Ok(None));
}

const MEDIA1: &str = "<trt:GetProfilesResponse><trt:Profiles fixed=\"true\" token=\"sub\"><tt:Name>subStream</tt:Name><tt:VideoSourceConfiguration token=\"vs\"><tt:Name>v</tt:Name><tt:SourceToken>VideoSource_1</tt:SourceToken><tt:Bounds width=\"2560\" height=\"1440\"/></tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration token=\"ve\"><tt:Name>e</tt:Name><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>640</tt:Width><tt:Height>360</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>15</tt:FrameRateLimit></tt:RateControl></tt:VideoEncoderConfiguration></trt:Profiles><trt:Profiles token=\"main\"><tt:Name>mainStream</tt:Name><tt:VideoSourceConfiguration><tt:SourceToken>VideoSource_1</tt:SourceToken></tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>2560</tt:Width><tt:Height>1440</tt:Height></tt:Resolution></tt:VideoEncoderConfiguration><tt:PTZConfiguration token=\"p\"/></trt:Profiles><trt:Profiles token=\"jpeg\"><tt:VideoSourceConfiguration><tt:SourceToken>VideoSource_1</tt:SourceToken></tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration><tt:Encoding>JPEG</tt:Encoding><tt:Resolution><tt:Width>9999999</tt:Width><tt:Height>0</tt:Height></tt:Resolution></tt:VideoEncoderConfiguration></trt:Profiles><trt:Profiles token=\"sound only\"/></trt:GetProfilesResponse>";

#[test]
fn profiles_of_media_1_best_first() {
    let read = ranked(profiles(&answer(MEDIA1)).unwrap());
    assert!(read.iter().all(|(channel, ..)| *channel == 1));
    let shown: Vec<_> = read
        .iter()
        .map(|(_, role, p)| (*role, p.token.as_str(), p.media.resolution(), p.media.fps))
        .collect();
    let size = |text: &str| Some(text.to_owned());
    assert_eq!(
        shown,
        [
            (StreamRole::Main, "main", size("2560x1440"), None),
            (StreamRole::Sub, "sub", size("640x360"), Some(15.0)),
            (StreamRole::Third, "jpeg", None, None),
        ]
    );
    assert!(read[0].2.has_ptz && !read[1].2.has_ptz);
    assert_eq!(read[1].2.name, "subStream");
}

#[test]
fn profiles_of_media_2_with_h265_and_channels() {
    let profile = |token: &str, source: &str, width: u32| {
        format!(
            "<tr2:Profiles token='{token}'><tr2:Name>n</tr2:Name><tr2:Configurations><tr2:VideoSource token='c'><tt:SourceToken>{source}</tt:SourceToken></tr2:VideoSource><tr2:VideoEncoder token='v' GovLength='50'><tt:Encoding>H265</tt:Encoding><tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>100</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>12.5</tt:FrameRateLimit></tt:RateControl></tr2:VideoEncoder></tr2:Configurations></tr2:Profiles>"
        )
    };
    let body = format!(
        "<tr2:GetProfilesResponse>{}{}{}{}</tr2:GetProfilesResponse>",
        profile("a", "s1", 1920),
        profile("b", "s2", 640),
        profile("c", "s2", 1280),
        profile("c", "s2", 1280)
    );
    let read = profiles(&answer(&body)).unwrap();
    assert_eq!(read.len(), 3, "a token stands once");
    assert_eq!(
        (read[0].media.codec, read[0].media.fps),
        (Some(Codec::H265), Some(12.5))
    );
    let second: Vec<_> = ranked(read)
        .into_iter()
        .filter(|(channel, ..)| *channel == 2)
        .map(|(_, r, p)| (r, p.token))
        .collect();
    assert_eq!(
        second,
        [
            (StreamRole::Main, "c".to_owned()),
            (StreamRole::Sub, "b".to_owned())
        ]
    );
}

#[test]
fn addresses_of_both_services() {
    let one = "<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://10.0.0.9/s?a=1&amp;b=2</tt:Uri><tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:GetStreamUriResponse>";
    assert_eq!(
        uri(&answer(one)).unwrap().as_deref(),
        Some("rtsp://10.0.0.9/s?a=1&b=2")
    );
    let two =
        "<tr2:GetStreamUriResponse><tr2:Uri>rtsp://10.0.0.9/s</tr2:Uri></tr2:GetStreamUriResponse>";
    assert_eq!(
        uri(&answer(two)).unwrap().as_deref(),
        Some("rtsp://10.0.0.9/s")
    );
    assert_eq!(uri(&answer("<R><Uri/></R>")).unwrap(), None);
}

#[test]
fn motors() {
    let body = "<tptz:GetNodesResponse><tptz:PTZNode token=\"n\"><tt:SupportedPTZSpaces><tt:ContinuousPanTiltVelocitySpace><tt:URI>u</tt:URI></tt:ContinuousPanTiltVelocitySpace><tt:AbsoluteZoomPositionSpace/></tt:SupportedPTZSpaces><tt:MaximumNumberOfPresets>300</tt:MaximumNumberOfPresets><tt:HomeSupported>true</tt:HomeSupported></tptz:PTZNode></tptz:GetNodesResponse>";
    let can = ptz::abilities(&answer(body)).unwrap().unwrap();
    assert!(can.pan_tilt && can.zoom && can.absolute && can.continuous && can.home);
    assert!(!can.relative);
    assert_eq!(can.presets_max, 300);
    assert_eq!(
        ptz::abilities(&answer("<tptz:GetNodesResponse/>")),
        Ok(None)
    );
}

/// Every reader over every answer.
fn read_all(bytes: &[u8]) {
    let _ = date_and_time(bytes);
    let _ = device_information(bytes);
    let _ = services(bytes);
    let _ = mac(bytes, None);
    let _ = profiles(bytes).map(ranked);
    let _ = uri(bytes);
    let _ = ptz::abilities(bytes);
}

#[test]
fn no_truncation_panics() {
    let whole = answer(MEDIA1);
    (0..whole.len()).for_each(|n| read_all(&whole[..n]));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn no_elements_panic(parts in proptest::collection::vec("(<(Profiles|GetProfilesResponse|Width|UTCDateTime|Year|Service|PTZNode|Uri|HwAddress)( token='x')?>|</(Profiles|Width|Year|Service)>|[0-9a-f:-]{0,20})", 0..30)) {
        read_all(parts.concat().as_bytes());
    }

    #[test]
    fn times_read_back(unix_s in 0_i64..4_000_000_000) {
        let time = Timestamp::from_unix_s(unix_s).to_string();
        let field = |from: usize, to: usize| time[from..to].to_owned();
        let body = format!(
            "<UTCDateTime><Time><Hour>{}</Hour><Minute>{}</Minute><Second>{}</Second></Time><Date><Year>{}</Year><Month>{}</Month><Day>{}</Day></Date></UTCDateTime>",
            field(11, 13), field(14, 16), field(17, 19), field(0, 4), field(5, 7), field(8, 10),
        );
        proptest::prop_assert_eq!(date_and_time(&answer(&body)).unwrap(), Some(Timestamp::from_unix_s(unix_s)));
    }
}
