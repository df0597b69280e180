//! Single messages: a response in place, a request to send.

/// A response in place.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    pub status: u16,
    /// A web server answered.
    pub is_http: bool,
    pub(super) head: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> Response<'a> {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        find_header(self.head, name)
    }

    /// Every header of this name, in order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a str> {
        named_headers(self.head, name)
    }

    /// The session's identifier (RFC 2326 section 12.37), without its parameters.
    pub fn session(&self) -> Option<&'a str> {
        let id = self.header("Session")?.split(';').next()?.trim();
        (!id.is_empty()).then_some(id)
    }

    /// The first of the interleaved channels that the server chose.
    pub fn interleaved_channel(&self) -> Option<u8> {
        let transport = self.header("Transport")?;
        let mut parts = transport.split([';', ',']).map(str::trim);
        let channels = parts.find_map(|p| p.strip_prefix("interleaved="))?;
        channels.split('-').next()?.trim().parse().ok()
    }
}

/// Appends a request without a body.
pub fn write_request<'a>(
    out: &mut Vec<u8>,
    method: &str,
    uri: &str,
    cseq: u32,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    use std::io::Write as _;
    // Writing to memory cannot fail.
    let _ = write!(out, "{method} {uri} RTSP/1.0\r\nCSeq: {cseq}\r\n");
    for (name, value) in headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn find_header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    named_headers(head, name).next()
}

fn named_headers<'a>(head: &'a [u8], name: &str) -> impl Iterator<Item = &'a str> {
    head.split(|b| *b == b'\n').skip(1).filter_map(move |line| {
        let colon = line.iter().position(|b| *b == b':')?;
        let (found, value) = line.split_at(colon);
        if !found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        let value = std::str::from_utf8(value.get(1..)?).ok()?;
        Some(value.trim())
    })
}
