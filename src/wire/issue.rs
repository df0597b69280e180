//! Writes the certificate that a gateway gives itself: X.509 version 3 (RFC 5280) in DER (ITU-T X.690)
//! for one ECDSA key on P-256. The signature comes from the caller, and so do key, serial and clock.

use std::net::IpAddr;

use crate::model::Timestamp;

const BOOLEAN_TRUE: &[u8] = &[0x01, 0x01, 0xFF];
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Context-specific tags of `TBSCertificate` and `GeneralName`.
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 1.2.840.10045.4.3.2
const ECDSA_WITH_SHA256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// Extensions: 2.5.29.14, .15, .17, .19, .37
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1D, 0x0E];
const KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x0F];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1D, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1D, 0x25];
/// 1.3.6.1.5.5.7.3.1
const SERVER_AUTH: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// ub-common-name of RFC 5280, appendix A.1.
const COMMON_NAME_CHARS_MAX: usize = 64;

/// What a self-signed server certificate says.
#[derive(Debug, Clone, Copy)]
pub struct SelfSigned<'a> {
    /// Subject and issuer; longer than 64 characters it is cut.
    pub common_name: &'a str,
    /// ASCII host names.
    pub dns_names: &'a [String],
    pub addresses: &'a [IpAddr],
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub serial: [u8; 16],
    /// Uncompressed point on P-256, 65 bytes.
    pub public_key: &'a [u8],
    /// Short hash of the key (RFC 7093 section 2).
    pub key_id: &'a [u8],
}

/// The certificate in DER. `sign` gets the part to be signed and gives an ECDSA signature over its
/// SHA-256 in DER.
///
/// # Errors
/// Those of `sign`.
pub fn self_signed<E>(
    facts: &SelfSigned<'_>,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let algorithm = tlv(SEQUENCE, &tlv(OID, ECDSA_WITH_SHA256));
    let name = name(facts.common_name);
    let signed_part = sequence(&[
        &tlv(VERSION, &tlv(INTEGER, &[2])),
        &serial(facts.serial),
        &algorithm,
        &name,
        &sequence(&[&time(facts.not_before), &time(facts.not_after)]),
        &name,
        &public_key(facts.public_key),
        &tlv(EXTENSIONS, &extensions(facts)),
    ]);
    let signature = sign(&signed_part)?;
    Ok(sequence(&[
        &signed_part,
        &algorithm,
        &bit_string(&signature),
    ]))
}

fn name(common_name: &str) -> Vec<u8> {
    let text: String = common_name.chars().take(COMMON_NAME_CHARS_MAX).collect();
    let pair = sequence(&[&tlv(OID, COMMON_NAME), &tlv(UTF8_STRING, text.as_bytes())]);
    tlv(SEQUENCE, &tlv(SET, &pair))
}

/// A positive integer without needless leading zeros, whatever the bytes are.
fn serial(mut bytes: [u8; 16]) -> Vec<u8> {
    bytes[0] = bytes[0] & 0x7F | 0x40;
    tlv(INTEGER, &bytes)
}

fn public_key(point: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&tlv(OID, EC_PUBLIC_KEY), &tlv(OID, P256)]);
    sequence(&[&algorithm, &bit_string(point)])
}

/// A server's certificate and nobody's authority: a leaked key signs for nobody else.
fn extensions(facts: &SelfSigned<'_>) -> Vec<u8> {
    let digital_signature = tlv(BIT_STRING, &[7, 0x80]);
    sequence(&[
        &extension(BASIC_CONSTRAINTS, true, &sequence(&[])),
        &extension(KEY_USAGE, true, &digital_signature),
        &extension(
            EXTENDED_KEY_USAGE,
            false,
            &tlv(SEQUENCE, &tlv(OID, SERVER_AUTH)),
        ),
        &extension(SUBJECT_ALT_NAME, false, &alternative_names(facts)),
        &extension(SUBJECT_KEY_ID, false, &tlv(OCTET_STRING, facts.key_id)),
    ])
}

