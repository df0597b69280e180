//! V4L2 as bytes (kernel's uapi/linux/videodev2.h): numbers of the calls, layouts of their arguments
//! on 64-bit and 32-bit systems, capabilities, formats. Numbers are in the machine's byte order.

mod fourcc;
mod frame;

pub use fourcc::{FourCc, Packing};
pub use frame::{FrameCheck, FrameFacts};

/// `_IOC` of asm-generic/ioctl.h, type `V`: direction, number and size of the argument.
const fn call(direction: u32, number: u32, bytes: usize) -> u32 {
    direction << 30 | (bytes as u32) << 16 | (b'V' as u32) << 8 | number
}

const WRITE: u32 = 1;
const READ: u32 = 2;
const BOTH: u32 = WRITE | READ;

/// Bytes of the argument that a call's number names.
pub const fn argument_bytes(call: u32) -> usize {
    (call >> 16 & 0x3fff) as usize
}

pub const CAPABILITY_BYTES: usize = 104;
const FORMAT_DESCRIPTION_BYTES: usize = 64;
const REQUEST_BUFFERS_BYTES: usize = 20;
const STREAM_PARAMETERS_BYTES: usize = 204;
const INPUT_BYTES: usize = 80;
const FRAME_SIZE_BYTES: usize = 44;
const FRAME_INTERVAL_BYTES: usize = 52;

pub const QUERYCAP: u32 = call(READ, 0, CAPABILITY_BYTES);
pub const ENUM_FMT: u32 = call(BOTH, 2, FORMAT_DESCRIPTION_BYTES);
pub const REQBUFS: u32 = call(BOTH, 8, REQUEST_BUFFERS_BYTES);
pub const STREAMON: u32 = call(WRITE, 18, 4);
pub const STREAMOFF: u32 = call(WRITE, 19, 4);
pub const G_PARM: u32 = call(BOTH, 21, STREAM_PARAMETERS_BYTES);
pub const ENUMINPUT: u32 = call(BOTH, 26, INPUT_BYTES);
pub const G_INPUT: u32 = call(READ, 38, 4);
pub const ENUM_FRAMESIZES: u32 = call(BOTH, 74, FRAME_SIZE_BYTES);
pub const ENUM_FRAMEINTERVALS: u32 = call(BOTH, 75, FRAME_INTERVAL_BYTES);

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`
pub const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`
const MMAP: u32 = 1;
/// `V4L2_FIELD_ANY`
const FIELD_ANY: u32 = 0;

/// Where the fields lie that differ between systems: pointers and times have other sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// `struct v4l2_format`; its union is aligned as a pointer.
    format_bytes: usize,
    format_at: usize,
    /// `struct v4l2_buffer`, and in it the two numbers of `timestamp`.
    buffer_bytes: usize,
    timestamp_at: usize,
    time_bytes: usize,
    sequence_at: usize,
    offset_at: usize,
    length_at: usize,
}

impl Layout {
    /// 64-bit systems.
    pub const BITS_64: Self = Self {
        format_bytes: 208,
        format_at: 8,
        buffer_bytes: 88,
        timestamp_at: 24,
        time_bytes: 8,
        sequence_at: 56,
        offset_at: 64,
        length_at: 72,
    };
    /// 32-bit ARM with times that last beyond 2038, kernels from 5.6.
    pub const BITS_32: Self = Self {
        format_bytes: 204,
        format_at: 4,
        buffer_bytes: 80,
        timestamp_at: 24,
        time_bytes: 8,
        sequence_at: 56,
        offset_at: 64,
        length_at: 68,
    };
    /// 32-bit ARM with 32-bit times, for older kernels.
    pub const BITS_32_TIME_32: Self = Self {
        format_bytes: 204,
        format_at: 4,
        buffer_bytes: 68,
        timestamp_at: 20,
        time_bytes: 4,
        sequence_at: 44,
        offset_at: 52,
        length_at: 56,
    };
    /// Those that the kernel of this machine may know, best first.
    pub const NATIVE: &[Self] = match cfg!(target_pointer_width = "64") {
        true => &[Self::BITS_64],
        false => &[Self::BITS_32, Self::BITS_32_TIME_32],
    };

    pub const fn get_format(&self) -> u32 {
        call(BOTH, 4, self.format_bytes)
    }

    pub const fn set_format(&self) -> u32 {
        call(BOTH, 5, self.format_bytes)
    }

