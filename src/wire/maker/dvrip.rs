//! DVRIP, the protocol of Xiongmai recorders and cameras (XMEye, Sofia; vendor protocol V1.0.0): messages
//! of a 20-byte header and JSON over TCP port 34567. Channels count from 0.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::said;
use crate::model::{ChannelState, Credentials, RecorderFacts, sofia_hash};

/// The usual port.
pub const PORT: u16 = 34567;
pub const HEADER_BYTES: usize = 20;
/// Longest body that is read, bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

const LOGIN: u16 = 1000;
const CONFIG_GET: u16 = 1042;
const TITLES_GET: u16 = 1048;

/// `Ret` of an answer: 100 and 515 are good.
const RET_OK: [i64; 2] = [100, 515];
/// Wrong password, no such user, locked out.
const RET_LOGIN: [i64; 5] = [106, 203, 205, 206, 207];

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub session: u32,
    pub message: u16,
    /// Bytes of the body, terminator included.
    pub length: usize,
}

/// Reads the head of a message; `None` for another protocol or a body over the limit.
pub fn header(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
    let [
        0xff,
        _,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        _,
        _,
        _,
        _,
        _,
        _,
        m0,
        m1,
        l0,
        l1,
        l2,
        l3,
    ] = *bytes
    else {
        return None;
    };
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
    (length <= BODY_BYTES_MAX).then_some(Header {
        session: u32::from_le_bytes([s0, s1, s2, s3]),
        message: u16::from_le_bytes([m0, m1]),
        length,
    })
}

fn message(id: u16, session: u32, sequence: u32, body: &Value) -> Zeroizing<Vec<u8>> {
    let body = Zeroizing::new(body.to_string());
    let mut out = Zeroizing::new(Vec::with_capacity(HEADER_BYTES + body.len() + 2));
    out.extend_from_slice(&[0xff, 0, 0, 0]);
    out.extend_from_slice(&session.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&id.to_le_bytes());
    let length = u32::try_from(body.len() + 2).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(body.as_bytes());
    out.extend_from_slice(b"\n\0");
    out
}

/// Holds the password as its eight-character hash, which is as good as the password itself here.
pub fn login(login: &Credentials) -> Zeroizing<Vec<u8>> {
    let body = json!({
        "EncryptType": "MD5", "LoginType": "DVRIP-Web", "UserName": login.username,
        "PassWord": sofia_hash(login.password.expose()),
    });
    message(LOGIN, 0, 0, &body)
}

/// What is asked of a device once it took the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    ChannelTitles,
    ChannelStates,
    Rtsp,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Self::ChannelTitles => "ChannelTitle",
            Self::ChannelStates => "NetWork.ChnStatus",
            Self::Rtsp => "NetWork.RTSP",
        }
    }
}

/// `sequence` counts the messages of this session.
pub fn question(question: Question, session: u32, sequence: u32) -> Zeroizing<Vec<u8>> {
    let id = match question {
        Question::ChannelTitles => TITLES_GET,
        Question::ChannelStates | Question::Rtsp => CONFIG_GET,
    };
    let body = json!({"Name": question.name(), "SessionID": format!("0x{session:08X}")});
    message(id, session, sequence, &body)
}

/// Why there is no value in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    LoginFailed,
    /// Its `Ret`; 0 for an answer that is none of this protocol.
    Other(i64),
}

/// The JSON of an answer's body, which ends with `0a 00`, `00` or nothing.
fn value(body: &[u8]) -> Result<Value, Refusal> {
    let end = body.iter().rposition(|b| *b == b'}').map_or(0, |at| at + 1);
    let json = body.get(..end).unwrap_or_default();
    let value: Value = serde_json::from_slice(json).map_err(|_| Refusal::Other(0))?;
    match value.get("Ret").and_then(Value::as_i64) {
        Some(ret) if RET_OK.contains(&ret) => Ok(value),
        Some(ret) if RET_LOGIN.contains(&ret) => Err(Refusal::LoginFailed),
        Some(ret) => Err(Refusal::Other(ret)),
        None => Err(Refusal::Other(0)),
    }
}

/// Takes in the answer to the login: how many channels there are. Returns the session.
///
/// # Errors
/// [`Refusal`]
pub fn read_login(body: &[u8], facts: &mut RecorderFacts) -> Result<u32, Refusal> {
    let value = value(body)?;
    let session = value.get("SessionID").and_then(Value::as_str);
    let session = session
        .and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok())
        .ok_or(Refusal::Other(0))?;
    let count = value.get("ChannelNum").and_then(Value::as_u64).unwrap_or(0);
    for number in (1..=count).take(crate::model::CHANNELS_MAX) {
        facts.channel(u32::try_from(number).unwrap_or(0));
    }
    Ok(session)
}

