//! The few facts of a certificate that an operator asks for (RFC 5280 section 4.1), read by a small
//! bounded DER reader (ITU-T X.690): definite lengths, no recursion, nothing is verified here.

use crate::model::{CertificateFacts, Timestamp};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
#[cfg(feature = "webrtc")]
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1E;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Longest subject that is kept (ub-common-name is 64).
const SUBJECT_CHARS_MAX: usize = 128;

/// Reads validity, subject and issuer of a DER certificate. What cannot be read is left out: a
/// camera's odd certificate still has its fingerprint.
pub fn facts(der: &[u8], sha256: &str, now_unix_s: i64) -> CertificateFacts {
    let read = Fields::read(der).unwrap_or_default();
    let not_after = read.not_after.and_then(|(tag, text)| time(tag, text));
    CertificateFacts {
        sha256: sha256.to_owned(),
        not_after,
        expired: not_after.is_some_and(|end| end.unix_s() < now_unix_s),
        self_signed: !read.subject.is_empty() && read.issuer == read.subject,
        subject: common_name(read.subject),
    }
}

/// The curves of ECDSA keys in WebRTC (RFC 5480 section 2.1.1.1).
#[cfg(feature = "webrtc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
}

/// The ECDSA key of a DER certificate, as an uncompressed point. `None` for other kinds of keys.
#[cfg(feature = "webrtc")]
pub fn public_key(der: &[u8]) -> Option<(Curve, &[u8])> {
    /// id-ecPublicKey, 1.2.840.10045.2.1.
    const EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
    /// secp256r1, 1.2.840.10045.3.1.7, and secp384r1, 1.3.132.0.34.
    const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
    const P384: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x22];
    let mut info = Der(Fields::read(der)?.public_key);
    let mut algorithm = Der(info.expect_tag(SEQUENCE)?);
    if algorithm.expect_tag(OID)? != EC_PUBLIC_KEY {
        return None;
    }
    let curve = match algorithm.expect_tag(OID)? {
        P256 => Curve::P256,
        P384 => Curve::P384,
        _ => return None,
    };
    let (0, point) = info.expect_tag(BIT_STRING)?.split_first()? else {
        return None;
    };
    Some((curve, point))
}

/// The raw fields, as far as the structure holds.
#[derive(Default)]
struct Fields<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    not_after: Option<(u8, &'a [u8])>,
    /// `SubjectPublicKeyInfo`.
    #[cfg_attr(not(feature = "webrtc"), expect(dead_code, reason = "for DTLS"))]
    public_key: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Der(Der(der).expect_tag(SEQUENCE)?);
        let mut tbs = Der(certificate.expect_tag(SEQUENCE)?);
        let (tag, _) = tbs.next()?;
        if tag == VERSION {
            tbs.next()?; // serial number
        }
        tbs.expect_tag(SEQUENCE)?; // signature algorithm
        let issuer = tbs.expect_tag(SEQUENCE)?;
        let mut validity = Der(tbs.expect_tag(SEQUENCE)?);
        validity.next()?; // not before
        let not_after = validity.next();
        let subject = tbs.expect_tag(SEQUENCE).unwrap_or_default();
        let public_key = tbs.expect_tag(SEQUENCE).unwrap_or_default();
        Some(Self {
            issuer,
            subject,
            not_after,
            public_key,
        })
    }
}

/// The rest of one DER value's inside.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag and contents of the next value; `None` at the end and where the length does not fit.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let len = match first {
            0..=0x7F => usize::from(first),
            // More than four bytes of length is no certificate, none at all is BER.
            0x81..=0x84 => {
                let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7F))?;
                rest = after;
                bytes
                    .iter()
                    .fold(0usize, |len, b| (len << 8) | usize::from(*b))
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, contents))
    }

    fn expect_tag(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(t, _)| *t == tag).map(|(_, c)| c)
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; anything after the seconds is taken as UTC.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let year_digits = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    let number = |from: usize, digits: usize| -> Option<i16> {
        let digits = text.get(from..from + digits)?;
        digits.iter().try_fold(0i16, |sum, b| {
            b.is_ascii_digit().then(|| sum * 10 + i16::from(b - b'0'))
        })
    };
    let small = |i: usize| number(year_digits + 2 * i, 2).and_then(|n| i8::try_from(n).ok());
    let year = match (tag, number(0, year_digits)?) {
        (UTC_TIME, year @ 0..50) => 2000 + year,
        (UTC_TIME, year) => 1900 + year,
        (_, year) => year,
    };
    let date = jiff::civil::Date::new(year, small(0)?, small(1)?).ok()?;
    // Seconds may be left out in old encodings.
    let time = jiff::civil::Time::new(small(2)?, small(3)?, small(4).unwrap_or(0), 0).ok()?;
    // 99991231235959Z ("no end") lies a day beyond what a timestamp can hold.
    let end = jiff::tz::TimeZone::UTC
        .to_timestamp(date.to_datetime(time))
        .unwrap_or(jiff::Timestamp::MAX);
    Some(Timestamp::from_unix_s(end.as_second()))
}

