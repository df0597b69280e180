use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// RFC 3711 appendix B.3.
#[test]
fn keys_are_derived_as_the_standard_shows() {
    let master = Block::new(&bytes("E1F97A0D3E018BE0D64FA32C06DE4139")).unwrap();
    let salt = bytes("0EC675AD498AFEEBB6960B3AABE6");
    for (label, expected) in [
        (LABEL_CIPHER, "C61E7A93744F39EE10734AFE3FF7A087"),
        (
            LABEL_AUTHENTICATION,
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
        ),
        (LABEL_SALT, "30CBBC08863D8C85D49DB34A9AE1"),
    ] {
        let expected = bytes(expected);
        let mut derived = vec![7; expected.len()];
        derive(&master, &salt, label, &mut derived);
        assert_eq!(derived, expected, "{label}");
    }
}

/// RFC 3711 appendix B.2, and further than one group of blocks.
#[test]
fn the_key_stream_is_that_of_the_standard() {
    let cipher = Block::new(&bytes("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
    let salt = bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let mut stream = vec![0; 0xff02 * BLOCK_BYTES];
    cipher.counter_mode(&counter(&salt, 0, 0), &mut stream);
    for (block, expected) in [
        (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
        (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
        (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
        (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
    ] {
        let at = block * BLOCK_BYTES;
        assert_eq!(
            &stream[at..at + BLOCK_BYTES],
            bytes(expected),
            "{block:#06x}"
        );
    }
}

const GALLIA: &[u8] = b"Gallia est omnis divisa in partes tres";

/// RFC 7714 section 16.1.
#[test]
fn opens_the_packet_of_the_standard() {
    let keys = Keys::gcm(
        &bytes("000102030405060708090a0b0c0d0e0f"),
        bytes("517569642070726f2071756f").try_into().unwrap(),
    );
    let mut opener = RtpOpener {
        keys: keys.unwrap(),
        sources: vec![],
    };
    let sealed = bytes(
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd5
         0d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
    );
    let opened = opener.open(&mut sealed.clone()).unwrap().to_vec();
    assert_eq!(&opened[12..], GALLIA);
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert_eq!(opener.open(&mut altered), None, "{at}");
    }
}

const PROFILES: [Profile; 3] = [
    Profile::Aes128CmSha1_80,
    Profile::AeadAes128Gcm,
    Profile::AeadAes256Gcm,
];

fn material(profile: Profile) -> Vec<u8> {
    let length = 2 * (profile.key_bytes() + profile.salt_bytes());
    (0..length as u8).collect()
}

/// Seals RTP as the other side does: the reverse of what is tested.
pub(crate) fn seal_rtp(
    profile: Profile,
    material: &[u8],
    is_client: bool,
    packet: &[u8],
    rollovers: u32,
) -> Vec<u8> {
    // What the other side opens with is what we seal with.
    let (opener, _) = session(profile, material, !is_client).unwrap();
    let header = header_bytes(packet).unwrap();
    let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
    let sequence = u16::from_be_bytes([packet[2], packet[3]]);
    let index = u64::from(rollovers) << 16 | u64::from(sequence);
    let mut sealed = packet.to_vec();
    match &opener.keys {
        Keys::Cm {
            cipher,
            authentication,
            salt,
        } => {
            cipher.counter_mode(&counter(salt, ssrc, index), &mut sealed[header..]);
            let mut context = hmac::Context::with_key(authentication);
            context.update(&sealed);
            context.update(&rollovers.to_be_bytes());
            sealed.extend_from_slice(&context.sign().as_ref()[..HMAC_TAG_BYTES]);
        }
        Keys::Gcm { key, salt } => {
            let (clear, content) = sealed.split_at_mut(header);
            let tag = key
                .seal_in_place_separate_tag(nonce(salt, ssrc, index), Aad::from(clear), content)
                .unwrap();
            sealed.extend_from_slice(tag.as_ref());
        }
    }
    sealed
}

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x90, 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    // An extension of one word, then the payload.
    packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
    packet.extend_from_slice(GALLIA);
    packet
}

#[test]
fn every_profile_opens_what_the_other_side_seals() {
    for profile in PROFILES {
        let material = material(profile);
        let (mut opener, _) = session(profile, &material, true).unwrap();
        // Across the wrap of the sequence number, one late, one of a second sender.
        for (sequence, rollovers, ssrc) in [
            (65_534, 0, 7),
            (0, 1, 7),
            (65_535, 0, 7),
            (1, 1, 7),
            (9, 0, 8),
        ] {
            let clear = rtp(sequence, ssrc);
            let mut sealed = seal_rtp(profile, &material, false, &clear, rollovers);
            assert_ne!(&sealed[20..30], &clear[20..30]);
            assert_eq!(
                opener.open(&mut sealed).unwrap(),
                clear,
                "{profile:?} {sequence}"
            );
        }
        // The wrong direction.
        let mut ours = seal_rtp(profile, &material, true, &rtp(2, 7), 1);
        assert_eq!(opener.open(&mut ours), None);
        for ssrc in 9..11 {
            let mut sealed = seal_rtp(profile, &material, false, &rtp(1, ssrc), 0);
            assert!(opener.open(&mut sealed).is_some());
        }
        let mut fifth = seal_rtp(profile, &material, false, &rtp(1, 11), 0);
        assert_eq!(opener.open(&mut fifth), None);
    }
}

#[test]
fn sealed_reports_end_in_tag_and_index() {
    let keys = Keys::gcm(
        &bytes("000102030405060708090a0b0c0d0e0f"),
        bytes("517569642070726f2071756f").try_into().unwrap(),
    );
    let mut sealer = RtcpSealer {
        keys: keys.unwrap(),
        index: 0x5d3,
    };
    let clear = bytes(
        "81c8000d4d6172734e5450314e545032525450200000042a0000e93042303132
         4d6172734e5450314e545032",
    );
    let sealed = sealer.seal(clear.clone()).unwrap();
    assert_eq!(&sealed[..8], &clear[..8]);
    assert_eq!(&sealed[sealed.len() - 4..], bytes("800005d4"));
    assert_eq!(sealed.len(), clear.len() + 16 + 4);
}

#[test]
fn reports_in_counter_mode_carry_index_and_tag() {
    let material = material(Profile::Aes128CmSha1_80);
    let (_, mut sealer) = session(Profile::Aes128CmSha1_80, &material, true).unwrap();
    let clear = [[0x80, 201, 0, 1, 0, 0, 0, 9], [0x81, 206, 0, 2, 0, 0, 0, 9]].concat();
    let first = sealer.seal(clear.clone()).unwrap();
    let second = sealer.seal(clear.clone()).unwrap();
    assert_eq!(first.len(), clear.len() + 4 + HMAC_TAG_BYTES);
    assert_eq!(&first[16..20], &[0x80, 0, 0, 1]);
    assert_eq!(&second[16..20], &[0x80, 0, 0, 2]);
    assert_ne!(&first[8..16], &second[8..16]);
    assert_eq!(sealer.seal(vec![0; 7]), None);
}

#[test]
fn short_material_gives_no_session() {
    for profile in PROFILES {
        let mut material = material(profile);
        material.pop();
        assert!(session(profile, &material, true).is_none());
    }
}

proptest::proptest! {
    #[test]
    fn no_packet_panics(mut packet in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), profile in 0..3usize) {
        let (mut opener, mut sealer) = session(PROFILES[profile], &material(PROFILES[profile]), true).unwrap();
        proptest::prop_assert_eq!(opener.open(&mut packet), None);
        let _ = sealer.seal(packet);
    }
}
