//! Device events of the kernel (`NETLINK_KOBJECT_UEVENT`, kernel's lib/kobject_uevent.c): a header
//! `ACTION@DEVPATH`, then `KEY=value` texts, each with a NUL behind it.

/// A message has at most this many bytes (the kernel's UEVENT_BUFFER_SIZE is 2048, its header apart).
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// What happened to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Add,
    Remove,
    /// `change`, `move`, `online`, `offline`, `bind`, `unbind`.
    Other,
}

/// One event, borrowed from its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uevent<'a> {
    pub action: Action,
    /// Path below `/sys`, beginning with `/`.
    pub devpath: &'a str,
    /// `video4linux`, `usb`, `net`, ...
    pub subsystem: &'a str,
    /// Name below `/dev`, as in `video0`; `None` for devices without a node.
    pub devname: Option<&'a str>,
}

impl<'a> Uevent<'a> {
    /// Reads one message. `None` for what is none of the kernel's: udev's own events begin with
    /// `libudev`, and a text that is no UTF-8 is not one that we could use.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let message = message.get(..MESSAGE_BYTES_MAX).unwrap_or(message);
        let text = std::str::from_utf8(message).ok()?;
        let mut parts = text.split('\0');
        let (head, path) = parts.next()?.split_once('@')?;
        let mut event = Self {
            action: action(head)?,
            devpath: path,
            subsystem: "",
            devname: None,
        };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key {
                "SUBSYSTEM" => event.subsystem = value,
                "DEVNAME" => event.devname = Some(value),
                // What the header says already must not say something else.
                "ACTION" if action(value) != Some(event.action) => return None,
                "DEVPATH" if value != path => return None,
                _ => {}
            }
        }
        path.starts_with('/').then_some(event)
    }

    /// A camera, or another video device, came or went.
    pub fn is_video(&self) -> bool {
        self.subsystem == "video4linux" && self.action != Action::Other
    }
}

fn action(word: &str) -> Option<Action> {
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    match word {
        "add" => Some(Action::Add),
        "remove" => Some(Action::Remove),
        _ => is_word.then_some(Action::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLUGGED: &[u8] =
        b"add@/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/video4linux/video0\0\
        ACTION=add\0DEVPATH=/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/video4linux/video0\0\
        SUBSYSTEM=video4linux\0MAJOR=81\0MINOR=0\0DEVNAME=video0\0SEQNUM=4711\0";

    #[test]
    fn a_camera_comes_and_goes() {
        let event = Uevent::parse(PLUGGED).unwrap();
        assert!(event.is_video());
        assert_eq!((event.action, event.devname), (Action::Add, Some("video0")));
        assert!(event.devpath.ends_with("/1-2:1.0/video4linux/video0"));
        let gone = String::from_utf8_lossy(PLUGGED)
            .replace("add@", "remove@")
            .replace("=add", "=remove");
        let event = Uevent::parse(gone.as_bytes()).unwrap();
        assert_eq!(event.action, Action::Remove);
        assert!(event.is_video());
    }

    #[test]
    fn others_are_no_cameras() {
        let usb = b"add@/devices/usb1/1-2\0ACTION=add\0DEVPATH=/devices/usb1/1-2\0SUBSYSTEM=usb\0DEVNAME=bus/usb/001/005\0";
        assert!(!Uevent::parse(usb).unwrap().is_video());
        let change = b"change@/devices/x/video0\0ACTION=change\0SUBSYSTEM=video4linux\0";
        assert!(!Uevent::parse(change).unwrap().is_video());
    }

    #[test]
    fn what_is_none_of_the_kernels_is_refused() {
        for message in [
            &b""[..],
            b"libudev\0\xfe\xed\xca\xfe",
            b"add@devices/x\0",
            b"@/devices/x\0",
            b"ADD@/devices/x\0",
            b"add@/devices/x\0ACTION=remove\0",
            b"add@/devices/x\0DEVPATH=/devices/y\0",
            b"add@/devices/x\xff\0",
        ] {
            assert_eq!(Uevent::parse(message), None, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Uevent::parse(&bytes);
        }

        #[test]
        fn what_was_written_is_read(path in "/[a-z0-9:./-]{1,60}", subsystem in "[a-z0-9]{1,20}", name in "[a-z0-9/]{1,20}") {
            let message = format!("remove@{path}\0ACTION=remove\0DEVPATH={path}\0SUBSYSTEM={subsystem}\0DEVNAME={name}\0SEQNUM=1\0");
            let event = Uevent::parse(message.as_bytes()).unwrap();
            prop_assert_eq!((event.action, event.devpath), (Action::Remove, path.as_str()));
            prop_assert_eq!((event.subsystem, event.devname), (subsystem.as_str(), Some(name.as_str())));
        }
    }
}
