//! FLV in the body of an answer: endless, one tag after the other.

use bytes::{Buf as _, Bytes};
use tokio::time::Instant;

use super::link::{Body, Chunk};
use crate::model::{CertificateFacts, ErrorCode, ProbeError, StreamUrl};
use crate::probe::flv::{Gap, Screening, TagSource};
use crate::probe::{BoxFuture, Transcript};
use crate::wire::flv::FlvReader;

/// An answer that consists of FLV tags.
pub(super) struct FlvBody {
    pub url: StreamUrl,
    body: Body,
    reader: FlvReader,
    /// Read from the body, not yet by the reader.
    chunk: Bytes,
}

impl FlvBody {
    /// `head`: what was read of the body already.
    pub(super) fn new(url: StreamUrl, body: Body, head: Bytes) -> Self {
        Self {
            url,
            body,
            reader: FlvReader::default(),
            chunk: head,
        }
    }

    pub(super) fn certificate(&self) -> Option<CertificateFacts> {
        self.body.certificate()
    }

    async fn next_tag(
        &mut self,
        screening: &mut Screening,
        log: &Transcript,
        until: Instant,
    ) -> Result<(), Gap> {
        loop {
            let mut rest: &[u8] = &self.chunk;
            let tag = self.reader.next(&mut rest).map_err(|error| {
                let sentence = format!("{}: {error}", self.url.authority());
                Gap::Error(log.error(ErrorCode::Protocol, sentence))
            })?;
            let used = self.chunk.len() - rest.len();
            self.chunk.advance(used);
            if let Some(tag) = tag {
                screening.push(tag.kind, tag.timestamp_ms, self.reader.head(), tag.length);
                return Ok(());
            }
            match self.body.chunk(log, until).await.map_err(Gap::Error)? {
                Chunk::Data(data) => self.chunk = data,
                Chunk::End { .. } => return Err(Gap::Ended),
                Chunk::Deadline => return Err(Gap::Deadline),
            }
        }
    }
}

impl TagSource for FlvBody {
    fn is_stored(&self) -> bool {
        self.body.is_finite()
    }

    fn next<'a>(
        &'a mut self,
        screening: &'a mut Screening,
        log: &'a Transcript,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), Gap>> {
        Box::pin(self.next_tag(screening, log, until))
    }
}

/// The error where a picture is wanted and FLV comes.
pub(super) fn not_a_picture(url: &StreamUrl, log: &Transcript) -> ProbeError {
    let sentence = format!(
        "{} answers with an HTTP-FLV stream, not with a picture",
        url.authority()
    );
    log.error(ErrorCode::UnsupportedCodec, sentence)
}
