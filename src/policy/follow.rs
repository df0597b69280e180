//! Which stored camera is at which address: a camera is its hardware, never its address.
//!
//! Serial number before MAC. A camera that is well where it is stays there, whatever else has its
//! MAC: devices have several addresses, and repeaters answer for others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::Mac;

/// A stored camera, as far as following goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<Id> {
    pub id: Id,
    pub ip: IpAddr,
    pub mac: Option<Mac>,
    pub serial: Option<String>,
    /// Its checks succeed where it is.
    pub is_well: bool,
    /// It was seen before that another device has its address.
    pub is_displaced: bool,
}

/// Who was seen at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub ip: IpAddr,
    pub mac: Option<Mac>,
    pub serial: Option<String>,
}

/// What sightings say about a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding<Id> {
    /// It has another address now.
    Moved { id: Id, to: IpAddr },
    /// Another device has its address.
    Displaced { id: Id, by: Option<Mac> },
    /// It is at its own address again.
    Back { id: Id },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Same,
    Other,
    Unknown,
}

fn compare<Id>(camera: &Known<Id>, seen: &Sighting) -> Match {
    let verdict = |same| if same { Match::Same } else { Match::Other };
    if let (Some(ours), Some(theirs)) = (&camera.serial, &seen.serial) {
        return verdict(ours.eq_ignore_ascii_case(theirs));
    }
    match (camera.mac, seen.mac) {
        (Some(ours), Some(theirs)) => verdict(ours == theirs),
        _ => Match::Unknown,
    }
}

/// Judges every camera by what was seen.
pub fn judge<Id: Copy>(cameras: &[Known<Id>], seen: &[Sighting]) -> Vec<Finding<Id>> {
    let at: BTreeMap<IpAddr, &Sighting> = seen.iter().map(|s| (s.ip, s)).collect();
    let own = |camera: &Known<Id>| {
        at.get(&camera.ip)
            .map_or(Match::Unknown, |seen| compare(camera, seen))
    };
    // Addresses whose stored camera is really there.
    let is_taken = |ip: IpAddr| {
        cameras.iter().any(|c| {
            let is_there = match own(c) {
                Match::Same => true,
                Match::Other => false,
                Match::Unknown => c.is_well && !c.is_displaced,
            };
            c.ip == ip && is_there
        })
    };
    let mut findings = Vec::new();
    for camera in cameras {
        let own = own(camera);
        if own == Match::Same {
            if camera.is_displaced {
                findings.push(Finding::Back { id: camera.id });
            }
            continue;
        }
        let is_gone = own == Match::Other || camera.is_displaced || !camera.is_well;
        let to = || new_address(camera, seen, &is_taken);
        if let Some(to) = is_gone.then(to).flatten() {
            findings.push(Finding::Moved { id: camera.id, to });
        } else if own == Match::Other && !camera.is_displaced {
            let by = at.get(&camera.ip).and_then(|seen| seen.mac);
            findings.push(Finding::Displaced { id: camera.id, by });
        }
    }
    findings
}