    pub const fn query_buffer(&self) -> u32 {
        call(BOTH, 9, self.buffer_bytes)
    }

    pub const fn queue(&self) -> u32 {
        call(BOTH, 15, self.buffer_bytes)
    }

    pub const fn dequeue(&self) -> u32 {
        call(BOTH, 17, self.buffer_bytes)
    }

    /// Argument of [`Layout::get_format`].
    pub fn format_query(&self) -> Vec<u8> {
        let mut out = vec![0; self.format_bytes];
        put(&mut out, 0, CAPTURE);
        out
    }

    /// Argument of [`Layout::set_format`]; the driver may choose another size that it has.
    pub fn format(&self, wanted: &PixelFormat) -> Vec<u8> {
        let mut out = self.format_query();
        let numbers = [wanted.width, wanted.height, wanted.fourcc.0, FIELD_ANY];
        for (i, number) in numbers.into_iter().enumerate() {
            put(&mut out, self.format_at + 4 * i, number);
        }
        out
    }

    /// `struct v4l2_pix_format` of an answer.
    pub fn read_format(&self, answer: &[u8]) -> PixelFormat {
        let number = |i: usize| get(answer, self.format_at + 4 * i);
        PixelFormat {
            width: number(0),
            height: number(1),
            fourcc: FourCc(number(2)),
            line_bytes: number(4),
            image_bytes: number(5),
        }
    }

    /// Argument of the calls about one buffer.
    pub fn buffer(&self, index: u32) -> Vec<u8> {
        let mut out = vec![0; self.buffer_bytes];
        put(&mut out, 0, index);
        put(&mut out, 4, CAPTURE);
        put(&mut out, self.sequence_at + 4, MMAP);
        out
    }

    pub fn read_buffer(&self, answer: &[u8]) -> Buffer {
        let time = |i: usize| {
            let at = self.timestamp_at + i * self.time_bytes;
            match self.time_bytes {
                8 => bytes_at(answer, at).map(u64::from_ne_bytes),
                _ => bytes_at(answer, at).map(|bytes| u64::from(u32::from_ne_bytes(bytes))),
            }
            .unwrap_or_default()
        };
        Buffer {
            index: get(answer, 0),
            used_bytes: get(answer, 8),
            is_broken: get(answer, 12) & 0x40 != 0,
            timestamp_us: time(0).wrapping_mul(1_000_000).wrapping_add(time(1)),
            sequence: get(answer, self.sequence_at),
            offset: get(answer, self.offset_at),
            length: get(answer, self.length_at),
        }
    }
}

/// The kernel's own declarations: a target with another layout does not build.
mod layout_of_this_target {
    use super::Layout;
    use std::ffi::{c_long, c_ulong};
    use std::mem::{offset_of, size_of};

    #[repr(C)]
    struct Format {
        kind: u32,
        // The largest member with a pointer is `struct v4l2_window`; `raw_data` has 200 bytes.
        fmt: FormatUnion,
    }

    #[repr(C)]
    union FormatUnion {
        pointer: c_ulong,
        raw_data: [u8; 200],
    }

    #[repr(C)]
    struct Buffer<T> {
        numbers: [u32; 5],
        timestamp: [T; 2],
        timecode: [u32; 4],
        sequence: u32,
        memory: u32,
        m: c_ulong,
        length: u32,
        reserved2: u32,
        request_fd: i32,
    }

    const fn is_layout<T>(layout: Layout) -> bool {
        layout.format_bytes == size_of::<Format>()
            && layout.format_at == offset_of!(Format, fmt)
            && layout.buffer_bytes == size_of::<Buffer<T>>()
            && layout.timestamp_at == offset_of!(Buffer<T>, timestamp)
            && layout.time_bytes == size_of::<T>()
            && layout.sequence_at == offset_of!(Buffer<T>, sequence)
            && layout.sequence_at + 4 == offset_of!(Buffer<T>, memory)
            && layout.offset_at == offset_of!(Buffer<T>, m)
            && layout.length_at == offset_of!(Buffer<T>, length)
    }

    const _: () = assert!(is_layout::<i64>(Layout::NATIVE[0]));
    const _: () = assert!(Layout::NATIVE.len() == 1 || is_layout::<c_long>(Layout::NATIVE[1]));
}

