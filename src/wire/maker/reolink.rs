//! The JSON interface of Reolink cameras and recorders (HTTP API guide, v7 and v8): a Login gives a
//! token, channels count from 0.

use serde_json::{Value, json};

use super::{ApiRequest, said};
use crate::model::{ChannelState, Credentials, RecorderFacts};

const PATH: &str = "/cgi-bin/api.cgi";
/// Longest token that is taken, bytes.
const TOKEN_BYTES_MAX: usize = 128;

/// What the device answers to one command instead of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `rspCode` -6 and -21: the token is none.
    NotLoggedIn,
    /// -7: user name or password is wrong.
    LoginFailed,
    /// -5: every session is taken.
    Busy,
    /// Anything else, by its number; 0 for an answer that is none of this interface.
    Other(i64),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotLoggedIn => f.write_str("it asks for a login"),
            Self::LoginFailed => f.write_str("it refuses the login"),
            Self::Busy => f.write_str("all its sessions are in use"),
            Self::Other(0) => f.write_str("this is no answer of a Reolink device"),
            Self::Other(code) => write!(f, "it answers with error {code}"),
        }
    }
}

pub(super) fn command(name: &str, token: Option<&str>, param: Value) -> ApiRequest {
    let token = token.map_or_else(String::new, |token| format!("&token={token}"));
    let body = json!([{"cmd": name, "action": 0, "param": param}]);
    ApiRequest::post_json(format!("{PATH}?cmd={name}{token}"), body.to_string())
}

/// Holds the password in clear.
pub fn login(login: &Credentials) -> ApiRequest {
    let user = json!({"User": {
        "Version": "0", "userName": login.username, "password": login.password.expose(),
    }});
    command("Login", None, user)
}

pub fn logout(token: &str) -> ApiRequest {
    command("Logout", Some(token), json!({}))
}

pub fn get_channel_status(token: &str) -> ApiRequest {
    command("GetChannelstatus", Some(token), json!({}))
}

pub fn get_net_port(token: &str) -> ApiRequest {
    command("GetNetPort", Some(token), json!({}))
}

/// The value of the first command of an answer.
pub(super) fn value(answer: &[u8]) -> Result<Value, Refusal> {
    let whole: Value = serde_json::from_slice(answer).map_err(|_| Refusal::Other(0))?;
    let first = whole.get(0).unwrap_or(&whole);
    if let Some(value) = first.get("value") {
        return Ok(value.clone());
    }
    let error = first.pointer("/error/rspCode").and_then(Value::as_i64);
    Err(match error.or(first.get("code").and_then(Value::as_i64)) {
        Some(-6 | -21) => Refusal::NotLoggedIn,
        Some(-7) => Refusal::LoginFailed,
        Some(-5) => Refusal::Busy,
        Some(code) => Refusal::Other(code),
        None => Refusal::Other(0),
    })
}

/// What a command without a value answers.
///
/// # Errors
/// [`Refusal`]
pub fn done(answer: &[u8]) -> Result<(), Refusal> {
    value(answer).map(drop)
}

