//! Codecs without input or output: bytes in, values out. No sockets, files, clocks or logs here.

pub mod annexb;
pub mod arp;
pub mod auth;
pub mod bpf;
pub mod discovery;
pub mod icmpv6;
pub mod ipv4;
pub mod issue;
pub mod jpeg;
pub mod m3u8;
pub mod mjpeg;
pub mod neigh;
pub mod onvif;
pub mod parameters;
pub mod picture;
pub mod rate;
pub mod rtp;
pub mod rtsp;
pub mod sdp;
pub mod soap;
pub mod ts;
pub mod video;
pub mod wsd;
pub mod x509;
pub mod xml;
