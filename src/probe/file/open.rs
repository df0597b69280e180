//! From a path to an open file: below a configured folder, links resolved, and nothing but a file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::model::ErrorCode;

/// A code and a sentence.
pub(super) type Fault = (ErrorCode, String);

/// Opens `path`, absolute or below one of `folders`. Links are followed as long as they end below a
/// folder. What is no ordinary file is never opened: opening a device may already do something.
///
/// # Errors
/// `internal` for a place outside the folders, `not_found`, `refused`, `protocol` for what is no file.
pub(super) fn open(path: &Path, folders: &[PathBuf]) -> Result<File, Fault> {
    let shown = path.display();
    let outside = || {
        let text = format!("{shown} is in no folder of security.file_roots, it was not opened");
        (ErrorCode::Internal, text)
    };
    // A folder that does not exist holds nothing.
    let folders: Vec<PathBuf> = folders
        .iter()
        .filter_map(|f| f.canonicalize().ok())
        .collect();
    let is_inside = |path: &Path| folders.iter().any(|folder| path.starts_with(folder));
    let found = match path.is_absolute() {
        true => path.canonicalize(),
        false => folders
            .iter()
            .map(|folder| folder.join(path).canonicalize())
            .find(Result::is_ok)
            .unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())),
    };
    let place = match found {
        Ok(place) if is_inside(&place) => place,
        Ok(_) => return Err(outside()),
        // Whether a file exists is told for the folders only.
        Err(_) if path.is_absolute() && !is_below(path, &folders) => return Err(outside()),
        Err(error) => return Err(fault(path, &error)),
    };
    let kind = place.metadata().map_err(|e| fault(path, &e))?;
    if !kind.is_file() {
        let text = format!("{shown} is no ordinary file");
        return Err((ErrorCode::Protocol, text));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW)
        .open(&place)
        .map_err(|e| fault(path, &e))?;
    // Somebody may have put a link in the way meanwhile.
    let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let is_file = file.metadata().is_ok_and(|kind| kind.is_file());
    match opened.is_ok_and(|place| is_inside(&place)) && is_file {
        true => Ok(file),
        false => Err(outside()),
    }
}

/// Is a path that does not exist meant to be in one of the folders?
fn is_below(path: &Path, folders: &[PathBuf]) -> bool {
    let existing = path.ancestors().find_map(|p| p.canonicalize().ok());
    existing.is_some_and(|p| folders.iter().any(|folder| p.starts_with(folder)))
}

pub(super) fn fault(path: &Path, error: &io::Error) -> Fault {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (ErrorCode::NotFound, format!("there is no file {shown}"))
        }
        io::ErrorKind::PermissionDenied => {
            let text = format!("{shown} may not be read by this program; see its permissions");
            (ErrorCode::Refused, text)
        }
        _ => {
            let text = format!("{shown} cannot be read: {error}");
            (ErrorCode::Unreachable, text)
        }
    }
}
