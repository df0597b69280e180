//! What makes this store this gateway's: its id, the store's own id, the vault key, the tokens. A
//! copied store (golden image, cloned card) has to lose them, and every copy has to make its own.

use std::fs;
use std::io;
use std::path::Path;

use redb::{Database, Key, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use redb::{TableDefinition, Value, WriteTransaction};

use super::error::{Fault, StoreError};
use super::file::StateDir;
use super::outside;
use super::tables::{self, META, SECRETS, meta};
use super::vault::{self, KeyFile, Vault};

/// What a reset leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub cameras: u64,
    /// The vault key is a file of the state directory: the next start makes another and seals the
    /// passwords anew. One that comes from elsewhere stays as it is.
    pub key_is_renewed: bool,
}

/// Takes the identity out of the store in `dir`: the next start makes a new gateway id, store id,
/// vault key and admin token. Events, figures, states, tokens and what became of logins go, as do
/// backups, which hold all of it; cameras and settings stay, unless `without_cameras`.
///
/// # Errors
/// A daemon uses the directory, there is no store in it, or it cannot be read or written.
pub fn reset_identity(
    dir: &Path,
    vault_key_file: Option<&Path>,
    without_cameras: bool,
) -> Result<Kept, StoreError> {
    let dir = StateDir(dir.to_owned());
    let database = dir.database();
    if !database.exists() {
        return Err(StoreError::Io {
            path: database,
            detail: "there is no store to reset: name the directory with --state-dir".to_owned(),
        });
    }
    let _lock = dir.lock()?;
    let key = KeyFile::choose(&dir.0, vault_key_file);
    let (db, vault, _) = dir.open_or_create(&key)?;
    drop(vault);
    let work = || -> Result<u64, Fault> {
        let txn = db.begin_write()?;
        for table in [tables::TOKENS, tables::BRAKE] {
            empty(&txn, table)?;
        }
        for table in [
            tables::EVENTS,
            tables::OBSERVED,
            tables::ROLLUPS,
            tables::SAMPLES,
        ] {
            empty(&txn, table)?;
        }
        empty(&txn, tables::STATES)?;
        if without_cameras {
            empty(&txn, tables::CAMERAS)?;
            empty(&txn, SECRETS)?;
        }
        let cameras = txn.open_table(tables::CAMERAS)?.len()?;
        {
            let mut meta_table = txn.open_table(META)?;
            meta_table.remove(meta::GATEWAY_ID)?;
            if without_cameras {
                meta_table.remove(meta::NEXT_CAMERA_ID)?;
            }
        }
        outside::forget_identity(&txn)?;
        txn.commit()?;
        Ok(cameras)
    };
    let cameras = work().map_err(|fault| dir.error(fault))?;
    db.close().map_err(|e| dir.error(e.into()))?;
    dir.remove_copies()
        .map_err(|e| StoreError::io(&dir.0, &e))?;
    Ok(Kept {
        cameras,
        key_is_renewed: key.may_create,
    })
}

fn empty<K: Key + 'static, V: Value + 'static>(
    txn: &WriteTransaction,
    table: TableDefinition<K, V>,
) -> Result<(), Fault> {
    txn.open_table(table)?.retain(|_, _| false)?;
    Ok(())
}

/// A new gateway id, `gw-` and 12 hexadecimal digits, and a new store id, into the meta table.
pub(super) fn write_new(txn: &WriteTransaction) -> Result<(), Fault> {
    let mut random = [0; 22];
    vault::fill_random(&mut random);
    let (gateway, store) = random.split_at(6);
    let hex: String = gateway.iter().map(|b| format!("{b:02x}")).collect();
    tables::put_meta(txn, meta::GATEWAY_ID, format!("gw-{hex}").as_bytes())?;
    tables::put_meta(txn, meta::STORE_ID, store)
}

/// Was the identity taken out of this store?
pub(super) fn is_missing(db: &Database) -> Result<bool, Fault> {
    let table = db.begin_read()?.open_table(META)?;
    Ok(table.get(meta::GATEWAY_ID)?.is_none())
}

