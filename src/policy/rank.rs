//! Which of several ways that work is recommended, and what to tell when none does.

use crate::model::{ConnectionType, ErrorCode, Evidence, Outcome, StreamRole};

/// Larger is better, compared field by field: evidence, stream, kind of connection, encryption,
/// size, and last the speed.
pub type Rank = (Evidence, u8, u8, bool, u64, std::cmp::Reverse<u32>);

/// The order of the contract: a proven key frame before a still picture before a description; main
/// before sub; RTSP before WebRTC before HLS before MJPEG before snapshots; of the same kind the
/// encrypted one; then resolution, then response time.
pub fn rank(outcome: &Outcome) -> Rank {
    (
        outcome.evidence,
        role_rank(outcome.role),
        kind_rank(outcome.connection_type, outcome.role),
        outcome.url.scheme.is_tls(),
        outcome.media.pixels(),
        std::cmp::Reverse(outcome.response_time_ms),
    )
}

fn role_rank(role: StreamRole) -> u8 {
    match role {
        StreamRole::Main | StreamRole::Any => 5,
        StreamRole::Sub => 4,
        StreamRole::Third | StreamRole::Fourth => 3,
        StreamRole::Thermal | StreamRole::Autotrack => 2,
        StreamRole::Snapshot => 1,
    }
}

fn kind_rank(connection: ConnectionType, role: StreamRole) -> u8 {
    match connection {
        _ if role == StreamRole::Snapshot => 1,
        ConnectionType::Rtsp => 9,
        ConnectionType::Onvif => 8,
        ConnectionType::Webrtc => 7,
        ConnectionType::Hls => 6,
        ConnectionType::Rtmp => 5,
        ConnectionType::HttpMjpeg | ConnectionType::Https => 4,
        _ => 2,
    }
}

/// One line that says why this one was chosen: `video key frame proven, main stream, 1920x1080`.
pub fn reason(winner: &Outcome) -> String {
    let proof = match winner.evidence {
        Evidence::KeyFrame => "video key frame proven",
        Evidence::Picture => "still picture proven",
        Evidence::Description => "described by the device, no picture seen",
        Evidence::Answer => "the device answers, no picture seen",
    };
    let stream = match winner.role {
        StreamRole::Any | StreamRole::Main => "main stream".to_owned(),
        StreamRole::Snapshot => "snapshots".to_owned(),
        other => format!("{} stream", other.as_str()),
    };
    let mut line = format!("{proof}, {stream}");
    if let Some(resolution) = winner.media.resolution() {
        line.push_str(&format!(", {resolution}"));
    }
    if winner.url.scheme.is_tls() {
        line.push_str(", encrypted");
    }
    line
}

/// One sentence a person can act on, from all that failed.
pub fn hint(host: &str, errors: &[ErrorCode], open_ports: &[u16]) -> String {
    let has = |code: ErrorCode| errors.contains(&code);
    if has(ErrorCode::AuthFailed) {
        format!(
            "{host} refused the login: check user name and password before trying again, cameras lock accounts."
        )
    } else if has(ErrorCode::AuthRequired) {
        format!("{host} is there and asks for a login: give its user name and password.")
    } else if has(ErrorCode::Busy) {
        format!("{host} has no free session: close another viewer or recorder and try again.")
    } else if has(ErrorCode::NoFrame) {
        format!(
            "{host} accepts the connection but sends no picture: check that its encoder is on, or restart it."
        )
    } else if has(ErrorCode::UnsupportedCodec) {
        format!("{host} sends a codec that cannot be checked: set it to H.264 or H.265.")
    } else if has(ErrorCode::NotFound) {
        format!(
            "{host} speaks, but knows none of the paths that were tried: name its manufacturer, or give the stream's URL."
        )
    } else if has(ErrorCode::Tls) {
        format!("{host} could not agree on encryption: its firmware may be too old for TLS 1.2.")
    } else if has(ErrorCode::Protocol) || has(ErrorCode::Reset) || !open_ports.is_empty() {
        let ports: Vec<String> = open_ports.iter().map(u16::to_string).collect();
        format!(
            "{host} answers on port {}, but not as a camera does: is this the right address?",
            ports.join(", ")
        )
    } else if has(ErrorCode::Refused) {
        format!(
            "{host} is on, but no camera port is open: switch RTSP or ONVIF on in its settings, or name its port."
        )
    } else {
        format!("{host} does not answer: check its power, cable and address.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MediaFacts, StreamUrl};

    fn outcome(url: &str, role: StreamRole, evidence: Evidence, width: u32) -> Outcome {
        let url = StreamUrl::parse(url).unwrap().url;
        Outcome {
            connection_type: url.connection_type(),
            url,
            role,
            evidence,
            media: MediaFacts {
                width: Some(width),
                height: Some(1),
                ..MediaFacts::default()
            },
            transport: "tcp",
            response_time_ms: 10,
            first_frame_ms: None,
            certificate: None,
        }
    }

    #[test]
    fn the_contracts_order() {
        use Evidence::{Description, KeyFrame, Picture};
        use StreamRole::{Main, Snapshot, Sub};
        let best_first = [
            outcome("rtsps://h/a", Main, KeyFrame, 640),
            outcome("rtsp://h/big", Main, KeyFrame, 1920),
            outcome("rtsp://h/small", Main, KeyFrame, 640),
            outcome("http://h/x.m3u8", Main, KeyFrame, 1920),
            outcome("https://h/mjpeg", Main, KeyFrame, 1920),
            outcome("http://h/mjpeg", Main, KeyFrame, 1920),
            outcome("rtsp://h/sub", Sub, KeyFrame, 640),
            outcome("http://h/jpg", Snapshot, Picture, 1920),
            outcome("rtsp://h/described", Main, Description, 4000),
        ];
        assert!(best_first.is_sorted_by(|a, b| rank(a) > rank(b)));
        let slow = Outcome {
            response_time_ms: 99,
            ..best_first[1].clone()
        };
        assert!(rank(&best_first[1]) > rank(&slow));
    }

    #[test]
    fn says_why() {
        let o = outcome("rtsps://h/a", StreamRole::Main, Evidence::KeyFrame, 1920);
        assert_eq!(
            reason(&o),
            "video key frame proven, main stream, 1920x1, encrypted"
        );
    }

    #[test]
    fn hints_name_what_to_do() {
        use ErrorCode::{AuthFailed, NotFound, Refused, Timeout};
        assert!(hint("10.0.0.9", &[NotFound, AuthFailed], &[554]).contains("password"));
        assert!(hint("10.0.0.9", &[NotFound, Refused], &[554]).contains("manufacturer"));
        assert!(hint("10.0.0.9", &[Refused], &[]).contains("switch RTSP"));
        assert!(hint("10.0.0.9", &[Timeout], &[]).contains("power"));
        assert!(hint("10.0.0.9", &[Refused], &[22]).contains("right address"));
    }
}
