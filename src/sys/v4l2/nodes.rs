//! Which V4L2 nodes there are, by sysfs and udev's links; nothing is opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Nodes that are looked at.
const NODES_MAX: usize = 64;
/// From the node's device up to the USB device: interface, device.
const LEVELS_MAX: usize = 4;

/// One node, `/dev/video0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name below `/dev`. Changes when cameras are plugged in another order.
    pub node: String,
    /// Which of its device's nodes it is; 0 is the picture of a USB camera.
    pub index: u32,
    /// `None` where it is no USB device.
    pub usb: Option<UsbIds>,
    /// The names that stay: by maker, model and serial number, and by the port.
    pub by_id: Option<String>,
    pub by_path: Option<String>,
}

/// What a USB device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbIds {
    /// Four hexadecimal digits.
    pub vendor_id: String,
    pub product_id: String,
    pub manufacturer: Option<String>,
    pub product: Option<String>,
    pub serial: Option<String>,
}

impl Node {
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.node)
    }

    /// Is this one of its names: by id, by path, or a plain node such as `video0`? Each may stand there as
    /// a path too.
    pub fn is_called(&self, name: &str) -> bool {
        let bare = ["/dev/v4l/by-id/", "/dev/v4l/by-path/", "/dev/"]
            .iter()
            .find_map(|dir| name.strip_prefix(dir));
        let name = Some(bare.unwrap_or(name));
        let names = [&self.by_id, &self.by_path].map(Option::as_deref);
        names.contains(&name) || name == Some(&self.node)
    }

    /// May this process open it? A node that was just made belongs to root until udev has seen it.
    pub fn is_open_to_us(&self) -> bool {
        access(&self.path(), AccessFlags::R_OK | AccessFlags::W_OK).is_ok()
    }

    /// The name that is stored: by what it is, else by where it is plugged in, else its node.
    pub fn name(&self) -> &str {
        let stable = self.by_id.as_deref().or(self.by_path.as_deref());
        stable.unwrap_or(&self.node)
    }
}

/// All nodes of this machine, in the order of their numbers. Where udev made no links, the names by
/// which it would have done so.
pub fn nodes() -> Vec<Node> {
    nodes_in(Path::new("/sys/class/video4linux"), Path::new("/dev/v4l"))
}

/// The node with this name, as [`Node::is_called`] takes it.
pub fn find(name: &str) -> Option<Node> {
    nodes().into_iter().find(|node| node.is_called(name))
}

fn nodes_in(class: &Path, links: &Path) -> Vec<Node> {
    let (by_id, by_path) = (
        read_links(&links.join("by-id")),
        read_links(&links.join("by-path")),
    );
    let mut found: Vec<Node> = Vec::new();
    for (_, node) in numbered(class).into_iter().take(NODES_MAX) {
        let dir = class.join(&node);
        found.push(Node {
            index: text(&dir.join("index"))
                .and_then(|t| t.parse().ok())
                .unwrap_or(0),
            usb: usb_ids(&dir.join("device")),
            by_id: by_id.get(&node).cloned(),
            by_path: by_path.get(&node).cloned(),
            node,
        });
    }
    name_as_udev_would(&mut found);
    found
}

/// Two cameras of one model without serial numbers share a name: then it is nobody's.
fn name_as_udev_would(nodes: &mut [Node]) {
    let derived: Vec<Option<String>> = nodes.iter().map(udev_name).collect();
    for (i, node) in nodes.iter_mut().enumerate() {
        let name = derived.get(i).cloned().flatten();
        let is_single = derived.iter().filter(|other| **other == name).count() == 1;
        if node.by_id.is_none() && is_single {
            node.by_id = name;
        }
    }
}

/// `videoN` in the order of N.
fn numbered(class: &Path) -> BTreeMap<u32, String> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter_map(|name| Some((name.strip_prefix("video")?.parse().ok()?, name)))
        .collect()
}

/// Nodes with the link that leads to each.
fn read_links(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let link = |entry: fs::DirEntry| {
        let to = fs::read_link(entry.path()).ok()?;
        let node = to.file_name()?.to_str()?.to_owned();
        Some((node, entry.file_name().into_string().ok()?))
    };
    // A port may have several names (usb-, usbv2-): the first stays.
    let mut links: Vec<(String, String)> = entries.take(4 * NODES_MAX).filter_map(link).collect();
    links.sort_by(|a, b| b.1.cmp(&a.1));
    links.into_iter().collect()
}

/// The USB device above a node's device.
fn usb_ids(device: &Path) -> Option<UsbIds> {
    let device = fs::canonicalize(device).ok()?;
    let usb = device
        .ancestors()
        .take(LEVELS_MAX)
        .find(|dir| dir.join("idVendor").exists())?;
    Some(UsbIds {
        vendor_id: text(&usb.join("idVendor"))?,
        product_id: text(&usb.join("idProduct"))?,
        manufacturer: text(&usb.join("manufacturer")),
        product: text(&usb.join("product")),
        serial: text(&usb.join("serial")),
    })
}

/// One line of an attribute, at most 128 characters.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    let shown = line.chars().filter(|c| !c.is_control()).take(128);
    Some(shown.collect::<String>()).filter(|t| !t.is_empty())
}