/// The token in the answer to Login.
///
/// # Errors
/// [`Refusal`]
pub fn token(answer: &[u8]) -> Result<String, Refusal> {
    let value = value(answer)?;
    let name = value.pointer("/Token/name").and_then(Value::as_str);
    let is_plain = |t: &&str| {
        (1..=TOKEN_BYTES_MAX).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    name.filter(is_plain)
        .map(str::to_owned)
        .ok_or(Refusal::Other(0))
}

/// Takes in the answer to GetChannelstatus.
///
/// # Errors
/// [`Refusal`]
pub fn read_channel_status(answer: &[u8], facts: &mut RecorderFacts) -> Result<(), Refusal> {
    let value = value(answer)?;
    let listed = value.get("status").and_then(Value::as_array);
    for row in listed.ok_or(Refusal::Other(0))? {
        let index = row.get("channel").and_then(Value::as_u64);
        let number = index
            .and_then(|index| u32::try_from(index).ok())
            .map_or(0, |index| index.saturating_add(1));
        let Some(channel) = facts.channel(number) else {
            continue;
        };
        let text = |name: &str| row.get(name).and_then(Value::as_str).and_then(said);
        channel.name = text("name");
        channel.model = text("typeInfo").filter(|kind| kind != "Unknown");
        let is_online = row.get("online").and_then(Value::as_i64) == Some(1);
        let is_set_up = channel.model.is_some() || text("uid").is_some();
        channel.state = match (is_online, is_set_up) {
            (true, _) => ChannelState::Online,
            (false, true) => ChannelState::Offline,
            (false, false) => ChannelState::Empty,
        };
    }
    Ok(())
}

/// The port of RTSP in the answer to GetNetPort; `None` where it is off or not told.
pub fn rtsp_port(answer: &[u8]) -> Option<u16> {
    let value = value(answer).ok()?;
    let ports = value.get("NetPort")?;
    let is_off = ports.get("rtspEnable").and_then(Value::as_i64) == Some(0);
    let port = ports.get("rtspPort").and_then(Value::as_u64)?;
    u16::try_from(port).ok().filter(|port| *port > 0 && !is_off)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const CHANNELS_JSON: &str = r#"[{"cmd":"GetChannelstatus","code":0,"value":{"count":4,"status":[
        {"channel":0,"name":"Driveway","online":1,"typeInfo":"RLC-810A","uid":"95270000X"},
        {"channel":1,"name":"Garden","online":0,"typeInfo":"RLC-520","uid":"95270001X"},
        {"channel":2,"name":"","online":0,"typeInfo":"","uid":""}]}}]"#;

    #[test]
    fn channels_count_from_one_and_dead_ones_are_shown() {
        let mut facts = RecorderFacts::default();
        read_channel_status(CHANNELS_JSON.as_bytes(), &mut facts).unwrap();
        let found: Vec<_> = facts
            .channels
            .iter()
            .map(|c| (c.number, c.name.as_deref(), c.model.as_deref(), c.state))
            .collect();
        use ChannelState::{Empty, Offline, Online};
        assert_eq!(
            found,
            [
                (1, Some("Driveway"), Some("RLC-810A"), Online),
                (2, Some("Garden"), Some("RLC-520"), Offline),
                (3, None, None, Empty)
            ]
        );
    }

    #[test]
    fn tokens_and_refusals() {
        let given =
            br#"[{"cmd":"Login","code":0,"value":{"Token":{"leaseTime":3600,"name":"5a3f"}}}]"#;
        assert_eq!(token(given).as_deref(), Ok("5a3f"));
        let error = |code: i64| {
            format!(r#"[{{"cmd":"Login","code":1,"error":{{"detail":"x","rspCode":{code}}}}}]"#)
        };
        for (code, refusal) in [
            (-7, Refusal::LoginFailed),
            (-6, Refusal::NotLoggedIn),
            (-5, Refusal::Busy),
            (-26, Refusal::Other(-26)),
        ] {
            assert_eq!(token(error(code).as_bytes()), Err(refusal));
        }
        assert_eq!(token(b"<html>"), Err(Refusal::Other(0)));
        let odd = br#"[{"value":{"Token":{"name":"a&cmd=Reboot"}}}]"#;
        assert_eq!(token(odd), Err(Refusal::Other(0)));
        let request = login(&Credentials::new("admin", "p\"w"));
        assert_eq!(request.path, "/cgi-bin/api.cgi?cmd=Login");
        assert!(request.body.unwrap().1.contains(r#""password":"p\"w""#));
    }

    #[test]
    fn the_port_of_rtsp() {
        let ports = |on: u8| {
            format!(
                r#"[{{"cmd":"GetNetPort","code":0,"value":{{"NetPort":{{"rtspEnable":{on},"rtspPort":1554}}}}}}]"#
            )
        };
        assert_eq!(rtsp_port(ports(1).as_bytes()), Some(1554));
        assert_eq!(rtsp_port(ports(0).as_bytes()), None);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(text in "\\PC{0,60}", index in proptest::num::i64::ANY) {
            let mut facts = RecorderFacts::default();
            let _ = read_channel_status(text.as_bytes(), &mut facts);
            let listed = format!(r#"[{{"value":{{"status":[{{"channel":{index},"online":1}}]}}}}]"#);
            let _ = read_channel_status(listed.as_bytes(), &mut facts);
            let _ = token(text.as_bytes());
            let _ = rtsp_port(text.as_bytes());
        }
    }
}
