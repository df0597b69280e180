//! From facts to what they mean for the daemon. Pure.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::sys::board::{Clock, Disk, Process};

/// Below this the store soon cannot write: it grows to some 40 MiB, with its backups beside it.
const DISK_NEEDED_BYTES: u64 = 64 << 20;
const DISK_WANTED_BYTES: u64 = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// It works; the operator should know.
    Note,
    /// Something will not work.
    Lacks,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Lacks => "lacks",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name for programs.
    pub name: &'static str,
    pub state: State,
    /// What was found, one sentence.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

fn check(name: &'static str, state: State, found: impl Into<String>, advice: &str) -> Check {
    Check {
        name,
        state,
        found: found.into(),
        advice: (!advice.is_empty()).then(|| advice.to_owned()),
    }
}

pub fn raw_sockets(process: &Process) -> Check {
    let name = "raw_sockets";
    match process.has_net_raw {
        true => check(name, State::Ok, "CAP_NET_RAW: ARP finds every host", ""),
        false => check(
            name,
            State::Note,
            "no CAP_NET_RAW: silent hosts are found by their open ports only",
            "the packaged service has it (AmbientCapabilities=CAP_NET_RAW); for this command use sudo",
        ),
    }
}

/// `interfaces`: name, and whether the group was joined there.
pub fn multicast(interfaces: &[(String, Result<(), String>)]) -> Check {
    let name = "multicast";
    let wrong: Vec<_> = interfaces
        .iter()
        .filter_map(|(name, joined)| joined.as_ref().err().map(|e| format!("{name}: {e}")))
        .collect();
    if interfaces.is_empty() {
        return check(
            name,
            State::Lacks,
            "no interface with an IPv4 network is up",
            "plug in the camera network or give the interface an address",
        );
    }
    if wrong.is_empty() {
        let names: Vec<_> = interfaces.iter().map(|(name, _)| name.as_str()).collect();
        let found = format!("works on {}", names.join(", "));
        return check(name, State::Ok, found, "");
    }
    check(
        name,
        State::Lacks,
        format!("does not work on {}", wrong.join("; ")),
        "ONVIF cameras there are found by a scan only: ip link set dev INTERFACE multicast on",
    )
}

pub fn video(process: &Process, devices: &[String], group: Option<u32>) -> Check {
    let name = "usb_cameras";
    let may = process.uid == 0 || group.is_some_and(|group| process.groups.contains(&group));
    match (devices, may) {
        ([], true) => check(
            name,
            State::Ok,
            "none plugged in; the group video is there",
            "",
        ),
        ([], false) => check(
            name,
            State::Note,
            "none plugged in, and this user is not in the group video",
            "sudo usermod -aG video USER, then start it again",
        ),
        (devices, true) => check(name, State::Ok, devices.join(", "), ""),
        (devices, false) => check(
            name,
            State::Lacks,
            format!(
                "{} cannot be opened: this user is not in the group video",
                devices.join(", ")
            ),
            "sudo usermod -aG video USER, then start it again",
        ),
    }
}

pub fn time(clock: Option<Clock>) -> Check {
    let name = "time";
    let Some(clock) = clock else {
        return check(
            name,
            State::Note,
            "the kernel does not tell of its clock",
            "",
        );
    };
    match (clock.is_synchronized, clock.has_rtc) {
        (true, true) => check(name, State::Ok, "synchronized; a battery keeps it", ""),
        (true, false) => check(
            name,
            State::Ok,
            "synchronized; no battery: wrong from power-up until the network answers",
            "",
        ),
        (false, true) => check(
            name,
            State::Note,
            "not synchronized: times drift",
            "sudo timedatectl set-ntp true",
        ),
        (false, false) => check(
            name,
            State::Lacks,
            "not synchronized, and no battery keeps it: times of events are wrong after each power cut",
            "sudo timedatectl set-ntp true, with a time server that this network reaches",
        ),
    }
}

pub fn state_directory(dir: &Path, disk: io::Result<Disk>) -> Check {
    let name = "state_directory";
    let path = dir.display();
    let lacks = |found: String, advice: &str| check(name, State::Lacks, found, advice);
    let disk = match disk {
        Ok(disk) => disk,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = format!("{path} is not there yet; the first start makes it");
            return check(name, State::Ok, found, "");
        }
        Err(error) => {
            return lacks(
                format!("{path}: {error}"),
                "use sudo, or name it with --state-dir",
            );
        }
    };
    if disk.is_read_only {
        return lacks(
            format!("{path} is on a file system that is mounted read-only"),
            "mount a small writable partition there",
        );
    }
    if !disk.is_writable {
        return lacks(
            format!("{path} is not writable for this user"),
            "use sudo, or give it to the daemon's user",
        );
    }
    if disk.is_volatile {
        return check(
            name,
            State::Note,
            format!("{path} is kept in memory: cameras are forgotten when the power fails"),
            "mount a small writable partition there",
        );
    }
    match disk.is_private {
        true => check(name, State::Ok, format!("{path}, for its owner only"), ""),
        false => check(
            name,
            State::Lacks,
            format!("{path} can be read by other users"),
            "chmod 700 on it: the vault key lies there",
        ),
    }
}