/// How pictures are delivered now (`struct v4l2_pix_format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelFormat {
    pub width: u32,
    pub height: u32,
    pub fourcc: FourCc,
    /// Of one line of an uncompressed picture, padding included; 0 for compressed ones.
    pub line_bytes: u32,
    /// The most that one picture takes.
    pub image_bytes: u32,
}

/// One buffer as the driver tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    pub index: u32,
    pub used_bytes: u32,
    /// The driver lost a part of the picture (`V4L2_BUF_FLAG_ERROR`).
    pub is_broken: bool,
    /// When its first byte came, in the clock of the driver.
    pub timestamp_us: u64,
    pub sequence: u32,
    /// Where it is mapped.
    pub offset: u32,
    pub length: u32,
}

/// What a device node is (`struct v4l2_capability`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// `uvcvideo`, `vivid`, ...
    pub driver: String,
    /// The device's name for people.
    pub card: String,
    /// Where it is plugged in, `usb-0000:00:14.0-2`.
    pub bus: String,
    /// `V4L2_CAP_*` of this node.
    pub flags: u32,
}

/// Blocks of a chip that look like cameras and are stages behind one.
const STAGES: [&str; 2] = ["bcm2835-isp", "pispbe"];

impl Capability {
    const VIDEO_CAPTURE: u32 = 1;
    const VIDEO_OUTPUT: u32 = 2;
    const M2M_MPLANE: u32 = 0x4000;
    const M2M: u32 = 0x8000;
    const STREAMING: u32 = 0x0400_0000;
    const DEVICE_CAPS: u32 = 0x8000_0000;

    /// Reads the answer to [`QUERYCAP`].
    pub fn read(answer: &[u8; CAPABILITY_BYTES]) -> Self {
        let of_device = get(answer, 84);
        Self {
            driver: text(answer, 0, 16),
            card: text(answer, 16, 32),
            bus: text(answer, 48, 32),
            flags: match of_device & Self::DEVICE_CAPS {
                0 => of_device,
                _ => get(answer, 88),
            },
        }
    }

    /// True where pictures come out and none go in: no metadata, output, codec or ISP node. What another
    /// program feeds by v4l2loopback is a camera too.
    pub fn is_camera(&self) -> bool {
        let wanted = Self::VIDEO_CAPTURE | Self::STREAMING;
        let output = if self.is_loopback() {
            0
        } else {
            Self::VIDEO_OUTPUT
        };
        let unwanted = output | Self::M2M | Self::M2M_MPLANE;
        self.flags & (wanted | unwanted) == wanted && !STAGES.contains(&self.driver.as_str())
    }

    /// v4l2loopback: it gives what another program writes into it. With `exclusive_caps=1` it is a camera
    /// only while one does.
    pub fn is_loopback(&self) -> bool {
        self.driver == "v4l2 loopback"
    }
}

/// One format that a device has (`struct v4l2_fmtdesc`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatDescription {
    pub fourcc: FourCc,
    pub description: String,
    pub is_compressed: bool,
    /// Made by a library or the driver from another one.
    pub is_emulated: bool,
}

impl FormatDescription {
    /// Argument of [`ENUM_FMT`].
    pub fn query(index: u32) -> [u8; FORMAT_DESCRIPTION_BYTES] {
        let mut out = [0; FORMAT_DESCRIPTION_BYTES];
        put(&mut out, 0, index);
        put(&mut out, 4, CAPTURE);
        out
    }

    pub fn read(answer: &[u8; FORMAT_DESCRIPTION_BYTES]) -> Self {
        let flags = get(answer, 8);
        Self {
            fourcc: FourCc(get(answer, 44)),
            description: text(answer, 12, 32),
            is_compressed: flags & 1 != 0,
            is_emulated: flags & 2 != 0,
        }
    }
}

/// Sizes of one format (`struct v4l2_frmsizeenum`), pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameSize {
    One {
        width: u32,
        height: u32,
    },
    /// Continuous or stepwise: any between them.
    Range {
        min: (u32, u32),
        max: (u32, u32),
    },
}

impl FrameSize {
    /// Argument of [`ENUM_FRAMESIZES`].
    pub fn query(index: u32, fourcc: FourCc) -> [u8; FRAME_SIZE_BYTES] {
        let mut out = [0; FRAME_SIZE_BYTES];
        put(&mut out, 0, index);
        put(&mut out, 4, fourcc.0);
        out
    }

