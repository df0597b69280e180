//! Cameras on this machine through V4L2: which there are (sysfs), what they can do, and their pictures
//! by mapped memory. Calls to a driver may block while a bad cable is given up (uvcvideo waits up to
//! five seconds), so all but [`Stream::frame`] belongs on a thread of its own.

mod nodes;
mod stream;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;

use crate::wire::v4l2::{
    self, CAPABILITY_BYTES, Capability, FormatDescription, FourCc, FrameRate, FrameSize, Layout,
    PixelFormat,
};

pub use nodes::{Node, UsbIds, find, nodes};
pub use stream::{Capture, Stream};

/// Bounds of what a driver may list: vivid, which has all that there is, lists 83 formats.
const FORMATS_MAX: u32 = 128;
const SIZES_MAX: u32 = 64;
const RATES_MAX: u32 = 32;
/// A signal may interrupt a call; more often than this is a fault.
const INTERRUPTIONS_MAX: u32 = 8;

/// One open node. Opening it, and everything here that only asks, disturbs no other program.
#[derive(Debug)]
pub struct Device {
    file: File,
}

/// One size of a format.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeAbility {
    pub size: FrameSize,
    /// Of a range, those of its largest size.
    pub rates: Vec<FrameRate>,
}

/// One format with its sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatAbility {
    pub format: FormatDescription,
    pub sizes: Vec<SizeAbility>,
}

impl Device {
    /// Opens a node.
    ///
    /// # Errors
    /// `ENOENT`, `ENODEV`: it was unplugged. `EACCES`: this user is not in the group video.
    pub fn open(node: &Node) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(node.path())?;
        Ok(Self { file })
    }

    /// What it is.
    ///
    /// # Errors
    /// `ENOTTY`: no V4L2 device. `ENODEV`: unplugged.
    pub fn capability(&self) -> io::Result<Capability> {
        let mut answer = [0; CAPABILITY_BYTES];
        self.call(v4l2::QUERYCAP, &mut answer)?;
        Ok(Capability::read(&answer))
    }

    /// Its formats, without sizes.
    pub fn formats(&self) -> Vec<FormatDescription> {
        let mut found = Vec::new();
        for index in 0..FORMATS_MAX {
            let mut argument = FormatDescription::query(index);
            if self.call(v4l2::ENUM_FMT, &mut argument).is_err() {
                break;
            }
            found.push(FormatDescription::read(&argument));
        }
        found
    }

    /// Its formats with all sizes and frame rates.
    pub fn abilities(&self) -> Vec<FormatAbility> {
        let with_sizes = |format: FormatDescription| FormatAbility {
            sizes: self.sizes(format.fourcc),
            format,
        };
        self.formats().into_iter().map(with_sizes).collect()
    }

    fn sizes(&self, fourcc: FourCc) -> Vec<SizeAbility> {
        let mut found = Vec::new();
        for index in 0..SIZES_MAX {
            let mut argument = FrameSize::query(index, fourcc);
            if self.call(v4l2::ENUM_FRAMESIZES, &mut argument).is_err() {
                break;
            }
            let size = FrameSize::read(&argument);
            let (width, height) = match size {
                FrameSize::One { width, height } => (width, height),
                FrameSize::Range { max, .. } => max,
            };
            let rates = self.rates(fourcc, width, height);
            found.push(SizeAbility { size, rates });
            if matches!(size, FrameSize::Range { .. }) {
                break;
            }
        }
        found
    }

    fn rates(&self, fourcc: FourCc, width: u32, height: u32) -> Vec<FrameRate> {
        let mut found = Vec::new();
        for index in 0..RATES_MAX {
            let mut argument = FrameRate::query(index, fourcc, width, height);
            if self.call(v4l2::ENUM_FRAMEINTERVALS, &mut argument).is_err() {
                break;
            }
            let rate = FrameRate::read(&argument);
            found.extend(rate);
            if matches!(rate, Some(FrameRate::Range { .. })) {
                break;
            }
        }
        found
    }

    /// How pictures are delivered now.
    ///
    /// # Errors
    /// `EINVAL`: it has no pictures. `ENODEV`: unplugged.
    pub fn format(&self) -> io::Result<PixelFormat> {
        let layout = self.layout();
        let mut argument = layout.format_query();
        self.call(layout.get_format(), &mut argument)?;
        Ok(layout.read_format(&argument))
    }

    /// Asks for another way; the answer is what the driver made of it.
    ///
    /// # Errors
    /// `EBUSY`: another program takes pictures.
    pub fn set_format(&self, wanted: &PixelFormat) -> io::Result<PixelFormat> {
        let layout = self.layout();
        let mut argument = layout.format(wanted);
        self.call(layout.set_format(), &mut argument)?;
        Ok(layout.read_format(&argument))
    }

    /// Frames per second as set; `None` where the driver does not tell.
    pub fn rate(&self) -> Option<f64> {
        let mut argument = v4l2::rate_query();
        self.call(v4l2::G_PARM, &mut argument).ok()?;
        v4l2::read_rate(&argument)
    }

    /// Why its input brings nothing, as far as the driver knows.
    pub fn input_fault(&self) -> Option<&'static str> {
        let mut number = [0; 4];
        self.call(v4l2::G_INPUT, &mut number).ok()?;
        let mut argument = v4l2::input_query(u32::from_ne_bytes(number));
        self.call(v4l2::ENUMINPUT, &mut argument).ok()?;
        v4l2::read_input_fault(&argument)
    }

    /// The layout that all kernels of this kind know. Formats lie the same in all of them.
    fn layout(&self) -> &'static Layout {
        &Layout::NATIVE[0]
    }

    fn call(&self, number: u32, argument: &mut [u8]) -> io::Result<()> {
        call(self.file.as_raw_fd(), number, argument)
    }
}

/// One ioctl. An argument that is not as long as the call's number says is refused.
fn call(descriptor: RawFd, number: u32, argument: &mut [u8]) -> io::Result<()> {
    if argument.len() != v4l2::argument_bytes(number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut interruptions = 0;
    loop {
        // SAFETY: the kernel reads and writes as many bytes as the number says, which is the length
        // of the argument; it keeps no pointer to it.
        let result = unsafe { libc::ioctl(descriptor, number as _, argument.as_mut_ptr()) };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        interruptions += 1;
        if error.kind() != io::ErrorKind::Interrupted || interruptions > INTERRUPTIONS_MAX {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_of_another_length_never_reaches_the_kernel() {
        let error = call(-1, v4l2::QUERYCAP, &mut [0; 103]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = call(-1, v4l2::QUERYCAP, &mut [0; CAPABILITY_BYTES]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn what_is_no_v4l2_device_is_told_so() {
        let file = File::open("/dev/null").unwrap();
        let device = Device { file };
        assert_eq!(
            device.capability().unwrap_err().raw_os_error(),
            Some(libc::ENOTTY)
        );
        assert!(device.formats().is_empty());
        assert!(device.format().is_err());
    }
}
