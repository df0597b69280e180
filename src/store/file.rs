//! The state directory: lock, database file, migrations, backups.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use redb::{Key, TableDefinition, Value, WriteTransaction};

use super::error::{Fault, StoreError};
use super::identity;
use super::tables::{self, META, SCHEMA, meta};
use super::vault::{KeyFile, Vault};

const CACHE_BYTES: usize = 1024 * 1024;
const DATABASE: &str = "ohmvision.redb";
const BACKUPS_KEPT: usize = 2;

/// From schema `i + 1` to `i + 2`, each in one transaction with the new number.
pub(super) const MIGRATIONS: &[Migration] = &[];
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), Fault>;

const _: () = assert!(MIGRATIONS.len() + 1 == SCHEMA as usize);

/// Where things are in the state directory.
#[derive(Debug, Clone)]
pub(super) struct StateDir(pub PathBuf);

impl StateDir {
    pub fn database(&self) -> PathBuf {
        self.0.join(DATABASE)
    }

    pub fn journal(&self) -> PathBuf {
        self.0.join("ohmvision.journal")
    }

    /// Makes the directory (0700) when it is missing and takes its lock.
    pub fn lock(&self) -> Result<File, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|e| StoreError::io(&self.0, &e))?;
        let path = self.0.join("ohmvision.lock");
        let fail = |e: io::Error| StoreError::io(&path, &e);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.take(16).read_to_string(&mut text);
                return Err(StoreError::InUse {
                    dir: self.0.clone(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(fs::TryLockError::Error(e)) => return Err(fail(e)),
        }
        // Only for the message above, so a full disk does not matter.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(file)
    }

    /// Renames database and journal, so that an empty store can be made.
    pub fn set_aside(&self) -> Result<(), StoreError> {
        let stamp = unix_now_s();
        for path in [self.database(), self.journal()] {
            let mut aside = path.clone().into_os_string();
            aside.push(format!(".aside-{stamp}"));
            match fs::rename(&path, &aside) {
                Ok(()) => tracing::warn!(
                    file = %path.display(), to = %Path::new(&aside).display(),
                    "set the file aside, starting empty"
                ),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(StoreError::io(&path, &e)),
            }
        }
        sync_dir(&self.database()).map_err(|e| StoreError::io(&self.0, &e))
    }

    /// Unix time and path of each backup, newest first; those before a migration included.
    fn backups(&self) -> Vec<(u64, PathBuf)> {
        let mut found: Vec<_> = fs::read_dir(&self.0)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                let rest = name.strip_prefix(DATABASE)?;
                let kind = rest.strip_prefix(".backup").or(rest.strip_prefix(".v"))?;
                let stamp = kind.rsplit_once('-')?.1.parse().ok()?;
                Some((stamp, self.0.join(name)))
            })
            .collect();
        found.sort_unstable();
        found.reverse();
        found
    }

    pub fn newest_backup(&self) -> Option<PathBuf> {
        self.backups().into_iter().next().map(|(_, path)| path)
    }

    /// Names the file to a failure inside it.
    pub fn error(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Full => StoreError::Full {
                dir: self.0.clone(),
            },
            Fault::Corrupt(detail) => StoreError::Corrupt {
                file: self.database(),
                newest_backup: self.newest_backup(),
                detail,
            },
            Fault::Held => StoreError::InUse {
                dir: self.0.clone(),
                pid: None,
            },
            Fault::Other(detail) => StoreError::Io {
                path: self.database(),
                detail,
            },
        }
    }

    /// Opens the database, made first when there is none. `true` when it was made.
    pub fn open_or_create(&self, key: &KeyFile) -> Result<(Database, Vault, bool), StoreError> {
        let path = self.database();
        let is_new = !path.try_exists().map_err(|e| StoreError::io(&path, &e))?;
        let vault = key.load(is_new)?;
        if is_new {
            if let Some(backup) = self.newest_backup() {
                tracing::warn!(backup = %backup.display(), "there is a backup but no store, starting empty");
            }
            self.create(&vault)?;
        }
        let db = self.open()?;
        let db = migrate(db, self, SCHEMA, MIGRATIONS)?;
        let check_value = |db: &Database| -> Result<Option<Vec<u8>>, Fault> {
            let table = db.begin_read()?.open_table(META)?;
            Ok(table.get(meta::VAULT_CHECK)?.map(|v| v.value().to_vec()))
        };
        let found = check_value(&db).map_err(|f| self.error(f))?;
        let vault = match found {
            Some(value) if !vault.is_right_for(&value) => {
                identity::finish_renewal(key, &value)?.ok_or_else(|| key.wrong())?
            }
            _ => vault,
        };
        let vault = match identity::is_missing(&db).map_err(|f| self.error(f))? {
            true => identity::renew(&db, self, key, vault)?,
            false => vault,
        };
        Ok((db, vault, is_new))
    }

    /// Opens an existing database and verifies it. redb may panic on damage that a plain open does
    /// not look for; both end as [`StoreError::Corrupt`].
    pub fn open(&self) -> Result<Database, StoreError> {
        let path = self.database();
        let open = || {
            Builder::new()
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(true)
                .open(&path)
        };
        match std::panic::catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok(db)) => Ok(db),
            Ok(Err(e)) => Err(self.error(e.into())),
            Err(_) => Err(self.error(Fault::Corrupt("its pages make no sense".to_owned()))),
        }
    }

    /// Makes a store beside its place and moves it there whole, so that a file of no length is always
    /// damage and never mistaken for a new store.
    fn create(&self, vault: &Vault) -> Result<(), StoreError> {
        self.build(&self.database(), |txn| {
            tables::create_all(txn)?;
            identity::write_new(txn)?;
            let mut table = txn.open_table(META)?;
            table.insert(meta::SCHEMA, SCHEMA.to_le_bytes().as_slice())?;
            table.insert(meta::GENERATION, 1u64.to_le_bytes().as_slice())?;
            table.insert(meta::VAULT_CHECK, vault.check_value().as_slice())?;
            Ok(())
        })
    }

    /// Writes a new database file (0600) whole or not at all.
    fn build(
        &self,
        path: &Path,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<(), StoreError> {
        let temporary = self.0.join("ohmvision.redb-new");
        let fail = |e: io::Error| StoreError::io(path, &e);
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(fail)?;
        let work = || -> Result<(), Fault> {
            let db = Builder::new()
                .set_cache_size(CACHE_BYTES)
                .create(&temporary)?;
            let txn = db.begin_write()?;
            fill(&txn)?;
            txn.commit()?;
            Ok(db.close()?)
        };
        work().map_err(|fault| {
            let _ = fs::remove_file(&temporary);
            self.error(fault)
        })?;
        fs::rename(&temporary, path).map_err(fail)?;
        sync_dir(path).map_err(fail)
    }

    /// Copies everything but the history into a new backup, unless there is one that is younger than
    /// `min_age_s`, and keeps two. Small (the configuration), so that it costs little flash; written
    /// from a read transaction, so that it is consistent; made only of a store that was verified when
    /// it was opened. `false` when there is a younger one.
    ///
    /// # Errors
    /// The disk is full, most likely. The store itself is untouched.
    pub fn back_up(&self, db: &Database, min_age_s: u64) -> Result<bool, StoreError> {
        let now = unix_now_s();
        let fresh = |(at, _): &(u64, PathBuf)| at.abs_diff(now) < min_age_s;
        if self.backups().iter().any(fresh) {
            return Ok(false);
        }
        let path = self.0.join(format!("{DATABASE}.backup-{now}"));
        let from = db.begin_read().map_err(|e| self.error(e.into()))?;
        self.build(&path, |to| {
            tables::create_all(to)?;
            copy(&from, to, META)?;
            copy(&from, to, tables::CAMERAS)?;
            copy(&from, to, tables::SECRETS)?;
            copy(&from, to, tables::STATES)?;
            copy(&from, to, tables::BRAKE)?;
            copy(&from, to, tables::TOKENS)
        })?;
        let daily = |(_, path): &(u64, PathBuf)| path.to_string_lossy().contains(".backup-");
        for (_, old) in self.backups().into_iter().filter(daily).skip(BACKUPS_KEPT) {
            let _ = fs::remove_file(old);
        }
        Ok(true)
    }
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<K, V>,
) -> Result<(), Fault> {
    let mut copy = to.open_table(table)?;
    for row in from.open_table(table)?.iter()? {
        let (key, value) = row?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Brings the file to `known`, after a copy of it as it was.
fn migrate(
    db: Database,
    dir: &StateDir,
    known: u32,
    migrations: &[Migration],
) -> Result<Database, StoreError> {
    let read = || -> Result<Option<[u8; 4]>, Fault> {
        let table = db.begin_read()?.open_table(META)?;
        tables::meta_number(&table, meta::SCHEMA)
    };
    let found = match read() {
        Ok(Some(number)) => u32::from_le_bytes(number),
        Ok(None) => 0,
        Err(Fault::Other(_)) => 0,
        Err(fault) => return Err(dir.error(fault)),
    };
    let file = dir.database();
    if found == known {
        return Ok(db);
    }
    if found > known {
        return Err(StoreError::Newer { file, found, known });
    }
    if found == 0 {
        let detail = "it is not a store of ohmvision".to_owned();
        return Err(dir.error(Fault::Corrupt(detail)));
    }
    db.close().map_err(|e| dir.error(e.into()))?;
    let kept = dir.0.join(format!("{DATABASE}.v{found}-{}", unix_now_s()));
    copy_file(&file, &kept).map_err(|e| StoreError::io(&kept, &e))?;
    tracing::info!(from = found, to = known, backup = %kept.display(), "migrating the store");
    let db = dir.open()?;
    let work = || -> Result<(), Fault> {
        for (schema, step) in (2..).zip(migrations).skip(found as usize - 1) {
            let txn = db.begin_write()?;
            step(&txn)?;
            tables::put_meta(&txn, meta::SCHEMA, &u32::to_le_bytes(schema))?;
            txn.commit()?;
        }
        Ok(())
    };
    work().map_err(|fault| dir.error(fault))?;
    Ok(db)
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    let copied = io::copy(&mut source, &mut target).and_then(|_| target.sync_all());
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    copied.and_then(|()| sync_dir(to))
}

/// Makes a rename or creation of `path` durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn unix_now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_store_is_migrated_after_a_copy() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir(root.path().to_owned());
        let key = KeyFile::choose(&dir.0, None);
        let (db, _, is_new) = dir.open_or_create(&key).unwrap();
        assert!(is_new);
        let mark: Migration = |txn| tables::put_meta(txn, b"mark", b"done");
        let fails: Migration = |_| Err(Fault::Other("it does not work out".to_owned()));

        let error = migrate(db, &dir, 3, &[mark, fails]).err().unwrap();
        assert!(error.to_string().contains("does not work out"), "{error}");
        // The first step stands by itself.
        let read = |db: &Database, name: &[u8]| {
            let table = db.begin_read().unwrap().open_table(META).unwrap();
            table.get(name).unwrap().map(|v| v.value().to_vec())
        };
        let db = dir.open().unwrap();
        assert_eq!(read(&db, meta::SCHEMA), Some(vec![2, 0, 0, 0]));
        assert_eq!(read(&db, b"mark"), Some(b"done".to_vec()));
        let db = migrate(db, &dir, 3, &[fails, mark]).unwrap();
        assert_eq!(read(&db, meta::SCHEMA), Some(vec![3, 0, 0, 0]));
        drop(db);

        let mut kept = dir.backups();
        assert_eq!(kept.len(), 2);
        let (_, oldest) = kept.pop().unwrap();
        assert!(oldest.to_string_lossy().contains(".v1-"), "{oldest:?}");
        fs::copy(oldest, dir.database()).unwrap();
        assert_eq!(
            read(&dir.open().unwrap(), meta::SCHEMA),
            Some(vec![1, 0, 0, 0])
        );
    }
}
