//! SOAP 1.2 as ONVIF uses it (Core section 5.7): envelopes, the UsernameToken of WS-Security, faults.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::xml::{Step, XmlError, walk};
use crate::model::{Credentials, Timestamp};

/// Answers larger than this are not read.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Length of a UsernameToken's nonce, bytes.
pub const NONCE_BYTES: usize = 16;
/// Longest text of a device that goes on into a sentence, characters.
const REASON_CHARS_MAX: usize = 120;
const SUBCODES_MAX: usize = 4;

const WSSE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSU: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const TOKEN_PROFILE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0";
const BASE64_BINARY: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";

/// The whole message around a body, with the security header where there is one.
pub fn envelope(security: Option<&str>, body: &str) -> Zeroizing<String> {
    let security = security.unwrap_or_default();
    Zeroizing::new(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\">\
         <s:Header>{security}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ))
}

/// The header with a PasswordDigest: Base64(SHA-1(nonce + created + password)) (UsernameToken
/// Profile 1.0, section 3.1). `created` is the device's own time: it refuses others.
pub fn digest_token(
    login: &Credentials,
    nonce: &[u8; NONCE_BYTES],
    created: Timestamp,
) -> Zeroizing<String> {
    let created = Timestamp::from_unix_s(created.unix_s()).to_string();
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(nonce);
    hash.update(created.as_bytes());
    hash.update(login.password.expose().as_bytes());
    let password = Zeroizing::new(BASE64.encode(hash.finish()));
    token(login, "PasswordDigest", &password, nonce, &created)
}

/// The header with the password as it is: for encrypted connections only.
pub fn text_token(
    login: &Credentials,
    nonce: &[u8; NONCE_BYTES],
    created: Timestamp,
) -> Zeroizing<String> {
    let created = Timestamp::from_unix_s(created.unix_s()).to_string();
    let password = Zeroizing::new(escaped(login.password.expose()));
    token(login, "PasswordText", &password, nonce, &created)
}

fn token(
    login: &Credentials,
    kind: &str,
    password: &str,
    nonce: &[u8; NONCE_BYTES],
    created: &str,
) -> Zeroizing<String> {
    let username = escaped(&login.username);
    let nonce = BASE64.encode(nonce);
    Zeroizing::new(format!(
        "<wsse:Security s:mustUnderstand=\"1\" xmlns:wsse=\"{WSSE}\" xmlns:wsu=\"{WSU}\">\
         <wsse:UsernameToken><wsse:Username>{username}</wsse:Username>\
         <wsse:Password Type=\"{TOKEN_PROFILE}#{kind}\">{password}</wsse:Password>\
         <wsse:Nonce EncodingType=\"{BASE64_BINARY}\">{nonce}</wsse:Nonce>\
         <wsu:Created>{created}</wsu:Created></wsse:UsernameToken></wsse:Security>"
    ))
}

/// Text as it stands between tags. What XML 1.0 cannot carry is left out.
pub fn escaped(text: &str) -> String {
    let is_character = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(is_character) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
    out
}

/// What a device answers instead of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// Code and subcodes without prefixes, outermost first: `Sender`, `NotAuthorized`.
    pub codes: Vec<String>,
    /// Its own words, one line of at most 120 characters.
    pub reason: String,
}

impl Fault {
    /// True where the login is missing or wrong (ONVIF Core table 5, WS-Security section 12). Some
    /// devices say it in their own words only.
    pub fn is_not_authorized(&self) -> bool {
        const CODES: [&str; 5] = [
            "NotAuthorized",
            "FailedAuthentication",
            "FailedCheck",
            "InvalidSecurityToken",
            "InvalidSecurity",
        ];
        const WORDS: [&str; 6] = [
            "authoriz",
            "authoris",
            "authentic",
            "password",
            "ws-security",
            "credential",
        ];
        let reason = self.reason.to_ascii_lowercase();
        self.codes.iter().any(|code| CODES.contains(&code.as_str()))
            || WORDS.iter().any(|word| reason.contains(word))
    }
}

/// What stands in an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Result,
    /// Whatever the status: faults come with 200 too.
    Fault(Fault),
    /// XML, but no envelope.
    NoEnvelope,
}

/// Looks what an answer is.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn body(document: &[u8]) -> Result<Body, XmlError> {
    let mut found: Option<Fault> = None;
    let mut is_body_taken = false;
    let mut is_envelope = false;
    walk(document, |step| match step {
        Step::Open([root]) => is_envelope = root == "Envelope",
        Step::Open(path) if is_in_body(path, 3) => {
            let is_fault = path.last().is_some_and(|name| name == "Fault");
            if is_fault && !is_body_taken {
                found = Some(Fault::default());
            }
            is_body_taken = true;
        }
        Step::Leaf(leaf) if leaf.is_in("Fault") => {
            let Some(fault) = &mut found else { return };
            match leaf.name() {
                // SOAP 1.2, and 1.1 as old firmware writes it.
                "Value" | "faultcode" if fault.codes.len() < SUBCODES_MAX => {
                    let code = leaf.text.rsplit(':').next().unwrap_or_default();
                    fault.codes.push(shortened(code));
                }
                "Text" | "faultstring" if fault.reason.is_empty() => {
                    fault.reason = shortened(leaf.text);
                }
                _ => {}
            }
        }
        _ => {}
    })?;
    Ok(match found {
        Some(fault) if is_envelope => Body::Fault(fault),
        _ if is_envelope => Body::Result,
        _ => Body::NoEnvelope,
    })
}

