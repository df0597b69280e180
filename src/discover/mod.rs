//! Finds what is on the networks. No login is ever sent from here.

pub mod arp;
pub mod capture;
pub mod echo;
pub mod interfaces;
pub mod multicast;
pub mod pace;
pub mod ports;
pub mod scan;
pub mod sweep;
pub mod targets;
pub mod touch;
pub mod unicast;
