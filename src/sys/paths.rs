//! Where the state is kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Why there is no state directory.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    #[error(
        "there is no place for the state: neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME is set; name one with --state-dir"
    )]
    Nowhere,
    #[error("cannot use the state directory {path}: {source}; name another with --state-dir")]
    Unusable { path: PathBuf, source: io::Error },
}

/// The state directory, made with mode 0700 where it is missing: the given one, else
/// `$STATE_DIRECTORY` (the first of several), else `$XDG_STATE_HOME/ohmvision`, else
/// `~/.local/state/ohmvision`.
pub fn state_dir(given: Option<&Path>) -> Result<PathBuf, PathError> {
    let path = state_place(given)?;
    prepare(&path).map_err(|source| PathError::Unusable {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// Where a daemon of this machine may keep its state: this user's own place, then the service's.
pub fn places() -> Vec<PathBuf> {
    let own = choose(None, |name| std::env::var(name).ok());
    own.into_iter()
        .chain([PathBuf::from("/var/lib/ohmvision")])
        .collect()
}

/// The same place, be it there or not.
pub fn state_place(given: Option<&Path>) -> Result<PathBuf, PathError> {
    choose(given, |name| std::env::var(name).ok()).ok_or(PathError::Nowhere)
}

fn choose(given: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    // The XDG Base Directory Specification wants relative paths ignored.
    let absolute = |name: &str| set(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    given
        .map(Path::to_owned)
        .or_else(|| {
            set("STATE_DIRECTORY").and_then(|dirs| dirs.split(':').next().map(PathBuf::from))
        })
        .or_else(|| absolute("XDG_STATE_HOME").map(|dir| dir.join("ohmvision")))
        .or_else(|| absolute("HOME").map(|dir| dir.join(".local/state/ohmvision")))
}

/// Makes the directory, or takes one that is there away from everybody else.
fn prepare(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return DirBuilder::new().recursive(true).mode(0o700).create(path);
    }
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is not a directory"));
    }
    let is_open = metadata.permissions().mode() & 0o077 != 0;
    let is_empty = fs::read_dir(path)?.next().is_none();
    if is_open && is_empty {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    access(path, all).map_err(io::Error::from)
}

/// Writes a text that is made anew at each start. A full disk may have no room left for what it held
/// before: a file that says this already stays as it is, and none stays half written or wrong.
///
/// # Errors
/// The text could not be written; no file says anything then.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(given: Option<&str>, env: &[(&str, &str)]) -> Option<PathBuf> {
        let find = |name: &str| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        choose(given.map(Path::new), find)
    }

    #[test]
    fn the_order_of_places() {
        let all = [
            ("STATE_DIRECTORY", "/var/lib/ohmvision:/x"),
            ("XDG_STATE_HOME", "/xdg"),
            ("HOME", "/h"),
        ];
        assert_eq!(chosen(Some("/s"), &all), Some("/s".into()));
        assert_eq!(chosen(None, &all), Some("/var/lib/ohmvision".into()));
        assert_eq!(chosen(None, &all[1..]), Some("/xdg/ohmvision".into()));
        assert_eq!(
            chosen(None, &all[2..]),
            Some("/h/.local/state/ohmvision".into())
        );
        assert_eq!(chosen(None, &[("HOME", "")]), None);
        assert_eq!(chosen(None, &[("XDG_STATE_HOME", "relative")]), None);
    }

    #[test]
    fn it_is_made_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        state_dir(Some(&path)).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = state_dir(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("--state-dir"), "{error}");
    }

    #[test]
    fn a_text_is_replaced_whole_or_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.addr");
        replace(&path, "one").unwrap();
        // A full disk: nothing can be written beside it.
        fs::create_dir(dir.path().join("api.new")).unwrap();
        replace(&path, "one").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert!(replace(&path, "two").is_err());
        assert!(!path.exists(), "a wrong address is worse than none");
    }
}
