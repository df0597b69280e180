//! What a receiver of video asks for over RTCP: key frames and lost packets (RFC 4585), each in a
//! compound packet behind an empty report (RFC 3550 section 6.1).

const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// Asks the sender `media` for a key frame (PLI, RFC 4585 section 6.3.1).
pub fn picture_loss(from: u32, media: u32) -> Vec<u8> {
    feedback(PAYLOAD_FEEDBACK, from, media, &[])
}

/// Asks the sender `media` for these packets again (RFC 4585 section 6.2.1): `first`, and behind it
/// those whose bit is set in `following`, the lowest bit for the next one.
pub fn lost_packets(from: u32, media: u32, first: u16, following: u16) -> Vec<u8> {
    let [a, b] = first.to_be_bytes();
    let [c, d] = following.to_be_bytes();
    feedback(TRANSPORT_FEEDBACK, from, media, &[a, b, c, d])
}

fn feedback(kind: u8, from: u32, media: u32, content: &[u8]) -> Vec<u8> {
    let from = from.to_be_bytes();
    let words_behind_first = 2 + (content.len() / 4) as u8;
    let mut packet = vec![0x80, RECEIVER_REPORT, 0, 1];
    packet.extend_from_slice(&from);
    packet.extend_from_slice(&[0x81, kind, 0, words_behind_first]);
    packet.extend_from_slice(&from);
    packet.extend_from_slice(&media.to_be_bytes());
    packet.extend_from_slice(content);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_as_the_standard_lays_them_out() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
        let key_frame = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(picture_loss(1, 2), [&report[..], &key_frame].concat());
        let lost = [
            0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0xab, 0xcd, 0x80, 0x01,
        ];
        assert_eq!(
            lost_packets(1, 2, 0xabcd, 0x8001),
            [&report[..], &lost].concat()
        );
    }
}
