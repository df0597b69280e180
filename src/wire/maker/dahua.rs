//! The HTTP interface of Dahua and the brands built on it (HTTP API v2 and v3: configManager,
//! LogicDeviceManager, eventManager). Answers are lines of `key=value`; channels count from 0 there, and
//! from 1 in the paths of streams.

use super::{address, port, said};
use crate::model::{ChannelState, RecorderFacts};

pub const TITLES: &str = "/cgi-bin/configManager.cgi?action=getConfig&name=ChannelTitle";
pub const REMOTE_DEVICES: &str = "/cgi-bin/configManager.cgi?action=getConfig&name=RemoteDevice";
/// Connection of every channel, on recorders of network cameras.
pub const STATES: &str =
    "/cgi-bin/LogicDeviceManager.cgi?action=getCameraState&uniqueChannels[0]=-1";
/// Channels without a signal.
pub const VIDEO_LOSS: &str = "/cgi-bin/eventManager.cgi?action=getEventIndexes&code=VideoLoss";
pub const RTSP: &str = "/cgi-bin/configManager.cgi?action=getConfig&name=RTSP";

/// Keys of a recorder's own cameras, numbered from 0.
const NETWORK_CAMERA: &str = "System_CONFIG_NETCAMERA_INFO_";

/// The lines of an answer.
pub(super) fn pairs(answer: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let text = std::str::from_utf8(answer).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
}

/// `(7, "Name")` of `table.ChannelTitle[7].Name`, behind `name`.
pub(super) fn indexed<'k>(key: &'k str, name: &str) -> Option<(u32, &'k str)> {
    let (_, rest) = key.split_once(name)?;
    let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest.trim_start_matches('.')))
}

/// Takes in the answer to [`TITLES`]; true where it is one.
pub fn read_titles(answer: &[u8], facts: &mut RecorderFacts) -> bool {
    let mut is_one = false;
    for (key, value) in pairs(answer) {
        let Some((index, "Name")) = indexed(key, "ChannelTitle") else {
            continue;
        };
        if let Some(channel) = facts.channel(index.saturating_add(1)) {
            channel.name = said(value);
            is_one = true;
        }
    }
    is_one
}

/// Takes in the answer to [`REMOTE_DEVICES`]: which channels have a network camera, and which.
/// Channels that are not known yet are not made here: recorders list places beyond their own.
pub fn read_remote_devices(answer: &[u8], facts: &mut RecorderFacts) {
    let known = facts.channels.len();
    for (key, value) in pairs(answer) {
        let Some((_, rest)) = key.split_once(NETWORK_CAMERA) else {
            continue;
        };
        let Some((index, field)) = rest.split_once('.') else {
            continue;
        };
        let Some(number) = index.parse::<u32>().ok().map(|n| n.saturating_add(1)) else {
            continue;
        };
        if number as usize > known {
            continue;
        }
        let Some(channel) = facts.channel(number) else {
            continue;
        };
        match field {
            "Address" => channel.ip_address = address(value),
            "DeviceType" => channel.model = said(value),
            "Enable" if value == "false" => channel.state = ChannelState::Empty,
            _ => {}
        }
    }
}

/// Takes in the answer to [`STATES`] (`states[0].channel=0`, `states[0].connectionState=Connected`);
/// true where it is one. Channels that are not known are not made here.
pub fn read_states(answer: &[u8], facts: &mut RecorderFacts) -> bool {
    let mut is_one = false;
    let mut current = None;
    for (key, value) in pairs(answer) {
        match indexed(key, "states") {
            Some((_, "channel")) => {
                current = value.parse::<u32>().ok().map(|n| n.saturating_add(1));
            }
            Some((_, "connectionState")) => {
                is_one = true;
                let number = current.take();
                let known = facts.channels.iter_mut().find(|c| Some(c.number) == number);
                let Some(channel) = known else { continue };
                channel.state = match value {
                    "Connected" => ChannelState::Online,
                    "Empty" | "Disable" | "Disabled" => ChannelState::Empty,
                    _ => ChannelState::Offline,
                };
            }
            _ => {}
        }
    }
    is_one
}

