//! Thin wrappers over the operating system; the only place for `unsafe`.

pub mod board;
pub mod neighbours;
pub mod notify;
pub mod packet;
pub mod paths;
pub mod process;
pub mod route;
pub mod signals;
pub mod terminal;
pub mod token;
pub mod uevent;
pub mod v4l2;
pub mod vitals;
pub mod watchdog;
