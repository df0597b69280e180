use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store cannot be opened or an operation did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the state directory {} is in use by another ohmvision{}: stop that one, or give this one its own --state-dir",
        dir.display(), Pid(*pid)
    )]
    InUse { dir: PathBuf, pid: Option<u32> },
    #[error(
        "{} was written by a newer ohmvision (schema {found}, this one knows up to {known}): install that version again, or start empty with `ohmvision run --new-store`",
        file.display()
    )]
    Newer {
        file: PathBuf,
        found: u32,
        known: u32,
    },
    #[error(
        "{} is corrupt ({detail}); {}, or start empty with `ohmvision run --new-store`, which sets the file aside",
        file.display(), Backup(newest_backup)
    )]
    Corrupt {
        file: PathBuf,
        newest_backup: Option<PathBuf>,
        detail: String,
    },
    /// The key is missing, unreadable, malformed or not the one that sealed the store.
    #[error("the vault key {} {problem}", file.display())]
    VaultKey { file: PathBuf, problem: String },
    #[error(
        "the disk that holds {} is full: nothing stored is lost, but this was not saved; free some space and try again",
        dir.display()
    )]
    Full { dir: PathBuf },
    /// Any other failure of a file.
    #[error("{}: {detail}", path.display())]
    Io { path: PathBuf, detail: String },
    /// The answer did not come in time. A write may still happen later.
    #[error("the store did not answer within {limit_s} s: the disk is too slow or hangs")]
    Timeout { limit_s: u64 },
    /// The store's thread has ended: closed, or it panicked.
    #[error("the store is closed")]
    Gone,
}

impl StoreError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        if is_full(error) {
            let dir = path.parent().unwrap_or(path).to_owned();
            return Self::Full { dir };
        }
        Self::Io {
            path: path.to_owned(),
            detail: error.to_string(),
        }
    }
}

struct Pid(Option<u32>);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(f, " (process {pid})"))
    }
}

struct Backup<'a>(&'a Option<PathBuf>);

impl fmt::Display for Backup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(
                f,
                "stop ohmvision and copy the newest backup {} over it",
                path.display()
            ),
            None => f.write_str("there is no backup yet"),
        }
    }
}

/// What went wrong inside the database, before it is known which file it was.
#[derive(Debug)]
pub(super) enum Fault {
    Full,
    Corrupt(String),
    /// The database is held by another process.
    Held,
    Other(String),
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(e) if is_full(&e) => Self::Full,
            redb::Error::Io(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Corrupt(e.to_string())
            }
            redb::Error::Corrupted(detail) => Self::Corrupt(detail),
            redb::Error::DatabaseAlreadyOpen => Self::Held,
            // A table of another type: written by something else.
            e @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => Self::Corrupt(e.to_string()),
            e => Self::Other(e.to_string()),
        }
    }
}

macro_rules! fault_from {
    ($($error:ty),*) => { $(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )* };
}

fault_from!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError
);
