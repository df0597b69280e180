//! What drivers answer, as codes and sentences.

use std::io;

use nix::errno::Errno;

use crate::model::{ErrorCode, ProbeError, Stage};
use crate::probe::Transcript;
use crate::sys::v4l2::Node;

/// Cameras that a sentence names.
const NAMED_MAX: usize = 3;

/// Why a driver gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum DriverFault {
    #[error("{0}")]
    Refused(io::Error),
    #[error("its driver does not answer in time; plug the camera in again")]
    Hangs,
    #[error("drivers of other cameras do not answer; plug those in again")]
    OthersHang,
    #[error("the call to its driver broke off")]
    BrokeOff,
}

/// The same at the running stage of a probe.
pub(super) fn driver_fault(fault: &DriverFault, name: &str, log: &Transcript) -> ProbeError {
    let code = match fault {
        DriverFault::Refused(error) => return driver_error(error, name, log),
        DriverFault::Hangs => ErrorCode::Timeout,
        DriverFault::OthersHang | DriverFault::BrokeOff => ErrorCode::Internal,
    };
    log.error(code, format!("{name}: {fault}"))
}

/// No node has this name.
pub(super) fn not_plugged_in(name: &str, nodes: &[Node], log: &Transcript) -> ProbeError {
    let first = nodes.iter().filter(|node| node.index == 0);
    let others: Vec<&str> = first.map(Node::name).take(NAMED_MAX).collect();
    let sentence = match others.is_empty() {
        true => format!("{name} is not plugged in, nor is any other camera"),
        false => format!("{name} is not plugged in; there is {}", others.join(", ")),
    };
    log.error(ErrorCode::NotFound, sentence)
}

/// A v4l2loopback device into which nobody writes.
pub(super) fn unfed(name: &str, log: &Transcript) -> ProbeError {
    let sentence = format!("{name} gives what another program feeds it, and none does; start it");
    log.error(ErrorCode::NoFrame, sentence)
}

/// A call to the driver failed at the running stage.
pub(super) fn driver_error(error: &io::Error, name: &str, log: &Transcript) -> ProbeError {
    let is_opening = log.stage() <= Stage::Connect;
    let (code, sentence) = match error.raw_os_error().unwrap_or_default() {
        libc::ENOENT | libc::ENODEV | libc::ENXIO if is_opening => {
            (ErrorCode::NotFound, format!("{name} is not plugged in"))
        }
        libc::ENODEV | libc::ENXIO => (ErrorCode::Reset, format!("{name} was unplugged")),
        libc::EBUSY => (
            ErrorCode::Busy,
            format!(
                "another program takes pictures from {name}; end it, or leave the camera to it"
            ),
        ),
        libc::EACCES | libc::EPERM => (
            ErrorCode::Refused,
            format!("{name} may not be opened; add the user of this program to the group video"),
        ),
        libc::ENOSPC => (
            ErrorCode::Busy,
            format!(
                "the USB bus has no bandwidth left for {name}; lower its picture size, or use another port"
            ),
        ),
        libc::EIO
        | libc::EPROTO
        | libc::EPIPE
        | libc::EILSEQ
        | libc::EOVERFLOW
        | libc::ETIMEDOUT => (
            ErrorCode::Reset,
            format!(
                "{name} breaks off ({}); check cable, hub and power supply",
                what(error)
            ),
        ),
        libc::ENOMEM | libc::EMFILE | libc::ENFILE => (
            ErrorCode::Internal,
            format!(
                "this machine has no room for pictures of {name}: {}",
                what(error)
            ),
        ),
        _ => (
            ErrorCode::Protocol,
            format!("the driver of {name} refuses: {}", what(error)),
        ),
    };
    log.error(code, sentence)
}

/// The system's words without its number.
fn what(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

/// The device stopped while pictures were awaited.
pub(super) fn broken_off(error: &io::Error, name: &str, log: &Transcript) -> ProbeError {
    match error.raw_os_error() {
        // vb2's word for "streaming was stopped".
        Some(libc::EINVAL) => log.error(
            ErrorCode::Reset,
            format!("{name} stopped while it sent pictures"),
        ),
        _ => driver_error(error, name, log),
    }
}
