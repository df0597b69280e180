//! Finds what is on the networks. No login is ever sent from here.

pub mod arp;
pub mod ask;
pub mod capture;
mod early;
pub mod echo;
pub mod hello;
mod identify;
pub mod interfaces;
mod merge;
mod names;
pub mod pace;
pub mod ports;
pub mod scan;
pub mod sweep;
pub mod targets;
pub mod touch;
pub mod udp;
pub mod unicast;
pub mod usb;
