//! Finds what is on the networks. No login is ever sent from here.

pub mod interfaces;
pub mod multicast;
pub mod scan;
pub mod sweep;
