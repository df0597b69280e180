//! MP4 files and fragments made by hand.

use crate::wire::ts::fixtures::slice;

const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x28, 0xda, 0x01, 0xe0, 0x08, 0x9f, 0x97, 0x01, 0x10,
];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
pub(crate) const TICKS_PER_S: u32 = 12_800;
/// 25 pictures a second.
pub(crate) const STEP: u32 = 512;

pub(crate) fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = ((content.len() + 8) as u32).to_be_bytes().to_vec();
    out.extend(kind);
    out.extend(content);
    out
}

fn full(kind: &[u8; 4], flags: u32, numbers: &[u32]) -> Vec<u8> {
    let mut content = flags.to_be_bytes().to_vec();
    numbers.iter().for_each(|n| content.extend(n.to_be_bytes()));
    mp4_box(kind, &content)
}

pub(crate) fn avcc() -> Vec<u8> {
    let mut record = vec![1, 0x42, 0xc0, 0x28, 0xff, 0xe1, 0, SPS.len() as u8];
    record.extend(SPS);
    record.extend([1, 0, PPS.len() as u8]);
    record.extend(PPS);
    record
}

/// A sample entry of 1920x1080.
pub(crate) fn entry(kind: &[u8; 4], child: &[u8]) -> Vec<u8> {
    let mut content = vec![0; 78];
    content[24..28].copy_from_slice(&[0x07, 0x80, 0x04, 0x38]);
    content.extend(child);
    mp4_box(kind, &content)
}

pub(crate) fn h264_entry() -> Vec<u8> {
    entry(b"avc1", &mp4_box(b"avcC", &avcc()))
}

pub(crate) fn track(handler: &[u8; 4], entry: &[u8], duration: u32, tables: &[Vec<u8>]) -> Vec<u8> {
    let mut description = vec![0, 0, 0, 0, 0, 0, 0, 1];
    description.extend(entry);
    let mut table = mp4_box(b"stsd", &description);
    table.extend(tables.concat());
    let mut handler_content = vec![0; 8];
    handler_content.extend(handler);
    let media = [
        full(b"mdhd", 0, &[0, 0, TICKS_PER_S, duration, 0]),
        mp4_box(b"hdlr", &handler_content),
        mp4_box(b"minf", &mp4_box(b"stbl", &table)),
    ];
    let parts = [
        full(b"tkhd", 0, &[0, 0, 1, 0, 0]),
        mp4_box(b"mdia", &media.concat()),
    ];
    mp4_box(b"trak", &parts.concat())
}

/// Pictures as samples: a key frame every `gop`.
pub(crate) fn samples(pictures: usize, gop: usize) -> Vec<Vec<u8>> {
    (0..pictures)
        .map(|n| {
            let unit = match n % gop {
                0 => slice(true, 900),
                _ => slice(false, 100 + n),
            };
            [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
        })
        .collect()
}

/// A whole file, its index in front or behind, chunks of `per_chunk` samples.
pub(crate) fn movie(pictures: usize, gop: usize, per_chunk: usize, index_first: bool) -> Vec<u8> {
    let samples = samples(pictures, gop);
    let head = mp4_box(b"ftyp", b"isom\0\0\0\0");
    let index = |media_at: usize| {
        let sizes: Vec<u32> = samples.iter().map(|s| s.len() as u32).collect();
        let syncs: Vec<u32> = (0..pictures).step_by(gop).map(|n| n as u32 + 1).collect();
        let mut at = media_at;
        let offsets: Vec<u32> = samples
            .chunks(per_chunk)
            .map(|chunk| {
                let here = at;
                at += chunk.iter().map(Vec::len).sum::<usize>();
                here as u32
            })
            .collect();
        let last = pictures % per_chunk;
        let mut runs = vec![1, per_chunk as u32, 1];
        if last > 0 {
            runs.extend([offsets.len() as u32, last as u32, 1]);
        }
        let counted = |numbers: &[u32], per_entry: usize| {
            [&[(numbers.len() / per_entry) as u32], numbers].concat()
        };
        let tables = [
            full(b"stts", 0, &[1, pictures as u32, STEP]),
            full(b"stss", 0, &counted(&syncs, 1)),
            full(b"stsc", 0, &counted(&runs, 3)),
            full(
                b"stsz",
                0,
                &[&[0, pictures as u32], sizes.as_slice()].concat(),
            ),
            full(b"stco", 0, &counted(&offsets, 1)),
        ];
        let duration = pictures as u32 * STEP;
        let sound = track(b"soun", &mp4_box(b"mp4a", &[0; 28]), duration, &[]);
        let video = track(b"vide", &h264_entry(), duration, &tables);
        mp4_box(
            b"moov",
            &[full(b"mvhd", 0, &[0; 24]), sound, video].concat(),
        )
    };
    let media = mp4_box(b"mdat", &samples.concat());
    match index_first {
        true => {
            let index_bytes = index(0).len();
            let index = index(head.len() + index_bytes + 8);
            [head, index, media].concat()
        }
        false => {
            let index = index(head.len() + 8);
            [head, media, index].concat()
        }
    }
}

/// The initialisation of fragments.
pub(crate) fn initialisation() -> Vec<u8> {
    let video = track(b"vide", &h264_entry(), 0, &[full(b"stts", 0, &[0])]);
    let extends = mp4_box(b"mvex", &full(b"trex", 0, &[1, 1, STEP, 0, 0x0101_0000]));
    let movie = mp4_box(b"moov", &[video, extends].concat());
    [mp4_box(b"ftyp", b"iso5\0\0\0\0"), movie].concat()
}

/// One fragment of pictures, the first a key frame.
pub(crate) fn fragment(start: u32, pictures: usize) -> Vec<u8> {
    let samples = samples(pictures, pictures);
    let build = |data_offset: u32| {
        let mut run = vec![pictures as u32, data_offset, 0x0200_0000];
        run.extend(samples.iter().map(|s| s.len() as u32));
        let parts = [
            full(b"tfhd", 0x02_0000, &[1]),
            full(b"tfdt", 0, &[start]),
            full(b"trun", 0x205, &run),
        ];
        let header = full(b"mfhd", 0, &[1]);
        mp4_box(
            b"moof",
            &[header, mp4_box(b"traf", &parts.concat())].concat(),
        )
    };
    let moof = build(0).len() as u32;
    [
        mp4_box(b"styp", b"msdh\0\0\0\0"),
        build(moof + 8),
        mp4_box(b"mdat", &samples.concat()),
    ]
    .concat()
}
