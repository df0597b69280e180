//! The kernel's neighbour table: MAC addresses of hosts on the same link.

use std::net::IpAddr;

use crate::model::Mac;

/// The MAC of a host that was talked to, `aa:bb:cc:dd:ee:ff`; `None` for a routed host or IPv6.
pub fn mac_of(ip: IpAddr) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/arp").ok()?;
    mac_in(&table, &ip.to_string())
}

/// Reads `/proc/net/arp`: address, hardware type, flags, MAC, mask, device (proc(5)).
fn mac_in(table: &str, ip: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let is_host = columns.next()? == ip;
        let mac = columns.nth(2)?;
        (is_host && mac.len() == 17 && mac != "00:00:00:00:00:00").then(|| mac.to_ascii_lowercase())
    })
}

/// Every IPv4 host on the same link whose MAC is known.
pub fn table() -> Vec<(IpAddr, Mac)> {
    entries(&std::fs::read_to_string("/proc/net/arp").unwrap_or_default())
}

fn entries(table: &str) -> Vec<(IpAddr, Mac)> {
    let entry = |line: &str| {
        let mut columns = line.split_whitespace();
        let ip = columns.next()?.parse().ok()?;
        let mac = mac(columns.nth(2)?)?;
        mac.is_unicast().then_some((ip, mac))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

/// `44:19:b6:01:02:03`
fn mac(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(Mac(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
IP address       HW type     Flags       HW address            Mask     Device
10.77.0.11       0x1         0x2         02:77:00:00:00:0B     *        eth0
10.77.0.12       0x1         0x0         00:00:00:00:00:00     *        eth0
";

    #[test]
    fn the_whole_table() {
        let camera = Mac([0x02, 0x77, 0, 0, 0, 0x0b]);
        assert_eq!(entries(TABLE), [("10.77.0.11".parse().unwrap(), camera)]);
        for junk in ["", "x", "h\n1.2.3.4 0x1 0x2 nonsense * eth0", "h\n1.2.3.4"] {
            assert!(entries(junk).is_empty(), "{junk}");
        }
    }

    #[test]
    fn finds_complete_entries_only() {
        assert_eq!(
            mac_in(TABLE, "10.77.0.11").as_deref(),
            Some("02:77:00:00:00:0b")
        );
        assert_eq!(mac_in(TABLE, "10.77.0.12"), None);
        assert_eq!(mac_in(TABLE, "10.77.0.1"), None);
        assert_eq!(mac_in("", "10.77.0.1"), None);
    }
}
