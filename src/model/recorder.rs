use serde::{Deserialize, Serialize};

/// Channels of one recorder that are read: the largest ones have 256 inputs.
pub const CHANNELS_MAX: usize = 256;

/// How a recorder was asked for its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelSource {
    /// Hikvision and its brands, over HTTP.
    Isapi,
    /// Dahua and its brands, over HTTP.
    DahuaCgi,
    /// Reolink's JSON over HTTP.
    Reolink,
    /// Xiongmai's own protocol (XMEye, Sofia), TCP port 34567.
    Dvrip,
    /// Video sources of an ONVIF device.
    Onvif,
    /// The maker's rule for stream paths, tried channel by channel.
    ChannelRule,
}

impl ChannelSource {
    /// Those that are a maker's own, in the order in which an unknown device is asked.
    pub const OF_MAKERS: [ChannelSource; 4] =
        [Self::Isapi, Self::DahuaCgi, Self::Reolink, Self::Dvrip];

    /// `isapi`, `dahua_cgi`, ...: as in `nvr://host?api=isapi`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Isapi => "isapi",
            Self::DahuaCgi => "dahua_cgi",
            Self::Reolink => "reolink",
            Self::Dvrip => "dvrip",
            Self::Onvif => "onvif",
            Self::ChannelRule => "channel_rule",
        }
    }

    /// The catalogue entry whose devices answer this way; its templates lead to their streams.
    pub fn maker_id(self) -> Option<&'static str> {
        match self {
            Self::Isapi => Some("hikvision"),
            Self::DahuaCgi => Some("dahua"),
            Self::Reolink => Some("reolink"),
            Self::Dvrip => Some("xiongmai"),
            Self::Onvif | Self::ChannelRule => None,
        }
    }
}

/// What a recorder says of one of its channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Pictures arrive at the recorder.
    Online,
    /// There is a camera, but none of its pictures arrive.
    Offline,
    /// Nothing is connected.
    Empty,
    /// The recorder does not tell.
    #[default]
    Unknown,
}

impl ChannelState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        }
    }
}

/// One channel of a recorder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecorderChannel {
    /// From 1, in the counting of the maker's RTSP paths.
    pub number: u32,
    /// As people named it in the recorder; at most 120 characters.
    pub name: Option<String>,
    pub state: ChannelState,
    /// Of the camera behind it.
    pub model: Option<String>,
    /// Of the camera behind it: often in a network of the recorder's own.
    pub ip_address: Option<String>,
}

impl RecorderChannel {
    pub fn new(number: u32) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }
}

/// What a recorder tells of itself and its channels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecorderFacts {
    /// By number, ascending, none twice.
    pub channels: Vec<RecorderChannel>,
    /// `None` where it does not tell.
    pub rtsp_port: Option<u16>,
}

impl RecorderFacts {
    /// The channel with this number, made where it is not there yet; `None` for a number that no
    /// recorder has.
    pub fn channel(&mut self, number: u32) -> Option<&mut RecorderChannel> {
        if number == 0 || number as usize > CHANNELS_MAX {
            return None;
        }
        let at = match self.channels.binary_search_by_key(&number, |c| c.number) {
            Ok(at) => at,
            Err(at) => {
                self.channels.insert(at, RecorderChannel::new(number));
                at
            }
        };
        self.channels.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_stand_in_order_and_once() {
        let mut facts = RecorderFacts::default();
        for number in [3, 1, 3, 0, 257, 2] {
            if let Some(channel) = facts.channel(number) {
                channel.state = ChannelState::Online;
            }
        }
        let numbers: Vec<u32> = facts.channels.iter().map(|c| c.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
    }
}
