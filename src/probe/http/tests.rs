pub(crate) mod fake;
mod flv;
mod hostile;
mod login;
mod media;
mod redirect;
mod tls;

use self::fake::{Fake, Step, answer, send};
use super::*;
use crate::model::Credentials;
use crate::probe::{Attempt, run};
use crate::wire::jpeg::fixtures::picture;

pub(in crate::probe) const DIGEST: &str =
    "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\"\r\n";

/// One part of a multipart body.
fn part(width: u16, height: u16) -> Vec<u8> {
    let mut out = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
    out.extend(picture(width, height));
    out.extend(b"\r\n");
    out
}

const MULTIPART: &str = "HTTP/1.1 200 OK\r\nServer: cam/1.0\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n";

/// A stream of ten frames a second.
fn stream() -> Vec<Step> {
    vec![
        send(MULTIPART),
        Step::Repeat(part(640, 480), Duration::from_millis(100)),
    ]
}

fn snapshot() -> Vec<Step> {
    answer(
        "200 OK",
        "Content-Type: image/jpeg\r\n",
        &picture(1280, 720),
    )
}

pub(in crate::probe) fn code(attempt: &Attempt) -> ErrorCode {
    attempt.result.as_ref().unwrap_err().code
}

pub(in crate::probe) fn message(attempt: &Attempt) -> &str {
    &attempt.result.as_ref().unwrap_err().message
}
