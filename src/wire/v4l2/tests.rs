use super::*;
use proptest::prelude::*;

/// Compiled from the kernel's header with gcc for x86-64 and aarch64, which agree, and for 32-bit ARM
/// without and with `_TIME_BITS=64`.
#[test]
fn numbers_are_those_of_the_kernels_header() {
    for (call, number) in [
        (QUERYCAP, 0x8068_5600),
        (ENUM_FMT, 0xc040_5602),
        (REQBUFS, 0xc014_5608),
        (STREAMON, 0x4004_5612),
        (STREAMOFF, 0x4004_5613),
        (G_PARM, 0xc0cc_5615),
        (ENUMINPUT, 0xc050_561a),
        (G_INPUT, 0x8004_5626),
        (ENUM_FRAMESIZES, 0xc02c_564a),
        (ENUM_FRAMEINTERVALS, 0xc034_564b),
    ] {
        assert_eq!(call, number, "{number:#x}");
    }
    let of = |l: Layout| {
        [
            l.get_format(),
            l.set_format(),
            l.query_buffer(),
            l.queue(),
            l.dequeue(),
        ]
    };
    assert_eq!(
        of(Layout::BITS_64),
        [
            0xc0d0_5604,
            0xc0d0_5605,
            0xc058_5609,
            0xc058_560f,
            0xc058_5611
        ]
    );
    assert_eq!(
        of(Layout::BITS_32),
        [
            0xc0cc_5604,
            0xc0cc_5605,
            0xc050_5609,
            0xc050_560f,
            0xc050_5611
        ]
    );
    assert_eq!(
        of(Layout::BITS_32_TIME_32),
        [
            0xc0cc_5604,
            0xc0cc_5605,
            0xc044_5609,
            0xc044_560f,
            0xc044_5611
        ]
    );
    assert_eq!(argument_bytes(QUERYCAP), CAPABILITY_BYTES);
}

const LAYOUTS: [Layout; 3] = [Layout::BITS_64, Layout::BITS_32, Layout::BITS_32_TIME_32];

fn capability(driver: &str, all: u32, node: u32) -> Capability {
    let mut answer = [0; CAPABILITY_BYTES];
    answer[..driver.len()].copy_from_slice(driver.as_bytes());
    answer[16..25].copy_from_slice(b"HD Webcam");
    put(&mut answer, 84, all);
    put(&mut answer, 88, node);
    Capability::read(&answer)
}

#[test]
fn only_cameras_are_cameras() {
    let uvc = capability("uvcvideo", 0x84a0_0001, 0x0420_0001);
    assert_eq!(
        (uvc.driver.as_str(), uvc.card.as_str()),
        ("uvcvideo", "HD Webcam")
    );
    assert!(uvc.is_camera());
    let metadata = capability("uvcvideo", 0x84a0_0001, 0x04a0_0000);
    assert!(!metadata.is_camera());
    // An old driver without capabilities of the node.
    assert!(capability("em28xx", 0x0500_0001, 0).is_camera());
    assert!(!capability("vivid", 0x8500_0003, 0x0500_0002).is_camera());
    assert!(!capability("bcm2835-codec", 0x8420_8000, 0x0420_8000).is_camera());
    assert!(!capability("bcm2835-isp", 0x8420_0001, 0x0420_0001).is_camera());
    assert!(!capability("radio", 0x8001_0000, 0x0001_0000).is_camera());
    // `exclusive_caps=1`, fed and not, and the module's default.
    let loopback = |node| capability("v4l2 loopback", 0x8000_0000 | node, node);
    assert!(loopback(0x0500_0001).is_camera() && loopback(0x0500_0003).is_camera());
    assert!(!loopback(0x0500_0002).is_camera() && loopback(0x0500_0002).is_loopback());
}

