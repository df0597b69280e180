use super::super::jpeg::fixtures::picture;
use super::*;

/// Width and bytes.
type Picture = (Option<u32>, Vec<u8>);

/// The pictures of a body that comes in chunks.
fn read(framing: Framing, chunks: &[&[u8]]) -> Result<Vec<Picture>, MjpegError> {
    let mut reader = MjpegReader::new(framing);
    let (mut found, mut current) = (vec![], vec![]);
    for chunk in chunks {
        let mut input = Bytes::copy_from_slice(chunk);
        while let Some(event) = reader.next(&mut input)? {
            match event {
                Event::Start => current = START.to_vec(),
                Event::Data(data) => current.extend(data),
                Event::Picture(facts) => found.push((facts.width, std::mem::take(&mut current))),
                Event::Broken(_) => current.clear(),
            }
        }
        assert!(input.is_empty());
    }
    Ok(found)
}

/// A body of three parts, each `before`, a picture, `after`.
fn body(before: &str, after: &str) -> Vec<u8> {
    (1..=3u16).fold(vec![], |mut out, n| {
        out.extend(before.as_bytes());
        out.extend(picture(n * 100, 50));
        out.extend(after.as_bytes());
        out
    })
}

fn expected() -> Vec<Picture> {
    (1..=3u16)
        .map(|n| (Some(u32::from(n) * 100), picture(n * 100, 50)))
        .collect()
}

#[test]
fn every_way_of_writing_a_boundary() {
    let len = picture(100, 50).len();
    let typical = "--myboundary\r\nContent-Type: image/jpeg\r\n";
    for (name, before, after) in [
        (
            "as the standard has it",
            format!("{typical}Content-Length: {len}\r\n\r\n"),
            "\r\n",
        ),
        (
            "the length counts the line end",
            format!("{typical}Content-Length: {}\r\n\r\n", len + 2),
            "\r\n",
        ),
        (
            "a length that is wrong",
            format!("{typical}Content-Length: 7\r\n\r\n"),
            "\r\n",
        ),
        ("no length", format!("{typical}\r\n"), "\r\n"),
        (
            "no line end after the picture",
            format!("{typical}\r\n"),
            "",
        ),
        (
            "four dashes",
            "----myboundary\r\nContent-Type: image/jpeg\r\n\r\n".to_owned(),
            "\r\n",
        ),
        (
            "no dashes",
            "myboundary\r\nContent-Type: image/jpeg\r\n\r\n".to_owned(),
            "\r\n",
        ),
        (
            "two dashes after every part",
            format!("{typical}\r\n"),
            "\r\n--myboundary--\r\n",
        ),
        (
            "line feeds only",
            typical.replace("\r\n", "\n") + "\n",
            "\n",
        ),
        (
            "bytes before the picture",
            format!("{typical}\r\n\0\0ab"),
            "\r\n",
        ),
        ("padding after it", format!("{typical}\r\n"), "\0\0\0\0\r\n"),
        ("no part header", "--b\r\n\r\n".to_owned(), "\r\n"),
    ] {
        let got = read(Framing::Parts, &[&body(&before, after)]).unwrap();
        assert_eq!(got, expected(), "{name}");
    }
}

#[test]
fn bare_pictures_need_nothing_between() {
    assert_eq!(read(Framing::Bare, &[&body("", "")]).unwrap(), expected());
}

#[test]
fn a_second_picture_in_one_part_is_not_another_frame() {
    let mut bytes = body("--b\r\n\r\n", "");
    bytes.extend(picture(900, 50)); // an interlaced camera's second field
    assert_eq!(read(Framing::Parts, &[&bytes]).unwrap(), expected());
}

#[test]
fn a_missing_end_marker_is_made_good_by_the_next_start() {
    let mut bytes = b"--b\r\n\r\n".to_vec();
    let mut cut = picture(100, 50);
    cut.truncate(cut.len() - 2);
    bytes.extend(&cut);
    bytes.extend(b"\r\n--b\r\n\r\n");
    bytes.extend(picture(200, 50));
    let got = read(Framing::Parts, &[&bytes]).unwrap();
    assert_eq!((got.len(), got[0].0, got[1].0), (2, Some(100), Some(200)));
    assert!(got[0].1.starts_with(&cut) && got[0].1.ends_with(&[0xFF, 0xD8]));
    assert_eq!(got[1].1, picture(200, 50));
}

#[test]
fn the_last_picture_may_lack_its_end() {
    let whole = picture(100, 50);
    let mut reader = MjpegReader::new(Framing::Bare);
    let mut input = Bytes::copy_from_slice(&whole[..whole.len() - 2]);
    while reader.next(&mut input).unwrap().is_some() {}
    assert_eq!(reader.finish().unwrap().width, Some(100));
    let mut headers_only = Bytes::copy_from_slice(&whole[..30]);
    let mut reader = MjpegReader::new(Framing::Bare);
    while reader.next(&mut headers_only).unwrap().is_some() {}
    assert_eq!(reader.finish(), None);
}

#[test]
fn a_broken_picture_is_passed_over() {
    let mut bytes = b"--b\r\n\r\n\xFF\xD8\xFF\xE0\0\0junk\r\n--b\r\n\r\n".to_vec();
    bytes.extend(picture(100, 50));
    let mut reader = MjpegReader::new(Framing::Parts);
    let mut input = Bytes::from(bytes);
    let mut kinds = vec![];
    while let Some(event) = reader.next(&mut input).unwrap() {
        match event {
            Event::Broken(why) => kinds.push(why),
            Event::Picture(_) => kinds.push("picture"),
            Event::Start | Event::Data(_) => {}
        }
    }
    assert_eq!(
        kinds,
        ["a segment shorter than its own length field", "picture"]
    );
}

#[test]
fn bounds_hold() {
    let endless = vec![b'x'; GAP_BYTES_MAX];
    let head = b"--b\r\nContent-Type: Video/H264; x=1\r\n\r\n";
    assert_eq!(
        read(Framing::Parts, &[head, &endless]),
        Err(MjpegError::NoPicture(Some("video/h264".to_owned())))
    );
    let whole = picture(100, 50);
    let start = &whole[..whole.len() - 2];
    let megabyte = vec![0x55u8; 1 << 20];
    let mut chunks: Vec<&[u8]> = vec![start];
    chunks.extend(std::iter::repeat_n(megabyte.as_slice(), 16));
    assert_eq!(
        read(Framing::Bare, &chunks),
        Err(MjpegError::PictureTooLarge)
    );
}

proptest::proptest! {
    #[test]
    fn any_split_gives_the_same_pictures(cuts in proptest::collection::vec(0usize..700, 0..20)) {
        let bytes = body("--b\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n");
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        proptest::prop_assert_eq!(read(Framing::Parts, &chunks).unwrap(), expected());
    }

    #[test]
    fn any_bytes_split_anywhere_give_the_same(
        bytes in proptest::collection::vec(
            proptest::sample::select(vec![0xFFu8, 0xD8, 0xD9, 0xDA, 0xC0, 0, 2, 3, b'\n', 0x55]), 0..200),
        cut in 0usize..200,
    ) {
        let cut = cut.min(bytes.len());
        for framing in [Framing::Parts, Framing::Bare] {
            let split = read(framing, &[&bytes[..cut], &bytes[cut..]]);
            proptest::prop_assert_eq!(split, read(framing, &[&bytes]));
        }
    }
}
