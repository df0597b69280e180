//! From an answer to the list of segments: through a multivariant playlist where there is one.

use bytes::Bytes;
use tokio::time::Instant;

use crate::model::{AuthUse, ErrorCode, MediaFacts, ProbeError};
use crate::probe::http::Clock;
use crate::probe::http::link::{Body, Chunk};
use crate::probe::http::open::{self, Opened, Place, Session};
use crate::probe::{Target, Transcript};
use crate::wire::m3u8::{self, MediaPlaylist, Playlist, PlaylistReader, Variant};

/// Four hours of segments of one second; a longer playlist is none of a camera's.
const PLAYLIST_BYTES_MAX: usize = 2 << 20;

/// A media playlist, and where it came from.
pub(super) struct Listed {
    pub place: Place,
    pub media: MediaPlaylist,
    /// What the multivariant playlist says of the stream.
    pub facts: MediaFacts,
    /// How long ago it was changed last, where the server says so.
    pub unchanged_for: Option<std::time::Duration>,
    pub read_at: Instant,
}

/// Reads the playlist that was opened, and the one of its best variant (`lean`: its leanest).
///
/// # Errors
/// `protocol` for what is no playlist, `unsupported_codec` for encrypted segments and for variants
/// without video, and those of a request.
pub(super) async fn read(
    opened: Opened,
    head: Bytes,
    lean: bool,
    session: &mut Session,
    target: &Target,
    log: &mut Transcript,
    clock: &Clock,
) -> Result<Listed, ProbeError> {
    let mut facts = MediaFacts::default();
    let Opened {
        mut place,
        mut unchanged_for,
        body,
        ..
    } = opened;
    let mut playlist = text(body, head, &place, session, target, log, clock).await?;
    // A login inside the URL is judged by what comes: many devices refuse it with status 200.
    if log.auth == AuthUse::SentNoVerdict {
        log.auth = AuthUse::Accepted;
    }
    if let Playlist::Multivariant(variants) = &playlist {
        let variant = choose(variants, lean, &place, log)?;
        facts = described(variant);
        let aim = place.refer(&variant.uri, "refers", log)?;
        let opened = open::open_place(aim, None, session, log, clock).await?;
        (place, unchanged_for) = (opened.place, opened.unchanged_for);
        let head = Bytes::new();
        playlist = text(opened.body, head, &place, session, target, log, clock).await?;
    }
    let Playlist::Media(media) = playlist else {
        let device = place.url().authority();
        let sentence = format!("{device} lists variants of variants, and no segments");
        return Err(log.error(ErrorCode::Protocol, sentence));
    };
    Ok(Listed {
        media,
        facts,
        unchanged_for,
        place,
        read_at: Instant::now(),
    })
}

impl Listed {
    /// Reads the media playlist again.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn again(
        &self,
        session: &mut Session,
        target: &Target,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<Listed, ProbeError> {
        let place = self.place.clone();
        let work = async |log: &mut Transcript| {
            let opened = open::open_place(place, None, session, log, clock).await?;
            let head = Bytes::new();
            read(opened, head, true, session, target, log, clock).await
        };
        let again = log.aside(work).await?;
        Ok(Listed {
            facts: self.facts,
            ..again
        })
    }
}

fn choose<'v>(
    variants: &'v [Variant],
    lean: bool,
    place: &Place,
    log: &Transcript,
) -> Result<&'v Variant, ProbeError> {
    m3u8::choose_variant(variants, lean).ok_or_else(|| {
        let device = place.url().authority();
        let what = match variants.is_empty() {
            true => "no variant of the stream",
            false => "only variants without video",
        };
        let sentence = format!("the playlist of {device} lists {what}");
        log.error(ErrorCode::UnsupportedCodec, sentence)
    })
}

fn described(variant: &Variant) -> MediaFacts {
    MediaFacts {
        codec: variant.codec,
        width: variant.size.map(|(width, _)| width),
        height: variant.size.map(|(_, height)| height),
        fps: variant.fps,
        announced_fps: None,
    }
}

/// The playlist in an answer. The connection is kept for the next request where it may stand.
async fn text(
    mut body: Body,
    head: Bytes,
    place: &Place,
    session: &mut Session,
    target: &Target,
    log: &Transcript,
    clock: &Clock,
) -> Result<Playlist, ProbeError> {
    let device = place.url().authority();
    let fail = |code, text: String| log.error(code, format!("{device} {text}"));
    let refuse = |error: m3u8::PlaylistError| {
        let code = match error {
            m3u8::PlaylistError::Encrypted(_) => ErrorCode::UnsupportedCodec,
            _ => ErrorCode::Protocol,
        };
        fail(code, format!("answers with {error}"))
    };
    let until = clock.until(target.limits.answer);
    let mut reader = PlaylistReader::new();
    let mut bytes_left = PLAYLIST_BYTES_MAX;
    let mut chunk = head;
    let is_whole = loop {
        bytes_left = bytes_left.checked_sub(chunk.len()).ok_or_else(|| {
            let text = format!("sends a playlist of more than {PLAYLIST_BYTES_MAX} bytes");
            fail(ErrorCode::Protocol, text)
        })?;
        reader.feed(&chunk).map_err(refuse)?;
        match body.chunk(log, until).await? {
            Chunk::Data(data) => chunk = data,
            Chunk::End { is_whole } => break is_whole,
            Chunk::Deadline => {
                let text = "did not finish its playlist in time".to_owned();
                return Err(fail(ErrorCode::Timeout, text));
            }
        }
    };
    let playlist = reader.finish().map_err(refuse)?;
    if is_whole {
        session.keep(body.into_link());
    }
    Ok(playlist)
}
