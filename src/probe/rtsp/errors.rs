//! Statuses and broken connections, as codes and sentences.

use super::link::LinkError;
use crate::model::{AuthUse, ErrorCode, ProbeError, Stage};
use crate::probe::{Transcript, net};
use crate::wire::rtsp::Response;

/// Bound of what is kept of a text from the device.
const TEXT_BYTES_MAX: usize = 128;

/// Ends the judgement of a login: an answer that lets a login pass, whatever else it says.
pub(super) fn accept_login(log: &mut Transcript) {
    if log.auth == AuthUse::SentNoVerdict {
        log.auth = AuthUse::Accepted;
    }
}

/// The login was judged and does not pass.
pub(super) fn refuse_login(status: u16, log: &mut Transcript) -> ProbeError {
    if log.auth == AuthUse::Accepted {
        let sentence = format!(
            "the device accepted the login before, but not for this request ({status}); check its rights"
        );
        return log.error(ErrorCode::AuthFailed, sentence);
    }
    log.auth = AuthUse::Refused;
    let sentence = format!("the device refuses the login ({status}); check user name and password");
    log.error(ErrorCode::AuthFailed, sentence)
}

/// Turns an answer that is no success and no redirect into an error (RFC 2326 section 7.1.1).
///
/// * `is_challenged`: the request carried the login in answer to a challenge.
pub(super) fn status_error(
    response: &Response<'_>,
    is_challenged: bool,
    log: &mut Transcript,
) -> ProbeError {
    let status = response.status;
    if response.is_http {
        let sentence = "a web server answers on this port; use http:// or the RTSP port";
        return log.error(ErrorCode::Protocol, sentence);
    }
    if status == 403 {
        return forbidden(log);
    }
    // An anonymous request got 401 and this one did not: the login passed.
    if is_challenged && matches!(status, 404 | 406 | 415 | 453 | 454 | 461) {
        accept_login(log);
    }
    let is_description = log.stage() < Stage::Start;
    let (code, what) = match status {
        404 => (
            ErrorCode::NotFound,
            "the device has no stream at this address; check path and channel",
        ),
        454 if is_description => (
            ErrorCode::NotFound,
            "the device has no such stream; check path and channel",
        ),
        453 | 503 => (
            ErrorCode::Busy,
            "all of the device's stream slots are in use; close another viewer or try later",
        ),
        461 => (
            ErrorCode::Protocol,
            "the device refuses RTP over TCP; allow TCP in its RTSP settings",
        ),
        400 => (
            ErrorCode::Protocol,
            "the device calls the request bad; check the path",
        ),
        500 => (
            ErrorCode::Protocol,
            "the device reports a fault of its own; a recorder says so when the channel's camera is off",
        ),
        _ => (
            ErrorCode::Protocol,
            "the device refuses the request; check path and stream settings",
        ),
    };
    log.error(code, format!("{what} ({status})"))
}

fn forbidden(log: &mut Transcript) -> ProbeError {
    if log.auth != AuthUse::NotSent {
        return refuse_login(403, log);
    }
    let sentence =
        "the device forbids access without asking for a login (403); check its address filter";
    log.error(ErrorCode::AuthRequired, sentence)
}

/// Names what broke a connection at the running stage.
pub(super) fn link_error(error: &LinkError, log: &Transcript) -> ProbeError {
    match error {
        LinkError::Timeout => {
            let sentence = "the device did not answer the request in time; it may be overloaded";
            log.error(ErrorCode::Timeout, sentence)
        }
        LinkError::Budget => {
            let sentence = "the device sends without end instead of answering; restart it";
            log.error(ErrorCode::Protocol, sentence)
        }
        LinkError::Rtsp(error) => log.error(ErrorCode::Protocol, error.to_string()),
        LinkError::Io(error) => net::io_error(log, error),
    }
}

/// A text from the device, safe to show: no control characters, at most 128 bytes.
pub(super) fn clipped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        out.push(c);
    }
    out
}