/// The name that udev's rules give (60-persistent-v4l.rules with its usb_id).
fn udev_name(node: &Node) -> Option<String> {
    let usb = node.usb.as_ref()?;
    let part = |text: &Option<String>, id: &str| match text {
        Some(text) => udev_text(text),
        None => id.to_owned(),
    };
    let mut name = format!(
        "usb-{}_{}",
        part(&usb.manufacturer, &usb.vendor_id),
        part(&usb.product, &usb.product_id)
    );
    if let Some(serial) = usb.serial.as_deref().filter(|s| is_serial(s)) {
        name = format!("{name}_{}", udev_text(serial));
    }
    Some(format!("{name}-video-index{}", node.index))
}

/// Runs of white space, and all that udev does not let into names, as `_`.
fn udev_text(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let keep = |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii();
    let joined = words.join("_");
    joined
        .chars()
        .map(|c| if keep(c) { c } else { '_' })
        .collect()
}

fn is_serial(text: &str) -> bool {
    text.bytes().all(|b| (0x20..0x80).contains(&b) && b != b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A machine with these USB devices, each with a picture and a metadata node.
    struct Machine {
        root: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join("class")).unwrap();
            Self { root }
        }

        fn plug(&self, port: &str, first: u32, attributes: &[(&str, &str)]) {
            let device = self.root.path().join("devices").join(port);
            let interface = device.join("1.0");
            fs::create_dir_all(&interface).unwrap();
            for (name, value) in attributes {
                fs::write(device.join(name), format!("{value}\n")).unwrap();
            }
            for index in 0..2 {
                let node = self
                    .root
                    .path()
                    .join("class")
                    .join(format!("video{}", first + index));
                fs::create_dir_all(&node).unwrap();
                fs::write(node.join("index"), format!("{index}\n")).unwrap();
                symlink(&interface, node.join("device")).unwrap();
            }
        }

        fn link(&self, kind: &str, name: &str, node: &str) {
            let dir = self.root.path().join("v4l").join(kind);
            fs::create_dir_all(&dir).unwrap();
            symlink(format!("../../{node}"), dir.join(name)).unwrap();
        }

        fn nodes(&self) -> Vec<Node> {
            nodes_in(
                &self.root.path().join("class"),
                &self.root.path().join("v4l"),
            )
        }
    }

    const C920: [(&str, &str); 5] = [
        ("idVendor", "046d"),
        ("idProduct", "082d"),
        ("manufacturer", "Logitech, Inc."),
        ("product", "HD  Pro Webcam C920"),
        ("serial", "2D3C6A1F"),
    ];

    #[test]
    fn links_of_udev_are_used() {
        let machine = Machine::new();
        machine.plug("1-2", 10, &C920);
        let by_id = "usb-046d_HD_Pro_Webcam_C920_2D3C6A1F-video-index0";
        machine.link("by-id", by_id, "video10");
        machine.link(
            "by-path",
            "pci-0000:00:14.0-usb-0:2:1.0-video-index0",
            "video10",
        );
        machine.link(
            "by-path",
            "pci-0000:00:14.0-usbv2-0:2:1.0-video-index0",
            "video10",
        );
        let nodes = machine.nodes();
        assert_eq!(
            (nodes[0].node.as_str(), nodes[0].name()),
            ("video10", by_id)
        );
        assert_eq!(
            nodes[0].by_path.as_deref(),
            Some("pci-0000:00:14.0-usb-0:2:1.0-video-index0")
        );
        assert_eq!(
            nodes[0].usb.as_ref().unwrap().serial.as_deref(),
            Some("2D3C6A1F")
        );
        assert_eq!((nodes[1].node.as_str(), nodes[1].index), ("video11", 1));
        for name in [
            by_id,
            "video10",
            "/dev/video10",
            &format!("/dev/v4l/by-id/{by_id}"),
        ] {
            assert!(
                nodes[0].is_called(name) && !nodes[1].is_called(name),
                "{name}"
            );
        }
        let is_called = |name: &str| nodes.iter().any(|node| node.is_called(name));
        assert!(!is_called("/dev/../etc/passwd") && !is_called(""));
    }

    #[test]
    fn without_udev_its_names_are_the_same() {
        let machine = Machine::new();
        machine.plug("1-2", 0, &C920);
        assert_eq!(
            machine.nodes()[0].name(),
            "usb-Logitech__Inc._HD_Pro_Webcam_C920_2D3C6A1F-video-index0"
        );
        let machine = Machine::new();
        machine.plug("1-3", 2, &[("idVendor", "1908"), ("idProduct", "2311")]);
        assert_eq!(machine.nodes()[0].name(), "usb-1908_2311-video-index0");
    }

    #[test]
    fn twins_go_by_their_port() {
        let machine = Machine::new();
        let twin = &C920[..4];
        machine.plug("1-2", 0, twin);
        machine.plug("1-3", 2, twin);
        assert_eq!(machine.nodes()[0].name(), "video0");
        machine.link("by-path", "usb-2-video-index0", "video0");
        machine.link("by-path", "usb-3-video-index0", "video2");
        let nodes = machine.nodes();
        assert_eq!(
            (nodes[0].name(), nodes[2].name()),
            ("usb-2-video-index0", "usb-3-video-index0")
        );
    }

    #[test]
    fn what_is_on_no_usb_has_no_ids() {
        let machine = Machine::new();
        machine.plug("platform", 0, &[]);
        let node = &machine.nodes()[0];
        assert_eq!((node.usb.clone(), node.name()), (None, "video0"));
        assert_eq!(
            nodes_in(Path::new("/nonexistent"), Path::new("/nonexistent")),
            []
        );
    }
}