#[test]
fn formats_sizes_and_rates_are_read() {
    let mut answer = FormatDescription::query(2);
    assert_eq!((get(&answer, 0), get(&answer, 4)), (2, CAPTURE));
    put(&mut answer, 8, 1);
    answer[12..25].copy_from_slice(b"Motion-JPEG\0x");
    put(&mut answer, 44, FourCc::MJPEG.0);
    let read = FormatDescription::read(&answer);
    assert_eq!(
        (read.fourcc, read.description.as_str()),
        (FourCc::MJPEG, "Motion-JPEG")
    );
    assert!(read.is_compressed && !read.is_emulated);

    let mut size = FrameSize::query(0, FourCc::MJPEG);
    for (at, number) in [(8, 1), (12, 1280), (16, 720)] {
        put(&mut size, at, number);
    }
    let one = FrameSize::One {
        width: 1280,
        height: 720,
    };
    assert_eq!(FrameSize::read(&size), one);
    for (at, number) in [
        (8, 3),
        (12, 48),
        (16, 4096),
        (20, 2),
        (24, 32),
        (28, 2160),
        (32, 2),
    ] {
        put(&mut size, at, number);
    }
    let range = FrameSize::Range {
        min: (48, 32),
        max: (4096, 2160),
    };
    assert_eq!(FrameSize::read(&size), range);

    let mut rate = FrameRate::query(1, FourCc::MJPEG, 1280, 720);
    assert_eq!((get(&rate, 8), get(&rate, 12)), (1280, 720));
    for (at, number) in [(16, 1), (20, 1001), (24, 30_000)] {
        put(&mut rate, at, number);
    }
    assert_eq!(FrameRate::read(&rate), Some(FrameRate::One(30.0)));
    for (at, number) in [(16, 2), (20, 1), (24, 60), (28, 1), (32, 5)] {
        put(&mut rate, at, number);
    }
    let range = FrameRate::Range {
        min: 5.0,
        max: 60.0,
    };
    assert_eq!(FrameRate::read(&rate), Some(range));
    put(&mut rate, 20, 0);
    assert_eq!(FrameRate::read(&rate), None);
}

#[test]
fn the_rate_counts_only_where_the_driver_says_that_it_has_one() {
    let mut answer = rate_query();
    for (at, number) in [(12, 1), (16, 25)] {
        put(&mut answer, at, number);
    }
    assert_eq!(read_rate(&answer), None);
    put(&mut answer, 4, 0x1000);
    assert_eq!(read_rate(&answer), Some(25.0));
}

#[test]
fn an_input_tells_why_nothing_comes() {
    let mut answer = input_query(1);
    assert_eq!(read_input_fault(&answer), None);
    put(&mut answer, 56, 2);
    assert_eq!(read_input_fault(&answer), Some("its input has no signal"));
}

proptest! {
    #[test]
    fn a_format_comes_back_as_it_was_set(width in any::<u32>(), height in any::<u32>(), code in any::<u32>()) {
        let wanted = PixelFormat { width, height, fourcc: FourCc(code), line_bytes: 0, image_bytes: 0 };
        for layout in LAYOUTS {
            let argument = layout.format(&wanted);
            prop_assert_eq!(argument.len(), argument_bytes(layout.set_format()));
            prop_assert_eq!(layout.read_format(&argument), wanted);
        }
    }

    #[test]
    fn a_buffer_is_read_where_it_lies(index in any::<u32>(), seconds in 0u32..0x7fff_ffff, micros in 0u32..1_000_000, numbers in any::<[u32; 4]>()) {
        for layout in LAYOUTS {
            let mut answer = layout.buffer(index);
            prop_assert_eq!(answer.len(), argument_bytes(layout.dequeue()));
            put(&mut answer, 8, numbers[0]);
            put(&mut answer, 12, 0x40);
            let low = if cfg!(target_endian = "big") { layout.time_bytes - 4 } else { 0 };
            put(&mut answer, layout.timestamp_at + low, seconds);
            put(&mut answer, layout.timestamp_at + layout.time_bytes + low, micros);
            for (at, number) in [(layout.sequence_at, numbers[1]), (layout.offset_at, numbers[2]), (layout.length_at, numbers[3])] {
                put(&mut answer, at, number);
            }
            let want = Buffer {
                index,
                used_bytes: numbers[0],
                is_broken: true,
                timestamp_us: u64::from(seconds) * 1_000_000 + u64::from(micros),
                sequence: numbers[1],
                offset: numbers[2],
                length: numbers[3],
            };
            prop_assert_eq!(layout.read_buffer(&answer), want);
        }
    }

    #[test]
    fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..220)) {
        for layout in LAYOUTS {
            let _ = (layout.read_format(&bytes), layout.read_buffer(&bytes));
        }
        let mut whole = bytes;
        whole.resize(256, 0xff);
        let _ = Capability::read(whole.first_chunk().unwrap());
        let _ = FormatDescription::read(whole.first_chunk().unwrap());
        let _ = FrameSize::read(whole.first_chunk().unwrap());
        let _ = FrameRate::read(whole.first_chunk().unwrap());
        let _ = read_rate(whole.first_chunk().unwrap());
    }
}
