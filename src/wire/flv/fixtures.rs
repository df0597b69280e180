//! Video tags and files for the tests of FLV, RTMP and HTTP-FLV.

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

/// Behind the tag's first bytes: `avcC` of 1920x1080 at 25 fps.
pub(crate) fn avc_record() -> Vec<u8> {
    let sequence = bytes("6742c028da01e0089f97011000000300100000030320f1832a");
    let mut record = vec![1, 0x42, 0xc0, 0x28, 0xff, 0xe1, 0, sequence.len() as u8];
    record.extend_from_slice(&sequence);
    record.extend_from_slice(&[1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
    record
}

/// `hvcC` of 1920x1080 at 25 fps.
pub(crate) fn hevc_record() -> Vec<u8> {
    let sets = [
        (32, "40010c01ffff016000000300900000030000030078ac09"),
        (
            33,
            "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84",
        ),
        (34, "4401c0f2f03324"),
    ];
    let mut record = vec![0; 22];
    record[0] = 1;
    record[21] = 0xff;
    record.push(sets.len() as u8);
    for (kind, hex) in sets {
        let unit = bytes(hex);
        record.extend_from_slice(&[0x80 | kind, 0, 1, 0, unit.len() as u8]);
        record.extend_from_slice(&unit);
    }
    record
}

pub(crate) fn tag(start: &[u8], data: &[u8]) -> Vec<u8> {
    [start, data].concat()
}

pub(crate) fn avc_header() -> Vec<u8> {
    tag(&[0x17, 0, 0, 0, 0], &avc_record())
}

/// A frame's NAL units, each behind its length.
pub(crate) const IDR: &[u8] = &[0, 0, 0, 4, 0x65, 0x88, 0x84, 0];
pub(crate) const P_SLICE: &[u8] = &[0, 0, 0, 3, 0x41, 0x9a, 0];
pub(crate) const HEVC_IDR: &[u8] = &[0, 0, 0, 4, 0x26, 0x01, 0xaf, 0];

/// A whole H.264 key frame.
pub(crate) fn avc_key() -> Vec<u8> {
    tag(&[0x17, 1, 0, 0, 0], IDR)
}

/// One that needs others.
pub(crate) fn avc_inter() -> Vec<u8> {
    tag(&[0x27, 1, 0, 0, 0], P_SLICE)
}

/// A file of these tags.
pub(crate) fn file(tags: &[(u8, u32, &[u8])]) -> Vec<u8> {
    let mut out = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    for (kind, timestamp_ms, body) in tags {
        let [_, l0, l1, l2] = (body.len() as u32).to_be_bytes();
        let [t3, t0, t1, t2] = timestamp_ms.to_be_bytes();
        out.extend_from_slice(&[*kind, l0, l1, l2, t0, t1, t2, t3, 0, 0, 0]);
        out.extend_from_slice(body);
        out.extend_from_slice(&(body.len() as u32 + 11).to_be_bytes());
    }
    out
}
