//! Exit codes, a contract with scripts and with the systemd unit (`RestartPreventExitStatus`).
//! From 64 on they are those of `sysexits.h`.

use std::process::{ExitCode, Termination};

/// How a run of the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// The command ran and the answer is no: camera not alive, nothing found, request refused.
    Failed = 1,
    /// Wrong arguments.
    Usage = 2,
    /// The store is damaged (`EX_DATAERR`). A restart does not help.
    CorruptStore = 65,
    /// The daemon or the device does not answer (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// The state directory or a file in it cannot be made or written (`EX_CANTCREAT`).
    CannotCreate = 73,
    /// Another daemon holds the state directory, or something else that may pass (`EX_TEMPFAIL`).
    Temporary = 75,
    /// The configuration is wrong (`EX_CONFIG`). A restart does not help.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}
