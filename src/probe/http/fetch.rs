//! One picture, and the banner of a web server.

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{SERVER, WWW_AUTHENTICATE};
use tokio::time::timeout;

use super::film::collect;
use super::flv::not_a_picture;
use super::link::{Chunk, Link};
use super::open::Session;
use super::{Begun, Clock, short};
use crate::model::{ErrorCode, ProbeError, Stage};
use crate::probe::{Target, Transcript};
use crate::wire::auth::Challenge;
use crate::wire::mjpeg::Event;

/// A page's title stands near its top.
const BANNER_BODY_BYTES_MAX: usize = 16 << 10;

/// Fetches one whole JPEG of at most `bytes_max` bytes: a snapshot, or the first picture of an MJPEG
/// stream. The login is sent at most once, as in a probe.
///
/// # Errors
/// As a probe's, and `internal` for a picture over the limit.
pub async fn fetch_jpeg(
    target: &Target,
    log: &mut Transcript,
    bytes_max: usize,
) -> Result<Bytes, ProbeError> {
    let clock = Clock::start(target);
    let mut session = Session::default();
    let mut film = match super::begin(target, &mut session, log, &clock).await? {
        Begun::Film(film) => film,
        Begun::Flv(body) => return Err(not_a_picture(&body.url, log)),
        Begun::Playlist(opened, _) => {
            let device = opened.url.authority();
            let text = format!("{device} answers with an HLS playlist, not with a picture");
            return Err(log.error(ErrorCode::Protocol, text));
        }
    };
    log.enter(Stage::FirstFrame);
    let mut picture = BytesMut::new();
    let log = &*log;
    let until = clock.until(target.limits.frame);
    let facts = film
        .picture(log, until, |event| {
            let more = match event {
                Event::Data(data) => data.len(),
                _ => 0,
            };
            if picture.len() + more > bytes_max {
                let text = format!("the picture is larger than {bytes_max} bytes");
                return Err(log.error(ErrorCode::Internal, text));
            }
            collect(&mut picture, event);
            Ok(())
        })
        .await?;
    // Nothing followed that could have stood in for the end marker.
    if !facts.has_end && !picture.ends_with(&[0xFF, 0xD9]) {
        picture.extend_from_slice(&[0xFF, 0xD9]);
    }
    Ok(picture.freeze())
}

/// What a web server tells anyone who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpBanner {
    pub status: u16,
    /// `Server` header, at most 128 bytes.
    pub server: Option<String>,
    /// Of the first challenge, at most 128 bytes.
    pub realm: Option<String>,
    /// The page's title, at most 128 bytes.
    pub title: Option<String>,
    /// Common name of its certificate.
    pub certificate: Option<String>,
}

/// One anonymous GET of a document of at most `bytes_max` bytes, within the limit of one answer.
/// Follows no redirect; anything that fails, and a longer document, is `None`.
pub async fn document(target: &Target, bytes_max: usize) -> Option<Vec<u8>> {
    let read = async {
        let mut log = Transcript::new();
        let clock = Clock::start(target);
        let link = Link::open(target, &mut log, &clock).await.ok()?;
        let until = clock.until(target.limits.answer);
        let path = target.url.wire_path(None);
        let answer = link.get(&path, None, &log, until).await.ok()?;
        if answer.status() != StatusCode::OK {
            return None;
        }
        let mut body = answer.into_bounded_body(bytes_max + 1);
        let mut document = Vec::new();
        while let Chunk::Data(data) = body.chunk(&log, until).await.ok()? {
            if document.len() + data.len() > bytes_max {
                return None;
            }
            document.extend_from_slice(&data);
        }
        Some(document)
    };
    timeout(target.limits.answer, read).await.ok().flatten()
}

/// One anonymous GET of the target's path, within the limit of one answer. Follows no redirect.
/// Anything that fails is `None`.
pub async fn banner(target: &Target) -> Option<HttpBanner> {
    timeout(target.limits.answer, read_banner(target))
        .await
        .ok()
        .flatten()
}

async fn read_banner(target: &Target) -> Option<HttpBanner> {
    let mut log = Transcript::new();
    let clock = Clock::start(target);
    let link = Link::open(target, &mut log, &clock).await.ok()?;
    let until = clock.until(target.limits.answer);
    let path = target.url.wire_path(None);
    let certificate = link
        .certificate
        .as_ref()
        .and_then(|facts| facts.subject.clone());
    let answer = link.get(&path, None, &log, until).await.ok()?;
    let challenge = Challenge::choose(answer.headers(WWW_AUTHENTICATE)).ok();
    let mut banner = HttpBanner {
        status: answer.status().as_u16(),
        server: answer.header_short(SERVER),
        realm: challenge.map(|c| short(c.realm.as_bytes())),
        title: None,
        certificate,
    };
    let mut body = answer.into_bounded_body(BANNER_BODY_BYTES_MAX);
    let mut page = Vec::new();
    while banner.title.is_none()
        && let Ok(Chunk::Data(data)) = body.chunk(&log, until).await
    {
        page.extend_from_slice(&data);
        banner.title = title(&page);
    }
    Some(banner)
}

/// The text between `<title>` and its end, blanks folded.
fn title(page: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(page);
    // ASCII only, so that places in the two texts agree.
    let lower = page.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let from = tag + lower.get(tag..)?.find('>')? + 1;
    let len = lower.get(from..)?.find("</title")?;
    let words: Vec<&str> = page.get(from..from + len)?.split_whitespace().collect();
    Some(short(words.join(" ").as_bytes())).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_as_pages_write_them() {
        let read = |page: &str| title(page.as_bytes());
        assert_eq!(
            read("<HTML><Title id=x>\r\n NETWORK\tCAMERA </TITLE>").as_deref(),
            Some("NETWORK CAMERA")
        );
        assert_eq!(read("<title>İ</title>").as_deref(), Some("İ"));
        for none in ["<title>cut", "<title></title>", "", "</title><title>"] {
            assert_eq!(read(none), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_page_panics(page in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = title(&page);
            let _ = title(&[b"<title>", page.as_slice(), b"</title>"].concat());
        }
    }
}
