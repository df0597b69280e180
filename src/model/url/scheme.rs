/// The URL forms of the REST contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Rtsp,
    Rtsps,
    Rtmp,
    Rtmps,
    Http,
    Https,
    WhepHttp,
    WhepHttps,
    Onvif,
    /// A recorder, by the API of its maker: `nvr://host?api=isapi&channel=2`.
    Nvr,
    Usb,
    File,
}

impl Scheme {
    pub const ALL: [Scheme; 12] = [
        Self::Rtsp,
        Self::Rtsps,
        Self::Rtmp,
        Self::Rtmps,
        Self::Http,
        Self::Https,
        Self::WhepHttp,
        Self::WhepHttps,
        Self::Onvif,
        Self::Nvr,
        Self::Usb,
        Self::File,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp",
            Self::Rtsps => "rtsps",
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
            Self::Http => "http",
            Self::Https => "https",
            Self::WhepHttp => "whep+http",
            Self::WhepHttps => "whep+https",
            Self::Onvif => "onvif",
            Self::Nvr => "nvr",
            Self::Usb => "usb",
            Self::File => "file",
        }
    }

    /// Port when the URL names none; 0 for local schemes.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Rtsp => 554,
            Self::Rtsps => 322,
            Self::Rtmp => 1935,
            Self::Rtmps | Self::Https | Self::WhepHttps => 443,
            Self::Http | Self::WhepHttp | Self::Onvif | Self::Nvr => 80,
            Self::Usb | Self::File => 0,
        }
    }

    /// True where the bytes on the wire are encrypted.
    pub fn is_tls(self) -> bool {
        matches!(
            self,
            Self::Rtsps | Self::Rtmps | Self::Https | Self::WhepHttps
        )
    }

    /// True where there is no host to dial.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Usb | Self::File)
    }

    /// Most cameras' URLs show their RTSP port; web ports are left out when they are the default.
    pub(super) fn always_shows_port(self) -> bool {
        matches!(self, Self::Rtsp | Self::Rtsps)
    }
}