    pub fn read(answer: &[u8; FRAME_SIZE_BYTES]) -> Self {
        let number = |at| get(answer, at);
        match number(8) {
            DISCRETE => Self::One {
                width: number(12),
                height: number(16),
            },
            _ => Self::Range {
                min: (number(12), number(24)),
                max: (number(16), number(28)),
            },
        }
    }
}

/// `V4L2_FRMSIZE_TYPE_DISCRETE`, `V4L2_FRMIVAL_TYPE_DISCRETE`
const DISCRETE: u32 = 1;

/// Frame rates of one format and size (`struct v4l2_frmivalenum`), frames per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FrameRate {
    One(f64),
    Range { min: f64, max: f64 },
}

impl FrameRate {
    /// Argument of [`ENUM_FRAMEINTERVALS`].
    pub fn query(
        index: u32,
        fourcc: FourCc,
        width: u32,
        height: u32,
    ) -> [u8; FRAME_INTERVAL_BYTES] {
        let mut out = [0; FRAME_INTERVAL_BYTES];
        for (i, number) in [index, fourcc.0, width, height].into_iter().enumerate() {
            put(&mut out, 4 * i, number);
        }
        out
    }

    /// `None` for intervals that are no time.
    pub fn read(answer: &[u8; FRAME_INTERVAL_BYTES]) -> Option<Self> {
        let rate = |at| per_second(get(answer, at), get(answer, at + 4));
        match get(answer, 16) {
            DISCRETE => rate(20).map(Self::One),
            // The shortest interval is the highest rate.
            _ => Some(Self::Range {
                min: rate(28)?,
                max: rate(20)?,
            }),
        }
    }
}

/// Frames per second, rounded to 0.1, of an interval in seconds.
fn per_second(numerator: u32, denominator: u32) -> Option<f64> {
    let rate = f64::from(denominator) / f64::from(numerator);
    (numerator > 0 && denominator > 0).then(|| (rate * 10.0).round() / 10.0)
}

/// Argument of [`G_PARM`].
pub fn rate_query() -> [u8; STREAM_PARAMETERS_BYTES] {
    let mut out = [0; STREAM_PARAMETERS_BYTES];
    put(&mut out, 0, CAPTURE);
    out
}

/// Frames per second as set (`struct v4l2_captureparm`); `None` where the driver does not say.
pub fn read_rate(answer: &[u8; STREAM_PARAMETERS_BYTES]) -> Option<f64> {
    /// `V4L2_CAP_TIMEPERFRAME`
    const HAS_RATE: u32 = 0x1000;
    let has_rate = get(answer, 4) & HAS_RATE != 0;
    per_second(get(answer, 12), get(answer, 16)).filter(|_| has_rate)
}

/// Argument of [`REQBUFS`]; 0 gives all back.
pub fn buffers(count: u32) -> [u8; REQUEST_BUFFERS_BYTES] {
    let mut out = [0; REQUEST_BUFFERS_BYTES];
    for (i, number) in [count, CAPTURE, MMAP].into_iter().enumerate() {
        put(&mut out, 4 * i, number);
    }
    out
}

/// How many buffers the driver made.
pub fn read_buffers(answer: &[u8; REQUEST_BUFFERS_BYTES]) -> u32 {
    get(answer, 0)
}

/// Argument of [`ENUMINPUT`].
pub fn input_query(index: u32) -> [u8; INPUT_BYTES] {
    let mut out = [0; INPUT_BYTES];
    put(&mut out, 0, index);
    out
}

/// Why no picture comes through an input, as far as the driver knows (`V4L2_IN_ST_*`).
pub fn read_input_fault(answer: &[u8; INPUT_BYTES]) -> Option<&'static str> {
    let status = get(answer, 56);
    match status {
        _ if status & 1 != 0 => Some("its input has no power"),
        _ if status & 2 != 0 => Some("its input has no signal"),
        _ => None,
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// 0 behind the end.
fn get(bytes: &[u8], at: usize) -> u32 {
    bytes_at(bytes, at).map_or(0, u32::from_ne_bytes)
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(slot) = bytes.get_mut(at..at + 4) {
        slot.copy_from_slice(&number.to_ne_bytes());
    }
}

/// A text of at most `length` bytes that ends with a NUL, without control characters.
fn text(bytes: &[u8], at: usize, length: usize) -> String {
    let field = bytes.get(at..at + length).unwrap_or_default();
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let field = field.get(..end).unwrap_or_default();
    let text = String::from_utf8_lossy(field);
    let shown = text.chars().filter(|c| !c.is_control());
    shown.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests;
