//! ISAPI, the HTTP interface of Hikvision and the brands built on it (ISAPI specification, "InputProxy",
//! "System/Video/inputs", "Security/adminAccesses"). XML whose namespace differs between brands.

use super::{address, port, said};
use crate::model::{ChannelState, RecorderChannel, RecorderFacts};
use crate::wire::xml::{Leaf, Step, XmlError, walk};

/// Network cameras of a recorder.
pub const PROXIED: &str = "/ISAPI/ContentMgmt/InputProxy/channels";
/// Which of them are connected.
pub const PROXIED_STATUS: &str = "/ISAPI/ContentMgmt/InputProxy/channels/status";
/// Analog inputs of a recorder; the one picture of a camera.
pub const INPUTS: &str = "/ISAPI/System/Video/inputs/channels";
/// Ports of the device's services.
pub const PROTOCOLS: &str = "/ISAPI/Security/adminAccesses";

/// Takes in the answer to [`PROXIED`]. Channels that are known keep what is not told here.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn read_proxied(answer: &[u8], facts: &mut RecorderFacts) -> Result<(), XmlError> {
    each(
        answer,
        "InputProxyChannel",
        facts,
        |channel, leaf| match leaf.name() {
            "name" if is_child(leaf) => channel.name = said(leaf.text),
            "ipAddress" | "ipv6Address" => {
                channel.ip_address = channel.ip_address.take().or_else(|| address(leaf.text));
            }
            "model" => channel.model = said(leaf.text),
            _ => {}
        },
    )
}

/// Takes in the answer to [`PROXIED_STATUS`].
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn read_proxied_status(answer: &[u8], facts: &mut RecorderFacts) -> Result<(), XmlError> {
    each(answer, "InputProxyChannelStatus", facts, |channel, leaf| {
        match leaf.name() {
            "online" => {
                channel.state = match leaf.text {
                    "true" | "1" => ChannelState::Online,
                    _ => ChannelState::Offline,
                };
            }
            // A channel without a camera is listed as one that is not online.
            "chanDetectResult" if leaf.text == "notExist" || leaf.text == "notConfigured" => {
                channel.state = ChannelState::Empty;
            }
            "ipAddress" => {
                channel.ip_address = channel.ip_address.take().or_else(|| address(leaf.text));
            }
            _ => {}
        }
    })
}

/// Takes in the answer to [`INPUTS`]. An input without a signal says `NO VIDEO` instead of a format.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn read_inputs(answer: &[u8], facts: &mut RecorderFacts) -> Result<(), XmlError> {
    each(
        answer,
        "VideoInputChannel",
        facts,
        |channel, leaf| match leaf.name() {
            "name" if is_child(leaf) => channel.name = said(leaf.text),
            "videoInputEnabled" if leaf.text == "false" => channel.state = ChannelState::Empty,
            "resDesc" if channel.state != ChannelState::Empty => {
                channel.state = match leaf.text.to_ascii_uppercase().as_str() {
                    "" => return,
                    "NO VIDEO" => ChannelState::Offline,
                    _ => ChannelState::Online,
                };
            }
            _ => {}
        },
    )
}

/// The port of RTSP in the answer to [`PROTOCOLS`]; `None` where it is off or not told.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn rtsp_port(answer: &[u8]) -> Result<Option<u16>, XmlError> {
    let (mut is_rtsp, mut is_on, mut number) = (false, true, None);
    let mut found = None;
    walk(answer, |step| match step {
        Step::Open(path) if ends_with(path, "AdminAccessProtocol") => {
            (is_rtsp, is_on, number) = (false, true, None);
        }
        Step::Leaf(leaf) if leaf.is_in("AdminAccessProtocol") => match leaf.name() {
            "protocol" => is_rtsp = leaf.text.eq_ignore_ascii_case("rtsp"),
            "enabled" => is_on = leaf.text != "false",
            "portNo" => number = port(leaf.text),
            _ => {}
        },
        Step::Close(path) if ends_with(path, "AdminAccessProtocol") && is_rtsp && is_on => {
            found = found.or(number);
        }
        _ => {}
    })?;
    Ok(found)
}