/// True for an element at this depth whose parent is the Body.
fn is_in_body(path: &[String], depth: usize) -> bool {
    path.len() == depth && path.get(1).is_some_and(|name| name == "Body")
}

/// A device's text as one line of at most 120 characters.
pub fn shortened(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let one_line = words.join(" ");
    let shown = one_line.chars().filter(|c| !c.is_control());
    shown.take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [
        0x2c, 0xe4, 0x41, 0x2c, 0x08, 0x11, 0x4b, 0x53, 0x5f, 0x49, 0x01, 0x34, 0x3b, 0x7a, 0x2b,
        0x12,
    ];

    fn value<'t>(token: &'t str, element: &str) -> &'t str {
        let is_tag = |c: char| c == '>' || c == ' ';
        let name = format!("<wsse:{element}");
        let mut tags = token.match_indices(&name);
        let text = tags.find_map(|(at, _)| {
            let rest = &token[at + name.len()..];
            rest.starts_with(is_tag).then_some(rest)
        });
        let text = text.unwrap();
        let start = text.find('>').unwrap() + 1;
        &text[start..text.find("</").unwrap()]
    }

    /// The example of the ONVIF Application Programmer's Guide, section 6.1.1.3.
    #[test]
    fn the_digest_of_the_programmers_guide() {
        let nonce = BASE64.decode("LKqI6G/AikKCQrN0zqZFlg==").unwrap();
        let login = Credentials::new("user", "userpassword");
        let created = Timestamp::parse("2010-09-16T07:50:45Z").unwrap();
        let token = digest_token(&login, nonce.as_slice().try_into().unwrap(), created);
        assert_eq!(value(&token, "Password"), "tuOSpGlFlIXsozq4HFNeeGeFLEI=");
        assert_eq!(value(&token, "Nonce"), "LKqI6G/AikKCQrN0zqZFlg==");
        assert!(token.contains("<wsu:Created>2010-09-16T07:50:45Z</wsu:Created>"));
        assert!(!token.contains("userpassword"));
    }

    #[test]
    fn names_and_passwords_are_escaped() {
        let login = Credentials::new("a<b>&\"c\u{1}", "p]]>&");
        let token = text_token(&login, &NONCE, Timestamp(0));
        assert_eq!(value(&token, "Username"), "a&lt;b&gt;&amp;&quot;c");
        assert_eq!(value(&token, "Password"), "p]]&gt;&amp;");
        let message = envelope(Some(&token), "<x/>");
        assert_eq!(body(message.as_bytes()), Ok(Body::Result));
    }

    fn read(inner: &str) -> Option<Fault> {
        let message =
            format!("<e:Envelope xmlns:e=\"x\"><e:Header/><e:Body>{inner}</e:Body></e:Envelope>");
        match body(message.as_bytes()).unwrap() {
            Body::Fault(fault) => Some(fault),
            _ => None,
        }
    }

    #[test]
    fn faults_as_firmwares_write_them() {
        let onvif = read(
            "<env:Fault><env:Code><env:Value>env:Sender</env:Value><env:Subcode><env:Value>ter:NotAuthorized</env:Value></env:Subcode></env:Code><env:Reason><env:Text xml:lang=\"en\">Sender not\n Authorized</env:Text></env:Reason></env:Fault>",
        )
        .unwrap();
        assert_eq!(onvif.codes, ["Sender", "NotAuthorized"]);
        assert_eq!(onvif.reason, "Sender not Authorized");
        assert!(onvif.is_not_authorized());

        let old = read("<SOAP-ENV:Fault><faultcode>wsse:FailedAuthentication</faultcode><faultstring>no</faultstring></SOAP-ENV:Fault>").unwrap();
        assert!(old.is_not_authorized());

        let words = read("<Fault><Code><Value>Sender</Value></Code><Reason><Text>Password digest mismatch</Text></Reason></Fault>").unwrap();
        assert!(words.is_not_authorized());
        let bare = read("<env:Fault><env:Code><env:Value>env:Sender</env:Value></env:Code><env:Reason><env:Text>WS-Security header required but not provided</env:Text></env:Reason></env:Fault>").unwrap();
        assert!(bare.is_not_authorized());

        let other = read("<Fault><Code><Value>Receiver</Value><Subcode><Value>ter:ActionNotSupported</Value></Subcode></Code></Fault>").unwrap();
        assert!(!other.is_not_authorized());
    }

    #[test]
    fn a_result_is_no_fault_whatever_it_holds() {
        assert_eq!(
            read("<R><Fault><Value>NotAuthorized</Value></Fault></R>"),
            None
        );
        assert_eq!(read(""), None);
        assert!(body(b"<html><body>404").is_err());
        let page = b"<html><Body><Fault/></Body></html>";
        assert_eq!(body(page), Ok(Body::NoEnvelope));
    }

    #[test]
    fn long_words_are_cut() {
        let long = "x ".repeat(500);
        let fault = read(&format!("<Fault><faultstring>{long}</faultstring></Fault>")).unwrap();
        assert_eq!(fault.reason.chars().count(), REASON_CHARS_MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = body(&bytes);
        }

        #[test]
        fn what_is_escaped_reads_back(name in "[ -~é&<>\"']{1,30}") {
            let message = format!("<a>x{}x</a>", escaped(&name));
            let mut read = String::new();
            walk(message.as_bytes(), |step| {
                if let Step::Leaf(leaf) = step {
                    leaf.text.clone_into(&mut read);
                }
            }).unwrap();
            proptest::prop_assert_eq!(read, format!("x{name}x"));
        }
    }
}