/// Where the camera is now. `None` when it was not seen, or when its MAC stands for several
/// addresses of one family: that is a repeater, and says nothing.
fn new_address<Id>(
    camera: &Known<Id>,
    seen: &[Sighting],
    is_taken: &impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let same = |s: &&Sighting| s.ip != camera.ip && compare(camera, s) == Match::Same;
    let has_serial = |s: &&Sighting| s.serial.is_some() && camera.serial.is_some();
    let of_family = |s: &&Sighting| s.ip.is_ipv4() == camera.ip.is_ipv4();
    let pick = |found: Vec<IpAddr>| match found.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    let proven = seen
        .iter()
        .filter(same)
        .find(|s| has_serial(s) && !is_taken(s.ip));
    if let Some(proven) = proven {
        return Some(proven.ip);
    }
    let by_mac = |family: bool| {
        let of_mac = seen
            .iter()
            .filter(same)
            .filter(|s| of_family(s) == family)
            .map(|s| s.ip);
        pick(of_mac.collect()).filter(|ip| !is_taken(*ip))
    };
    by_mac(true).or_else(|| by_mac(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([0xaa, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([0xbb, 0, 0, 0, 0, 2]);
    const C: Mac = Mac([0xcc, 0, 0, 0, 0, 3]);

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 77, 0, last])
    }

    fn camera(id: u32, last: u8, mac: Mac, is_well: bool) -> Known<u32> {
        Known {
            id,
            ip: ip(last),
            mac: Some(mac),
            serial: None,
            is_well,
            is_displaced: false,
        }
    }

    fn seen(last: u8, mac: Mac) -> Sighting {
        Sighting {
            ip: ip(last),
            mac: Some(mac),
            serial: None,
        }
    }

    fn moved(id: u32, last: u8) -> Finding<u32> {
        Finding::Moved { id, to: ip(last) }
    }

    #[test]
    fn a_camera_with_a_new_address_is_followed() {
        let cameras = [camera(1, 11, A, false)];
        assert_eq!(judge(&cameras, &[seen(31, A)]), [moved(1, 31)]);
        assert_eq!(judge(&cameras, &[seen(31, B)]), []);
        assert_eq!(judge(&cameras, &[]), []);
    }

    #[test]
    fn a_camera_that_is_well_stays() {
        let cameras = [camera(1, 11, A, true)];
        assert_eq!(judge(&cameras, &[seen(31, A)]), []);
        assert_eq!(judge(&cameras, &[seen(11, A), seen(31, A)]), []);
        let down = [camera(1, 11, A, false)];
        assert_eq!(
            judge(&down, &[seen(11, A), seen(31, A)]),
            [],
            "it is there, only unwell"
        );
    }

    #[test]
    fn two_cameras_that_swapped_are_both_followed() {
        for is_well in [true, false] {
            let cameras = [camera(1, 11, A, is_well), camera(2, 12, B, is_well)];
            assert_eq!(
                judge(&cameras, &[seen(11, B), seen(12, A)]),
                [moved(1, 12), moved(2, 11)]
            );
        }
    }

    #[test]
    fn another_device_on_the_address_is_not_the_camera() {
        let mut cameras = [camera(1, 11, A, true)];
        let displaced = Finding::Displaced { id: 1, by: Some(C) };
        assert_eq!(judge(&cameras, &[seen(11, C)]), [displaced]);
        cameras[0].is_displaced = true;
        assert_eq!(judge(&cameras, &[seen(11, C)]), [], "said once");
        assert_eq!(judge(&cameras, &[seen(40, A)]), [moved(1, 40)]);
        assert_eq!(judge(&cameras, &[seen(11, A)]), [Finding::Back { id: 1 }]);
    }

    #[test]
    fn the_mac_of_a_repeater_proves_nothing() {
        let cameras = [camera(1, 11, A, false)];
        assert_eq!(judge(&cameras, &[seen(31, A), seen(32, A)]), []);
        // Nor does one that is where another camera is well.
        let cameras = [camera(1, 11, A, false), camera(2, 12, A, true)];
        assert_eq!(judge(&cameras, &[seen(12, A)]), []);
    }

    #[test]
    fn the_serial_number_wins_over_the_mac() {
        let with = |mut s: Sighting, serial: &str| {
            s.serial = Some(serial.to_owned());
            s
        };
        let mut camera = camera(1, 11, A, false);
        camera.serial = Some("SN-7".to_owned());
        let cameras = [camera];
        assert_eq!(
            judge(&cameras, &[with(seen(31, B), "sn-7")]),
            [moved(1, 31)],
            "a new network card"
        );
        assert_eq!(judge(&cameras, &[with(seen(31, A), "SN-8")]), []);
        let many = [with(seen(31, A), "SN-7"), seen(32, A)];
        assert_eq!(judge(&cameras, &many), [moved(1, 31)]);
    }

    #[test]
    fn the_channels_of_a_recorder_move_together() {
        let cameras = [camera(1, 11, A, false), camera(2, 11, A, false)];
        assert_eq!(
            judge(&cameras, &[seen(31, A)]),
            [moved(1, 31), moved(2, 31)]
        );
    }

    #[test]
    fn the_old_family_is_preferred() {
        let cameras = [camera(1, 11, A, false)];
        let v6 = Sighting {
            ip: "fe80::1".parse().unwrap(),
            mac: Some(A),
            serial: None,
        };
        assert_eq!(judge(&cameras, &[v6.clone(), seen(31, A)]), [moved(1, 31)]);
        let to = v6.ip;
        assert_eq!(judge(&cameras, &[v6]), [Finding::Moved { id: 1, to }]);
    }
}
