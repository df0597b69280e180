//! Pictures of one device: buffers of the driver, mapped, one picture at a time.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{Device, call};
use crate::wire::v4l2::{self, Buffer, Layout};

/// As few as drivers work with: they are the kernel's memory.
const BUFFERS: u32 = 3;
/// Drivers may give more.
const BUFFERS_MAX: u32 = 8;
/// v4l2loopback wakes nobody who began to wait while a picture was there: it is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// An uncompressed picture of 8K has 66 MB.
const BUFFER_BYTES_MAX: u32 = 128 * 1024 * 1024;

/// A device that delivers pictures. Dropped, it stops and gives its buffers back, which may block.
#[derive(Debug)]
pub struct Capture {
    device: Device,
    layout: &'static Layout,
    maps: Vec<Map>,
}

impl Capture {
    /// Begins to take pictures in the format that is set.
    ///
    /// # Errors
    /// `EBUSY`: another program does. `ENOSPC`: the USB bus has no bandwidth left.
    pub fn start(device: Device) -> io::Result<Self> {
        let mut argument = v4l2::buffers(BUFFERS);
        device.call(v4l2::REQBUFS, &mut argument)?;
        let count = v4l2::read_buffers(&argument).min(BUFFERS_MAX);
        // From here on the buffers are ours, and given back whatever happens.
        let mut capture = Self {
            device,
            layout: &Layout::NATIVE[0],
            maps: Vec::new(),
        };
        if count == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        capture.choose_layout()?;
        for index in 0..count {
            let map = capture.map(index)?;
            capture.maps.push(map);
            capture.queue(index)?;
        }
        let mut kind = v4l2::CAPTURE.to_ne_bytes();
        capture.device.call(v4l2::STREAMON, &mut kind)?;
        Ok(capture)
    }

    /// The first layout that this kernel knows.
    fn choose_layout(&mut self) -> io::Result<()> {
        let mut last = io::Error::from_raw_os_error(libc::ENOTTY);
        for layout in Layout::NATIVE {
            match self
                .device
                .call(layout.query_buffer(), &mut layout.buffer(0))
            {
                Ok(()) => {
                    self.layout = layout;
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn map(&self, index: u32) -> io::Result<Map> {
        let mut argument = self.layout.buffer(index);
        self.device
            .call(self.layout.query_buffer(), &mut argument)?;
        let buffer = self.layout.read_buffer(&argument);
        Map::new(self.as_raw_fd(), buffer.offset, buffer.length)
    }

    fn queue(&self, index: u32) -> io::Result<()> {
        let mut argument = self.layout.buffer(index);
        self.device.call(self.layout.queue(), &mut argument)
    }

    fn dequeue(&self) -> io::Result<Buffer> {
        let mut argument = self.layout.buffer(0);
        self.device.call(self.layout.dequeue(), &mut argument)?;
        Ok(self.layout.read_buffer(&argument))
    }
}

impl AsRawFd for Capture {
    fn as_raw_fd(&self) -> RawFd {
        self.device.file.as_raw_fd()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Whatever fails here fails because the device is gone.
        let mut kind = v4l2::CAPTURE.to_ne_bytes();
        let _ = call(self.as_raw_fd(), v4l2::STREAMOFF, &mut kind);
        self.maps.clear();
        let _ = call(self.as_raw_fd(), v4l2::REQBUFS, &mut v4l2::buffers(0));
    }
}

/// A capture that the runtime waits for.
#[derive(Debug)]
pub struct Stream {
    io: Option<AsyncFd<Capture>>,
}

impl Stream {
    /// # Errors
    /// The runtime takes no further descriptor.
    pub fn new(capture: Capture) -> io::Result<Self> {
        // SAFETY: a Capture owns its descriptor, which stays the same and open until it is dropped.
        let io = unsafe { AsyncFd::register(capture) }?;
        Ok(Self { io: Some(io) })
    }

    /// Waits for a picture and shows it; it goes back to the driver behind that.
    ///
    /// # Errors
    /// `ENODEV`: unplugged. `EIO`: the device broke off.
    pub async fn frame<T>(&self, look: impl FnOnce(&Buffer, &[u8]) -> T) -> io::Result<T> {
        let io = self.io.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let buffer = next_buffer(io).await?;
        let capture = io.get_ref();
        let map = capture.maps.get(buffer.index as usize);
        let map = map.ok_or(io::ErrorKind::InvalidData)?;
        let seen = look(&buffer, map.bytes(buffer.used_bytes));
        capture.queue(buffer.index)?;
        Ok(seen)
    }

    /// The capture, to be dropped where that may block.
    pub fn into_capture(mut self) -> Option<Capture> {
        self.io.take().map(AsyncFd::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Cut off in the middle: the runtime must not wait for the driver.
        if let (Some(io), Ok(runtime)) = (self.io.take(), Handle::try_current()) {
            let capture = io.into_inner();
            runtime.spawn_blocking(move || drop(capture));
        }
    }
}

async fn next_buffer(io: &AsyncFd<Capture>) -> io::Result<Buffer> {
    loop {
        let woken = io.async_io(Interest::READABLE | Interest::ERROR, Capture::dequeue);
        if let Ok(dequeued) = timeout(LOOK_EVERY, woken).await {
            return dequeued;
        }
        match io.get_ref().dequeue() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            dequeued => return dequeued,
        }
    }
}

/// Memory of the driver, mapped for reading.
#[derive(Debug)]
struct Map {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone and is tied to no thread.
unsafe impl Send for Map {}
// SAFETY: it is only ever read.
unsafe impl Sync for Map {}

impl Map {
    fn new(descriptor: RawFd, offset: u32, length: u32) -> io::Result<Self> {
        if length == 0 || length > BUFFER_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = length as usize;
        // SAFETY: a new mapping at an address that the kernel chooses; nothing else is touched.
        let start = unsafe {
            libc::mmap64(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                descriptor,
                libc::off64_t::from(offset),
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// At most the first `used` bytes. Called for buffers that the driver has handed over: until they
    /// are queued again it does not write them.
    fn bytes(&self, used: u32) -> &[u8] {
        let length = self.length.min(used as usize);
        // SAFETY: the mapping is as long as `length` at least and lives as long as this value.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and no slice of it outlives this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_what_is_used_and_no_more() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let map = Map::new(file.as_raw_fd(), 4096, 4096).unwrap();
        assert_eq!((map.bytes(10).len(), map.bytes(u32::MAX).len()), (10, 4096));
        assert!(Map::new(file.as_raw_fd(), 0, 0).is_err());
        assert!(Map::new(file.as_raw_fd(), 0, BUFFER_BYTES_MAX + 1).is_err());
        assert!(Map::new(-1, 0, 4096).is_err());
    }
}