/// Makes the identity of a store that lost its own; all passwords are sealed with a new key where
/// the key is ours to make. The new key lies beside the old one until the store is committed, so
/// that the power may fail at any moment: see [`finish_renewal`].
pub(super) fn renew(
    db: &Database,
    dir: &StateDir,
    key: &KeyFile,
    old: Vault,
) -> Result<Vault, StoreError> {
    let new = match key.may_create {
        true => Some(key.beside().create()?),
        false => None,
    };
    let work = || -> Result<usize, Fault> {
        let txn = db.begin_write()?;
        write_new(&txn)?;
        let mut lost = 0;
        if let Some(new) = &new {
            lost = seal_anew(&txn, &old, new)?;
            tables::put_meta(&txn, meta::VAULT_CHECK, &new.check_value())?;
        }
        txn.commit()?;
        Ok(lost)
    };
    let lost = work().map_err(|fault| dir.error(fault))?;
    if lost > 0 {
        tracing::error!("the passwords of {lost} cameras were damaged: set them again");
    }
    let Some(new) = new else { return Ok(old) };
    key.take_beside()
        .map_err(|e| StoreError::io(&key.path, &e))?;
    tracing::info!("this store has a new identity and a new vault key");
    Ok(new)
}

/// The power failed between the commit and the change of the key file: the right key lies beside.
pub(super) fn finish_renewal(
    key: &KeyFile,
    check_value: &[u8],
) -> Result<Option<Vault>, StoreError> {
    if !key.may_create || !key.beside().path.exists() {
        return Ok(None);
    }
    let vault = key.beside().load(false)?;
    if !vault.is_right_for(check_value) {
        return Ok(None);
    }
    key.take_beside()
        .map_err(|e| StoreError::io(&key.path, &e))?;
    Ok(Some(vault))
}

/// Every password with the new key; how many rows did not open.
fn seal_anew(txn: &WriteTransaction, old: &Vault, new: &Vault) -> Result<usize, Fault> {
    let mut table = txn.open_table(SECRETS)?;
    let mut rows = Vec::new();
    let mut lost = 0;
    for row in table.iter()? {
        let (uid, sealed) = row?;
        let Ok(uid) = uuid::Uuid::from_slice(uid.value()) else {
            continue;
        };
        match old.open(uid, sealed.value()) {
            Ok(secrets) => rows.extend(new.seal(uid, &secrets).map(|sealed| (uid, sealed))),
            Err(_) => lost += 1,
        }
    }
    table.retain(|_, _| false)?;
    for (uid, sealed) in rows {
        table.insert(uid.as_bytes().as_slice(), sealed.as_slice())?;
    }
    Ok(lost)
}

