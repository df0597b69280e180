//! What this machine offers: read, never changed. Each fact is `None` where the system does not tell.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, Group, User, access};

/// Bit of CAP_NET_RAW (capabilities(7)).
const CAP_NET_RAW: u64 = 1 << 13;
/// IFF_MULTICAST (netdevice(7)).
const MULTICAST_FLAG: u32 = 0x1000;

/// One process, from `/proc/PID/status` (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub uid: u32,
    /// May open packet sockets.
    pub has_net_raw: bool,
    /// Its own group and the supplementary ones.
    pub groups: Vec<u32>,
    /// Transparent huge pages are off for it; kernels before 5.0 do not tell.
    pub thp_is_off: Option<bool>,
}

impl Process {
    pub fn own() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/status").ok()?;
        read_status(std::process::id(), &text)
    }

    /// The daemon that holds the state directory, by the number in its lock file.
    pub fn daemon_of(dir: &Path) -> Option<Self> {
        let pid = fs::read_to_string(dir.join("ohmvision.lock")).ok()?;
        let pid: u32 = pid.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        (name.trim() == "ohmvision").then(|| read_status(pid, &text))?
    }

    /// Name of its user, else the number.
    pub fn user(&self) -> String {
        let user = User::from_uid(self.uid.into()).ok().flatten();
        user.map_or_else(|| self.uid.to_string(), |user| user.name)
    }
}

fn read_status(pid: u32, text: &str) -> Option<Process> {
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
    };
    // Real, effective, saved, file system: the effective one counts.
    let second = |name| field(name)?.split_whitespace().nth(1)?.parse().ok();
    let capabilities = u64::from_str_radix(field("CapEff")?, 16).ok()?;
    let others = field("Groups").unwrap_or_default().split_whitespace();
    let groups = others
        .filter_map(|gid| gid.parse().ok())
        .chain(second("Gid"));
    Some(Process {
        pid,
        uid: second("Uid")?,
        has_net_raw: capabilities & CAP_NET_RAW != 0,
        groups: groups.collect(),
        thp_is_off: field("THP_enabled").map(|value| value == "0"),
    })
}

/// Number of a group.
pub fn group(name: &str) -> Option<u32> {
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| group.gid.as_raw())
}

/// Device nodes of V4L2, `/dev/video0` and so on, sorted.
pub fn video_devices() -> Vec<String> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_video = |name: &String| {
        name.strip_prefix("video")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut found: Vec<_> = names
        .filter(is_video)
        .map(|n| format!("/dev/{n}"))
        .collect();
    found.sort();
    found
}

/// What the kernel's clock says of itself (adjtimex(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub is_synchronized: bool,
    /// A battery keeps the time while the power is off.
    pub has_rtc: bool,
}

pub fn clock() -> Option<Clock> {
    // SAFETY: all zeros is a valid timex (modes 0: read only), and the pointer outlives the call.
    let (state, status) = unsafe {
        let mut now: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut now), now.status)
    };
    (state >= 0).then(|| Clock {
        is_synchronized: state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0,
        has_rtc: Path::new("/sys/class/rtc/rtc0").exists(),
    })
}

/// The word in brackets of `/sys/kernel/mm/transparent_hugepage/enabled`; `None` without huge pages.
pub fn huge_pages() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

/// Bytes of a page: 4 KiB, 16 KiB on a Raspberry Pi 5.
pub fn page_bytes() -> Option<u64> {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().and_then(|bytes| bytes.try_into().ok())
}

/// The file system that holds a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub free_bytes: u64,
    pub is_read_only: bool,
    /// Kept in memory: gone with the power.
    pub is_volatile: bool,
    /// This user may make files in the directory.
    pub is_writable: bool,
    pub is_private: bool,
}

/// Facts about an existing directory.
///
/// # Errors
/// It does not exist, or this user may not look at it.
pub fn disk(dir: &Path) -> io::Result<Disk> {
    use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
    use std::os::unix::fs::PermissionsExt as _;

    let mode = fs::metadata(dir)?.permissions().mode();
    let facts = statvfs(dir)?;
    let kind = statfs(dir)?.filesystem_type();
    Ok(Disk {
        // The types differ between 32-bit and 64-bit machines.
        free_bytes: facts.blocks_available() as u64 * facts.fragment_size() as u64,
        is_read_only: facts.flags().contains(FsFlags::ST_RDONLY),
        is_volatile: kind == TMPFS_MAGIC || kind == OVERLAYFS_SUPER_MAGIC,
        is_writable: access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok(),
        is_private: mode & 0o077 == 0,
    })
}

/// May this process hear multicast on an interface? The interface says so, and a socket joins.
///
/// # Errors
/// One sentence of the system.
pub fn join_multicast(name: &str, address: Ipv4Addr, group: Ipv4Addr) -> io::Result<()> {
    let flags = fs::read_to_string(format!("/sys/class/net/{name}/flags")).unwrap_or_default();
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16);
    if flags.is_ok_and(|flags| flags & MULTICAST_FLAG == 0) {
        return Err(io::Error::other("multicast is off"));
    }
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.join_multicast_v4(&group, &address)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const STATUS: &str = "Name:\tohmvision\nUid:\t998\t998\t998\t998\nGid:\t997\t997\t997\t997\n\
        Groups:\t44 997 \nCapEff:\t0000000000002000\nTHP_enabled:\t0\n";

    #[test]
    fn a_status_is_read() {
        let read = read_status(812, STATUS).unwrap();
        assert_eq!((read.pid, read.uid), (812, 998));
        assert!(read.has_net_raw && read.groups.contains(&44));
        assert_eq!(read.thp_is_off, Some(true));
        let without = STATUS.replace("2000", "1000").replace("THP_enabled", "x");
        let read = read_status(1, &without).unwrap();
        assert!(!read.has_net_raw && read.thp_is_off.is_none());
        assert_eq!(read_status(1, "Name:\tx\n"), None);
    }

    #[test]
    fn this_machine_tells() {
        let own = Process::own().unwrap();
        assert_eq!(own.uid, nix::unistd::geteuid().as_raw());
        assert!(page_bytes().unwrap() >= 4096);
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let facts = disk(dir.path()).unwrap();
        assert!(facts.is_writable && facts.is_private && !facts.is_read_only);
        assert!(disk(&dir.path().join("missing")).is_err());
        assert_eq!(Process::daemon_of(dir.path()), None);
        // A number that is another program's.
        fs::write(dir.path().join("ohmvision.lock"), "1\n").unwrap();
        assert_eq!(Process::daemon_of(dir.path()), None);
    }
}