fn common_name(name: &[u8]) -> Option<String> {
    let mut sets = Der(name);
    while let Some((tag, set)) = sets.next() {
        let mut pairs = Der(set);
        while let Some(pair) = pairs.expect_tag(SEQUENCE).filter(|_| tag == SET) {
            let mut pair = Der(pair);
            if pair.expect_tag(OID) == Some(COMMON_NAME) {
                let (tag, value) = pair.next()?;
                return Some(text(tag, value)).filter(|text| !text.is_empty());
            }
        }
    }
    None
}

fn text(tag: u8, value: &[u8]) -> String {
    let decoded = match tag {
        BMP_STRING => {
            let units = value
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => String::from_utf8_lossy(value).into_owned(),
    };
    decoded
        .chars()
        .filter(|c| !c.is_control())
        .take(SUBJECT_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str, until_year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "Cameras");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(1999, 1, 1);
        params.not_after = rcgen::date_time_ymd(until_year, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn reads_name_and_validity() {
        let got = facts(&certificate("cam-7", 2049), "ab", 1_800_000_000);
        assert_eq!(got.subject.as_deref(), Some("cam-7"));
        assert_eq!(got.not_after.unwrap().to_string(), "2049-02-03T00:00:00Z");
        assert!(got.self_signed && !got.expired);
        let far = facts(&certificate("x", 2099), "ab", 1_800_000_000);
        assert_eq!(far.not_after.unwrap().to_string(), "2099-02-03T00:00:00Z");
    }

    #[cfg(feature = "webrtc")]
    #[test]
    fn finds_the_key_of_a_certificate() {
        for (algorithm, curve, bytes) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Curve::P256, 65),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Curve::P384, 97),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec![]).unwrap();
            let der = params.self_signed(&key).unwrap().der().to_vec();
            let (got, point) = public_key(&der).unwrap();
            assert_eq!((got, point.len(), point[0]), (curve, bytes, 4));
        }
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(vec![]).unwrap();
        let der = params.self_signed(&ed25519).unwrap().der().to_vec();
        assert_eq!(public_key(&der), None);
        assert_eq!(public_key(&[]), None);
    }

    #[test]
    fn expired_is_judged_by_the_callers_clock() {
        let der = certificate("cam", 2001);
        assert!(facts(&der, "", 1_000_000_000).expired);
        assert!(!facts(&der, "", 900_000_000).expired);
    }

    #[test]
    fn a_certificate_of_an_authority_is_not_self_signed() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
        ca.distinguished_name
            .push(rcgen::DnType::CommonName, "authority");
        let issuer = rcgen::Issuer::new(ca, &key);
        let leaf = rcgen::CertificateParams::new(vec!["cam.lan".to_owned()]).unwrap();
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let der = leaf.signed_by(&leaf_key, &issuer).unwrap().der().to_vec();
        assert!(!facts(&der, "", 0).self_signed);
    }

    #[test]
    fn times_of_both_kinds() {
        let unix = |tag, text: &[u8]| time(tag, text).map(Timestamp::unix_s);
        assert_eq!(unix(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(unix(UTC_TIME, b"7001010001Z"), Some(60));
        assert_eq!(unix(GENERALIZED_TIME, b"19700101000001Z"), Some(1));
        assert!(unix(GENERALIZED_TIME, b"99991231235959Z").unwrap() > 253_000_000_000);
        for bad in [&b"991332000000Z"[..], b"", b"9912", b"99-2-3000000Z"] {
            assert_eq!(unix(UTC_TIME, bad), None);
        }
    }

    #[test]
    fn a_truncated_certificate_keeps_what_was_read() {
        let der = certificate("cam", 2049);
        for cut in 0..der.len() {
            let got = facts(&der[..cut], "ab", 0);
            assert_eq!((got.sha256.as_str(), got.not_after), ("ab", None));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = facts(&bytes, "", 0);
            let _ = common_name(&bytes);
            let _ = time(UTC_TIME, &bytes);
            let _ = time(GENERALIZED_TIME, &bytes);
        }

        #[test]
        fn no_changed_byte_panics(at in 0usize..400, byte in proptest::num::u8::ANY) {
            let mut der = FIXED.get_or_init(|| certificate("cam", 2049)).clone();
            let at = at % der.len();
            der[at] = byte;
            let _ = facts(&der, "", 0);
        }
    }

    static FIXED: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
}