/// Takes in the answer to [`VIDEO_LOSS`] (`channels[0]=3`): channels without a signal are offline, the
/// others online, as far as nothing better is known.
pub fn read_video_loss(answer: &[u8], facts: &mut RecorderFacts) {
    let lost: Vec<u32> = pairs(answer)
        .filter(|(key, _)| indexed(key, "channels").is_some())
        .filter_map(|(_, value)| value.parse::<u32>().ok())
        .map(|index| index.saturating_add(1))
        .collect();
    for channel in &mut facts.channels {
        if channel.state == ChannelState::Unknown {
            channel.state = match lost.contains(&channel.number) {
                true => ChannelState::Offline,
                false => ChannelState::Online,
            };
        }
    }
}

/// The port in the answer to [`RTSP`].
pub fn rtsp_port(answer: &[u8]) -> Option<u16> {
    let mut found = pairs(answer).filter(|(key, _)| *key == "table.RTSP.Port");
    found.find_map(|(_, value)| port(value))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const TITLES_TEXT: &str = "table.ChannelTitle[0].Name=Gate\r\ntable.ChannelTitle[0].SerialNo=\r\ntable.ChannelTitle[1].Name=Yard\r\ntable.ChannelTitle[2].Name=CAM3\r\n";
    pub(crate) const REMOTE_TEXT: &str = "table.RemoteDevice.uuid:System_CONFIG_NETCAMERA_INFO_0.Address=10.1.1.65\r\ntable.RemoteDevice.uuid:System_CONFIG_NETCAMERA_INFO_0.DeviceType=IPC-HFW4431\r\ntable.RemoteDevice.uuid:System_CONFIG_NETCAMERA_INFO_0.Enable=true\r\ntable.RemoteDevice.uuid:System_CONFIG_NETCAMERA_INFO_2.Enable=false\r\ntable.RemoteDevice.uuid:System_CONFIG_NETCAMERA_INFO_9.Address=10.1.1.74\r\n";
    pub(crate) const STATES_TEXT: &str = "states[0].channel=0\r\nstates[0].connectionState=Connected\r\nstates[1].channel=1\r\nstates[1].connectionState=Unconnect\r\nstates[2].channel=2\r\nstates[2].connectionState=Empty\r\nstates[3].channel=3\r\nstates[3].connectionState=Connected\r\n";

    fn titles() -> RecorderFacts {
        let mut facts = RecorderFacts::default();
        assert!(read_titles(TITLES_TEXT.as_bytes(), &mut facts));
        facts
    }

    fn states(facts: &RecorderFacts) -> Vec<(u32, ChannelState)> {
        facts.channels.iter().map(|c| (c.number, c.state)).collect()
    }

    #[test]
    fn channels_count_from_one_and_dead_ones_are_shown() {
        let mut facts = titles();
        read_remote_devices(REMOTE_TEXT.as_bytes(), &mut facts);
        assert_eq!(facts.channels[0].ip_address.as_deref(), Some("10.1.1.65"));
        assert_eq!(facts.channels[0].model.as_deref(), Some("IPC-HFW4431"));
        assert!(read_states(STATES_TEXT.as_bytes(), &mut facts));
        assert_eq!(
            states(&facts),
            [
                (1, ChannelState::Online),
                (2, ChannelState::Offline),
                (3, ChannelState::Empty)
            ]
        );
        assert_eq!(facts.channels[1].name.as_deref(), Some("Yard"));
    }

    #[test]
    fn analog_recorders_tell_which_signal_is_lost() {
        let mut facts = titles();
        assert!(!read_states(b"Error\r\nBad Request!\r\n", &mut facts));
        read_video_loss(b"channels[0]=1\r\n", &mut facts);
        let found: Vec<_> = facts.channels.iter().map(|c| c.state).collect();
        use ChannelState::{Offline, Online};
        assert_eq!(found, [Online, Offline, Online]);
    }

    #[test]
    fn the_port_of_rtsp() {
        assert_eq!(
            rtsp_port(b"table.RTSP.Enable=true\r\ntable.RTSP.Port=1554\r\n"),
            Some(1554)
        );
        assert_eq!(rtsp_port(b"table.RTSP.Port=0\r\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(text in "(states|channels|table.ChannelTitle|uuid:System_CONFIG_NETCAMERA_INFO_|[\\[\\]0-9=.\r\n]|Name|channel|\\PC){0,60}") {
            let mut facts = titles();
            read_titles(text.as_bytes(), &mut facts);
            read_remote_devices(text.as_bytes(), &mut facts);
            read_states(text.as_bytes(), &mut facts);
            read_video_loss(text.as_bytes(), &mut facts);
            let _ = rtsp_port(text.as_bytes());
        }
    }
}