/// Takes in the answer to one question. An answer that is none changes nothing.
pub fn read(question: Question, body: &[u8], facts: &mut RecorderFacts) {
    let Ok(value) = value(body) else { return };
    let Some(value) = value.get(question.name()) else {
        return;
    };
    match question {
        Question::ChannelTitles => {
            let titles = value.as_array().map(Vec::as_slice).unwrap_or_default();
            for (number, title) in (1..).zip(titles) {
                if let Some(channel) = facts.channel(number) {
                    channel.name = title.as_str().and_then(said);
                }
            }
        }
        Question::ChannelStates => {
            let rows = value.as_array().map(Vec::as_slice).unwrap_or_default();
            for (channel, row) in facts.channels.iter_mut().zip(rows) {
                channel.state = match row.get("Status").and_then(Value::as_str) {
                    Some("Connected") => ChannelState::Online,
                    Some("NoConfig") => ChannelState::Empty,
                    Some(_) => ChannelState::Offline,
                    None => ChannelState::Unknown,
                };
            }
        }
        Question::Rtsp => {
            let port = value.get("Port").and_then(Value::as_u64);
            facts.rtsp_port = port
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_the_protocol_has_them() {
        let sent = login(&Credentials::new("admin", ""));
        let head = header(sent[..HEADER_BYTES].try_into().unwrap()).unwrap();
        assert_eq!((head.message, head.session), (LOGIN, 0));
        assert_eq!(head.length, sent.len() - HEADER_BYTES);
        let body: Value = serde_json::from_slice(&sent[HEADER_BYTES..sent.len() - 2]).unwrap();
        assert_eq!(body["PassWord"], "tlJwpbo6");
        assert!(sent.ends_with(b"}\n\0"));
        let asked = question(Question::ChannelTitles, 0x1f, 2);
        let text = String::from_utf8_lossy(&asked[HEADER_BYTES..]).into_owned();
        assert!(text.contains(r#""SessionID":"0x0000001F""#), "{text}");
        assert_eq!(header(&[0; HEADER_BYTES]), None);
        let mut long = [0; HEADER_BYTES];
        long[0] = 0xff;
        long[18] = 0xff;
        assert_eq!(header(&long), None, "a body over the limit");
    }

    #[test]
    fn channels_of_a_recorder() {
        let mut facts = RecorderFacts::default();
        let login = b"{ \"AliveInterval\" : 20, \"ChannelNum\" : 3, \"DeviceType \" : \"HVR\", \"Ret\" : 100, \"SessionID\" : \"0x0000001f\" }\n\0";
        assert_eq!(read_login(login, &mut facts), Ok(0x1f));
        let titles = br#"{"ChannelTitle":["Porch","","CAM03"],"Name":"ChannelTitle","Ret":100}"#;
        read(Question::ChannelTitles, titles, &mut facts);
        let states = br#"{"NetWork.ChnStatus":[{"Status":"Connected"},{"Status":"NoConfig"},{"Status":"NoLogin"}],"Ret":100}"#;
        read(Question::ChannelStates, states, &mut facts);
        read(
            Question::Rtsp,
            br#"{"NetWork.RTSP":{"IsServer":true,"Port":8554},"Ret":100}"#,
            &mut facts,
        );
        let found: Vec<_> = facts
            .channels
            .iter()
            .map(|c| (c.name.as_deref(), c.state))
            .collect();
        use ChannelState::{Empty, Offline, Online};
        assert_eq!(
            found,
            [
                (Some("Porch"), Online),
                (None, Empty),
                (Some("CAM03"), Offline)
            ]
        );
        assert_eq!(facts.rtsp_port, Some(8554));
    }

    #[test]
    fn refusals() {
        let mut facts = RecorderFacts::default();
        let read = |ret: i64| {
            let body = format!("{{\"Ret\":{ret},\"SessionID\":\"0x1\"}}\n");
            read_login(body.as_bytes(), &mut RecorderFacts::default())
        };
        assert_eq!(read(203), Err(Refusal::LoginFailed));
        assert_eq!(read(103), Err(Refusal::Other(103)));
        assert_eq!(read_login(b"", &mut facts), Err(Refusal::Other(0)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let mut facts = RecorderFacts::default();
            let _ = read_login(&bytes, &mut facts);
            for asked in [Question::ChannelTitles, Question::ChannelStates, Question::Rtsp] {
                read(asked, &bytes, &mut facts);
            }
            if let Some(head) = bytes.get(..HEADER_BYTES) {
                let _ = header(head.try_into().unwrap());
            }
        }
    }
}