impl StateDir {
    /// Backups, stores that were set aside, the journal: all hold what the store has lost.
    fn remove_copies(&self) -> io::Result<()> {
        let is_copy = |name: &str| {
            name.starts_with("ohmvision.redb.") || name.starts_with("ohmvision.journal")
        };
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_copy) {
                fs::remove_file(entry.path())?;
            }
        }
        super::file::sync_dir(&self.database())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::EventKind;
    use crate::store::tests::{camera, event, open, secrets};
    use crate::store::{EventFilter, TokenRow};

    fn files(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = names
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn copy(from: &Path, to: PathBuf) -> PathBuf {
        fs::create_dir(&to).unwrap();
        for name in files(from) {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
        to
    }

    /// A store with two cameras, a token and an event, closed again; and its gateway's id.
    async fn used(dir: &Path) -> String {
        let (store, loaded) = open(dir);
        for id in [1, 2] {
            store.put_camera(&camera(id), &secrets(id)).await.unwrap();
        }
        let token = TokenRow {
            id: "t".to_owned(),
            name: "admin".to_owned(),
            scope: "admin".to_owned(),
            sha256: [7; 32],
            created_at: crate::model::Timestamp(1),
            expires_at: None,
            last_used_at: None,
        };
        store.put_token(token).await.unwrap();
        let told = event(1, Some(1), EventKind::Offline);
        store
            .commit_transition(Vec::new(), vec![told])
            .await
            .unwrap();
        store.close().await.unwrap();
        fs::write(dir.join("ohmvision.redb.backup-17"), "old").unwrap();
        loaded.gateway_id
    }

    #[tokio::test]
    async fn two_copies_become_two_gateways_and_keep_their_cameras() {
        let root = tempfile::tempdir().unwrap();
        let image = root.path().join("image");
        fs::create_dir(&image).unwrap();
        let old = used(&image).await;
        let kept = reset_identity(&image, None, false).unwrap();
        assert_eq!((kept.cameras, kept.key_is_renewed), (2, true));
        assert_eq!(
            files(&image),
            ["ohmvision.lock", "ohmvision.redb", "vault.key"]
        );
        let mut seen = vec![(old, fs::read(image.join("vault.key")).unwrap())];
        for name in ["a", "b"] {
            let dir = copy(&image, root.path().join(name));
            let (store, loaded) = open(&dir);
            assert_eq!(loaded.unreadable, Vec::<String>::new());
            assert_eq!(loaded.cameras.len(), 2);
            for (camera, found) in &loaded.cameras {
                assert_eq!(*found, secrets(camera.id.0), "the passwords came along");
            }
            assert!(loaded.tokens.is_empty() && loaded.states.is_empty());
            let page = store.events(EventFilter::default()).await.unwrap();
            assert!(page.events.is_empty());
            store.close().await.unwrap();
            let key = fs::read(dir.join("vault.key")).unwrap();
            assert!(!dir.join("vault.key-next").exists());
            let (store, again) = open(&dir);
            assert_eq!(again.gateway_id, loaded.gateway_id, "made once");
            store.close().await.unwrap();
            seen.push((loaded.gateway_id, key));
        }
        for (i, (id, key)) in seen.iter().enumerate() {
            for (other_id, other_key) in &seen[..i] {
                assert!(id != other_id && key != other_key);
            }
        }
    }

    #[tokio::test]
    async fn the_power_may_fail_between_store_and_key() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("s");
        fs::create_dir(&dir).unwrap();
        used(&dir).await;
        let old_key = fs::read(dir.join("vault.key")).unwrap();
        reset_identity(&dir, None, false).unwrap();
        // Before the commit: a key waits that seals nothing yet.
        fs::write(dir.join("vault.key-next"), [9; 32]).unwrap();
        let (store, loaded) = open(&dir);
        assert_eq!(loaded.cameras[0].1, secrets(1));
        store.close().await.unwrap();
        // After the commit: the old key is still in place, the new one waits.
        fs::rename(dir.join("vault.key"), dir.join("vault.key-next")).unwrap();
        fs::write(dir.join("vault.key"), &old_key).unwrap();
        let (store, loaded) = open(&dir);
        assert_eq!(loaded.cameras[0].1, secrets(1));
        assert_ne!(fs::read(dir.join("vault.key")).unwrap(), old_key);
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn an_image_may_be_without_cameras_and_the_operators_key_stays() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("s");
        fs::create_dir(&dir).unwrap();
        used(&dir).await;
        let key = root.path().join("operator.key");
        fs::rename(dir.join("vault.key"), &key).unwrap();
        let kept = reset_identity(&dir, Some(&key), true).unwrap();
        assert_eq!((kept.cameras, kept.key_is_renewed), (0, false));
        let before = fs::read(&key).unwrap();
        let options = crate::store::OpenOptions {
            vault_key_file: Some(key.clone()),
            ..crate::store::OpenOptions::new(&dir)
        };
        let (store, loaded) = crate::store::Store::open(options).unwrap();
        assert!(loaded.cameras.is_empty());
        assert_eq!(loaded.next_camera_id.0, 1);
        store.close().await.unwrap();
        assert_eq!(fs::read(&key).unwrap(), before);
    }

    #[tokio::test]
    async fn a_running_daemon_is_not_robbed() {
        let root = tempfile::tempdir().unwrap();
        assert!(reset_identity(root.path(), None, false).is_err());
        let (store, _) = open(root.path());
        let error = reset_identity(root.path(), None, false).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        store.close().await.unwrap();
    }
}
