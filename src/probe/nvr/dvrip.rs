//! The DVRIP dialogue: one login, three questions.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::model::{AuthUse, ErrorCode, ProbeError, RecorderFacts, Stage};
use crate::probe::http::open::{may_send_password, refuse_cleartext};
use crate::probe::net::{self, Stream};
use crate::probe::{Target, Transcript};
use crate::wire::maker::dvrip::{self, HEADER_BYTES, Question, Refusal};

/// # Errors
/// `auth_required`, `auth_failed`, `protocol`, and those of [`net::connect`].
pub(super) async fn channels(
    target: &Target,
    log: &mut Transcript,
) -> Result<RecorderFacts, ProbeError> {
    let host = target.url.authority();
    let Some(login) = &target.login else {
        log.enter(Stage::Authenticate);
        return Err(log.error(ErrorCode::AuthRequired, format!("{host} asks for a login")));
    };
    if !may_send_password(target) {
        return Err(refuse_cleartext(log, target));
    }
    let mut stream = net::connect(target, log).await?.stream;
    let mut facts = RecorderFacts::default();
    log.enter(Stage::Authenticate);
    log.auth = AuthUse::SentNoVerdict;
    let answer = exchange(&mut stream, &dvrip::login(login), target, log).await?;
    let session = match dvrip::read_login(&answer, &mut facts) {
        Ok(session) => session,
        Err(Refusal::LoginFailed) => {
            log.auth = AuthUse::Refused;
            let text =
                format!("{host} refuses the login; it is not tried again until it is changed");
            return Err(log.error(ErrorCode::AuthFailed, text));
        }
        Err(Refusal::Other(code)) => {
            let text = format!("{host} answers the login with error {code}");
            return Err(log.error(ErrorCode::Protocol, text));
        }
    };
    log.auth = AuthUse::Accepted;
    log.enter(Stage::Describe);
    let questions = [
        Question::ChannelTitles,
        Question::ChannelStates,
        Question::Rtsp,
    ];
    for (sequence, question) in (1..).zip(questions) {
        let asked = dvrip::question(question, session, sequence);
        let answer = exchange(&mut stream, &asked, target, log).await?;
        dvrip::read(question, &answer, &mut facts);
    }
    if facts.channels.is_empty() {
        let text = format!("{host} lists no channels by dvrip");
        return Err(log.error(ErrorCode::NotFound, text));
    }
    Ok(facts)
}

/// One message and the body of the next one that comes.
async fn exchange(
    stream: &mut Stream,
    message: &[u8],
    target: &Target,
    log: &Transcript,
) -> Result<Vec<u8>, ProbeError> {
    let talk = async {
        stream.write_all(message).await?;
        let mut head = [0; HEADER_BYTES];
        stream.read_exact(&mut head).await?;
        let Some(head) = dvrip::header(&head) else {
            return Ok(None);
        };
        let mut body = vec![0; head.length];
        stream.read_exact(&mut body).await?;
        Ok(Some(body))
    };
    let host = target.url.authority();
    match timeout(target.limits.answer, talk).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(log.error(ErrorCode::NotFound, format!("{host} does not speak DVRIP"))),
        Ok(Err(error)) => Err(net::io_error(log, &error)),
        Err(_) => {
            let limit_ms = target.limits.answer.as_millis();
            let text = format!("{host} did not answer within {limit_ms} ms");
            Err(log.error(ErrorCode::Timeout, text))
        }
    }
}
