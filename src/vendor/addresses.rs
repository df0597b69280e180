//! Where cameras are when nobody has set them up.

use std::net::Ipv4Addr;

/// Addresses that cameras ship with, or take where no DHCP server answers. A new one keeps it on whatever
/// wire it is plugged into.
pub const FACTORY_ADDRESSES: [Ipv4Addr; 14] = [
    // Hikvision.
    Ipv4Addr::new(192, 168, 1, 64),
    // Dahua.
    Ipv4Addr::new(192, 168, 1, 108),
    // Uniview.
    Ipv4Addr::new(192, 168, 1, 13),
    // Hanwha.
    Ipv4Addr::new(192, 168, 1, 100),
    // Xiongmai.
    Ipv4Addr::new(192, 168, 1, 10),
    // Grandstream, LILIN.
    Ipv4Addr::new(192, 168, 1, 168),
    Ipv4Addr::new(192, 168, 0, 200),
    // Axis.
    Ipv4Addr::new(192, 168, 0, 90),
    // Bosch.
    Ipv4Addr::new(192, 168, 0, 1),
    // Panasonic, GeoVision.
    Ipv4Addr::new(192, 168, 0, 10),
    // Sony, ACTi.
    Ipv4Addr::new(192, 168, 0, 100),
    // D-Link, Pelco.
    Ipv4Addr::new(192, 168, 0, 20),
    // FLIR.
    Ipv4Addr::new(192, 168, 0, 250),
    // Brickcom.
    Ipv4Addr::new(192, 168, 1, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_each_once() {
        let distinct: std::collections::BTreeSet<_> = FACTORY_ADDRESSES.into_iter().collect();
        assert_eq!(distinct.len(), FACTORY_ADDRESSES.len());
        assert!(distinct.iter().all(Ipv4Addr::is_private));
    }
}