pub fn disk_space(disk: Option<Disk>) -> Check {
    let name = "disk_space";
    let Some(Disk { free_bytes, .. }) = disk else {
        return check(name, State::Note, "the file system does not tell", "");
    };
    let found = format!("{} MiB free", free_bytes >> 20);
    let state = match free_bytes {
        ..DISK_NEEDED_BYTES => State::Lacks,
        DISK_NEEDED_BYTES..DISK_WANTED_BYTES => State::Note,
        _ => return check(name, State::Ok, found, ""),
    };
    check(
        name,
        state,
        found,
        "the store wants 64 MiB, and a card lasts longer half empty",
    )
}

pub fn huge_pages(system: Option<&str>, off_for_process: Option<bool>) -> Check {
    let name = "huge_pages";
    match (system, off_for_process) {
        (None, _) => check(name, State::Ok, "none in this kernel", ""),
        (Some(word @ ("never" | "madvise")), _) => check(name, State::Ok, word, ""),
        (Some(word), Some(true)) => {
            check(name, State::Ok, format!("{word}; off for the daemon"), "")
        }
        (Some(word), _) => check(
            name,
            State::Ok,
            format!("{word}; the daemon switches them off for itself"),
            "",
        ),
    }
}

pub fn page_size(bytes: Option<u64>) -> Check {
    let found = bytes.map_or_else(|| "unknown".to_owned(), |b| format!("{} KiB", b >> 10));
    check("page_size", State::Ok, found, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAEMON: Process = Process {
        pid: 7,
        uid: 998,
        has_net_raw: true,
        groups: Vec::new(),
        thp_is_off: Some(true),
    };

    const DISK: Disk = Disk {
        free_bytes: 1 << 30,
        is_read_only: false,
        is_volatile: false,
        is_writable: true,
        is_private: true,
    };

    fn state(check: &Check) -> State {
        // What lacks says what to do.
        assert!(
            check.state == State::Ok || check.advice.is_some(),
            "{check:?}"
        );
        check.state
    }

    #[test]
    fn rights() {
        assert_eq!(state(&raw_sockets(&DAEMON)), State::Ok);
        let poor = Process {
            has_net_raw: false,
            ..DAEMON
        };
        assert_eq!(state(&raw_sockets(&poor)), State::Note);
        let one = ["/dev/video0".to_owned()];
        let member = Process {
            groups: vec![44],
            ..DAEMON
        };
        let root = Process { uid: 0, ..DAEMON };
        assert_eq!(state(&video(&DAEMON, &one, Some(44))), State::Lacks);
        assert_eq!(state(&video(&DAEMON, &[], Some(44))), State::Note);
        assert_eq!(state(&video(&member, &one, Some(44))), State::Ok);
        assert_eq!(state(&video(&root, &one, None)), State::Ok);
    }

    #[test]
    fn networks() {
        assert_eq!(state(&multicast(&[])), State::Lacks);
        let good = ("eth0".to_owned(), Ok(()));
        let bad = ("eth1".to_owned(), Err("multicast is off".to_owned()));
        assert_eq!(state(&multicast(std::slice::from_ref(&good))), State::Ok);
        let mixed = multicast(&[good, bad]);
        assert_eq!(state(&mixed), State::Lacks);
        assert!(mixed.found.contains("eth1: multicast is off"), "{mixed:?}");
    }

    #[test]
    fn clocks() {
        let of = |is_synchronized, has_rtc| {
            time(Some(Clock {
                is_synchronized,
                has_rtc,
            }))
            .state
        };
        assert_eq!(of(true, false), State::Ok);
        assert_eq!(of(false, true), State::Note);
        assert_eq!(of(false, false), State::Lacks);
    }

    #[test]
    fn places_for_the_state() {
        let dir = Path::new("/var/lib/ohmvision");
        let of = |disk| state(&state_directory(dir, disk));
        assert_eq!(of(Ok(DISK)), State::Ok);
        assert_eq!(of(Err(io::ErrorKind::NotFound.into())), State::Ok);
        assert_eq!(
            of(Err(io::ErrorKind::PermissionDenied.into())),
            State::Lacks
        );
        assert_eq!(
            of(Ok(Disk {
                is_read_only: true,
                ..DISK
            })),
            State::Lacks
        );
        assert_eq!(
            of(Ok(Disk {
                is_writable: false,
                ..DISK
            })),
            State::Lacks
        );
        assert_eq!(
            of(Ok(Disk {
                is_volatile: true,
                ..DISK
            })),
            State::Note
        );
        assert_eq!(
            of(Ok(Disk {
                is_private: false,
                ..DISK
            })),
            State::Lacks
        );
        let space = |free_bytes| state(&disk_space(Some(Disk { free_bytes, ..DISK })));
        assert_eq!(space(1 << 20), State::Lacks);
        assert_eq!(space(100 << 20), State::Note);
        assert_eq!(space(1 << 30), State::Ok);
    }

    #[test]
    fn pages() {
        assert_eq!(page_size(Some(16_384)).found, "16 KiB");
        assert_eq!(
            huge_pages(Some("always"), Some(true)).found,
            "always; off for the daemon"
        );
        assert_eq!(huge_pages(None, None).state, State::Ok);
    }
}