/// Hands every leaf of every `element` to `take`, with the channel that its `id` names. The id comes
/// first in all answers that were seen; what stands before it is lost.
fn each(
    answer: &[u8],
    element: &str,
    facts: &mut RecorderFacts,
    mut take: impl FnMut(&mut RecorderChannel, &Leaf<'_>),
) -> Result<(), XmlError> {
    let mut number = 0;
    walk(answer, |step| match step {
        Step::Open(path) if ends_with(path, element) => number = 0,
        Step::Leaf(leaf) if leaf.is_in(element) => {
            let parent = leaf.path.iter().rev().nth(1);
            if leaf.name() == "id" && parent.is_some_and(|name| name == element) {
                number = leaf.text.parse().unwrap_or(0);
            }
            if let Some(channel) = facts.channel(number) {
                take(channel, &leaf);
            }
        }
        _ => {}
    })
}

fn ends_with(path: &[String], name: &str) -> bool {
    path.last().is_some_and(|last| last == name)
}

/// The channel's own name, not that of something inside it.
fn is_child(leaf: &Leaf<'_>) -> bool {
    let parent = leaf.path.iter().rev().nth(1);
    parent.is_some_and(|name| name.ends_with("Channel"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const PROXIED_XML: &str = r#"<?xml version="1.0" encoding="UTF-8" ?>
<InputProxyChannelList version="1.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">
<InputProxyChannel version="1.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">
<id>1</id><name>Gate &amp; Yard</name>
<sourceInputPortDescriptor><proxyProtocol>HIKVISION</proxyProtocol><addressingFormatType>ipaddress</addressingFormatType>
<ipAddress>192.168.254.2</ipAddress><managePortNo>8000</managePortNo><srcInputPort>1</srcInputPort><userName>admin</userName>
<streamType>auto</streamType><model>DS-2CD2042WD-I</model></sourceInputPortDescriptor>
<enableTiming>true</enableTiming></InputProxyChannel>
<InputProxyChannel><id>2</id><name>Hall</name><sourceInputPortDescriptor><ipAddress>192.168.254.3</ipAddress></sourceInputPortDescriptor></InputProxyChannel>
<InputProxyChannel><id>3</id><name></name><sourceInputPortDescriptor><ipAddress>0.0.0.0</ipAddress></sourceInputPortDescriptor></InputProxyChannel>
</InputProxyChannelList>"#;

    pub(crate) const STATUS_XML: &str = r#"<InputProxyChannelStatusList xmlns="http://www.isapi.org/ver20/XMLSchema">
<InputProxyChannelStatus><id>1</id><sourceInputPortDescriptor><ipAddress>192.168.254.2</ipAddress></sourceInputPortDescriptor><online>true</online>
<streamingProxyChannelIdList><streamingProxyChannelId>101</streamingProxyChannelId><streamingProxyChannelId>102</streamingProxyChannelId></streamingProxyChannelIdList><chanDetectResult>connect</chanDetectResult></InputProxyChannelStatus>
<InputProxyChannelStatus><id>2</id><online>false</online><chanDetectResult>netUnreachable</chanDetectResult></InputProxyChannelStatus>
<InputProxyChannelStatus><id>3</id><online>false</online><chanDetectResult>notExist</chanDetectResult></InputProxyChannelStatus>
</InputProxyChannelStatusList>"#;

    pub(crate) const PROTOCOLS_XML: &str = r#"<AdminAccessProtocolList><AdminAccessProtocol><id>1</id><enabled>true</enabled><protocol>HTTP</protocol><portNo>80</portNo></AdminAccessProtocol>
<AdminAccessProtocol><id>4</id><enabled>true</enabled><protocol>RTSP</protocol><portNo>10554</portNo></AdminAccessProtocol></AdminAccessProtocolList>"#;

    /// A hybrid recorder: two analog inputs first.
    const INPUTS_XML: &str = r#"<VideoInputChannelList><VideoInputChannel><id>1</id><inputPort>1</inputPort><videoInputEnabled>true</videoInputEnabled><name>Camera 01</name><videoFormat>PAL</videoFormat><portType>BNC</portType><resDesc>1080P25</resDesc></VideoInputChannel>
<VideoInputChannel><id>2</id><name>Camera 02</name><resDesc>NO VIDEO</resDesc></VideoInputChannel>
<VideoInputChannel><id>4</id><videoInputEnabled>false</videoInputEnabled><name>Off</name><resDesc>NO VIDEO</resDesc></VideoInputChannel></VideoInputChannelList>"#;

    #[test]
    fn network_cameras_with_their_state() {
        let mut facts = RecorderFacts::default();
        read_proxied(PROXIED_XML.as_bytes(), &mut facts).unwrap();
        read_proxied_status(STATUS_XML.as_bytes(), &mut facts).unwrap();
        let [gate, hall, empty] = facts.channels.as_slice() else {
            panic!("{facts:?}")
        };
        assert_eq!(gate.name.as_deref(), Some("Gate & Yard"));
        assert_eq!(gate.model.as_deref(), Some("DS-2CD2042WD-I"));
        assert_eq!(gate.ip_address.as_deref(), Some("192.168.254.2"));
        assert_eq!(gate.state, ChannelState::Online);
        assert_eq!(
            (hall.number, hall.state),
            (2, ChannelState::Offline),
            "a dead channel is shown"
        );
        assert_eq!((empty.state, &empty.name), (ChannelState::Empty, &None));
        assert_eq!(empty.ip_address, None);
    }

    #[test]
    fn analog_inputs_with_their_signal() {
        let mut facts = RecorderFacts::default();
        read_inputs(INPUTS_XML.as_bytes(), &mut facts).unwrap();
        let states: Vec<_> = facts.channels.iter().map(|c| (c.number, c.state)).collect();
        assert_eq!(
            states,
            [
                (1, ChannelState::Online),
                (2, ChannelState::Offline),
                (4, ChannelState::Empty)
            ]
        );
        assert_eq!(facts.channels[0].name.as_deref(), Some("Camera 01"));
    }

    #[test]
    fn the_port_of_rtsp() {
        assert_eq!(rtsp_port(PROTOCOLS_XML.as_bytes()), Ok(Some(10554)));
        let off = PROTOCOLS_XML.replace(
            "<enabled>true</enabled><protocol>RTSP",
            "<enabled>false</enabled><protocol>RTSP",
        );
        assert_eq!(rtsp_port(off.as_bytes()), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(
            id in "[0-9]{0,6}", name in "\\PC{0,20}", tail in proptest::collection::vec(proptest::num::u8::ANY, 0..40)
        ) {
            let mut facts = RecorderFacts::default();
            for element in ["InputProxyChannel", "InputProxyChannelStatus", "VideoInputChannel"] {
                let mut answer = format!("<l><{element}><id>{id}</id><name>{name}</name><online>{name}</online></{element}>").into_bytes();
                answer.extend_from_slice(&tail);
                let _ = read_proxied(&answer, &mut facts);
                let _ = read_proxied_status(&answer, &mut facts);
                let _ = read_inputs(&answer, &mut facts);
                let _ = rtsp_port(&answer);
            }
            proptest::prop_assert!(facts.channels.len() <= 1);
        }
    }
}