fn alternative_names(facts: &SelfSigned<'_>) -> Vec<u8> {
    let names = facts.dns_names.iter().map(|n| tlv(DNS_NAME, n.as_bytes()));
    let addresses = facts.addresses.iter().map(|address| match address {
        IpAddr::V4(v4) => tlv(IP_ADDRESS, &v4.octets()),
        IpAddr::V6(v6) => tlv(IP_ADDRESS, &v6.octets()),
    });
    tlv(
        SEQUENCE,
        &names.chain(addresses).collect::<Vec<_>>().concat(),
    )
}

fn extension(id: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { BOOLEAN_TRUE } else { &[] };
    sequence(&[&tlv(OID, id), critical, &tlv(OCTET_STRING, value)])
}

/// `UTCTime` through 2049, `GeneralizedTime` from then on (RFC 5280 section 4.1.2.5).
fn time(at: Timestamp) -> Vec<u8> {
    let at = jiff::Timestamp::from_second(at.unix_s()).unwrap_or(jiff::Timestamp::MAX);
    let at = jiff::tz::TimeZone::UTC.to_datetime(at);
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    match at.year() {
        year @ 1950..2050 => tlv(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes()),
        year => tlv(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes()),
    }
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat()) // no unused bits
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let bytes = contents.len().to_be_bytes();
    match contents.len() {
        // One byte: at most 0x7F.
        len @ 0..0x80 => out.push(len as u8),
        _ => {
            let short: Vec<u8> = bytes.into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | short.len() as u8);
            out.extend(short);
        }
    }
    out.extend_from_slice(contents);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::x509;

    fn certificate(names: &[String], until: i64) -> Vec<u8> {
        let facts = SelfSigned {
            common_name: "gw7",
            dns_names: names,
            addresses: &["192.168.1.5".parse().unwrap(), "fe80::1".parse().unwrap()],
            not_before: Timestamp::from_unix_s(1_735_689_600),
            not_after: Timestamp::from_unix_s(until),
            serial: [0xFF; 16],
            public_key: &[4; 65],
            key_id: &[7; 20],
        };
        self_signed::<()>(&facts, |part| {
            assert_eq!(part[0], SEQUENCE);
            Ok(vec![1, 2, 3])
        })
        .unwrap()
    }

    #[test]
    fn the_own_reader_reads_it() {
        let der = certificate(&["localhost".to_owned()], 2_051_222_400);
        let facts = x509::facts(&der, "ab", 1_800_000_000);
        assert_eq!(facts.subject.as_deref(), Some("gw7"));
        assert!(facts.self_signed && !facts.expired);
        assert_eq!(facts.not_after.unwrap().to_string(), "2035-01-01T00:00:00Z");
    }

    #[test]
    fn times_beyond_2049_have_four_digits() {
        let unix = |year: &str| Timestamp::parse(&format!("{year}-06-07T08:09:10Z")).unwrap();
        assert_eq!(time(unix("2049")), tlv(UTC_TIME, b"490607080910Z"));
        assert_eq!(
            time(unix("2050")),
            tlv(GENERALIZED_TIME, b"20500607080910Z")
        );
        assert_eq!(time(unix("1970")), tlv(UTC_TIME, b"700607080910Z"));
    }

    #[test]
    fn lengths_are_as_short_as_der_wants_them() {
        assert_eq!(tlv(4, &[0; 0x7F])[..3], [4, 0x7F, 0]);
        assert_eq!(tlv(4, &[0; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tlv(4, &[0; 0x100])[..4], [4, 0x82, 1, 0]);
    }

    proptest::proptest! {
        #[test]
        fn any_names_and_times_can_be_read_back(
            names in proptest::collection::vec("[a-z]{1,63}", 0..40),
            until in 1i64..253_000_000_000,
        ) {
            let read = x509::facts(&certificate(&names, until), "", 0);
            assert_eq!(read.not_after.map(Timestamp::unix_s), Some(until));
        }
    }
}
