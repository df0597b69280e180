//! What the gateway needs to be reached from outside: the broker's password, a change on trial, the
//! key that secrets are sealed for, commands that were taken.

use redb::{ReadTransaction, WriteTransaction};
use uuid::Uuid;

use super::error::Fault;
use super::tables::{META, SECRETS, meta};
use super::vault::Vault;
use crate::model::{CameraSecrets, Secret};

/// Rows among the secrets that belong to no camera: a camera's uid is a UUIDv7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    BrokerPassword,
    /// The one before a change on trial.
    BrokerPasswordBefore,
    SealingKey,
}

impl Own {
    pub(super) fn uid(self) -> Uuid {
        Uuid::from_u128(match self {
            Self::BrokerPassword => 1,
            Self::BrokerPasswordBefore => 2,
            Self::SealingKey => 3,
        })
    }
}

/// What the store holds for the daemon's own use.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    pub broker_password: Option<Secret>,
    pub broker_password_before: Option<Secret>,
    pub sealing_key: Option<Secret>,
    /// JSON.
    pub trial: Option<Vec<u8>>,
    /// JSON.
    pub commands: Option<Vec<u8>>,
    /// JSON.
    pub desired: Option<Vec<u8>>,
}

pub(super) fn load(txn: &ReadTransaction, vault: &Vault) -> Result<Outside, Fault> {
    let secrets = txn.open_table(SECRETS)?;
    let secret = |own: Own| -> Result<Option<Secret>, Fault> {
        let uid = own.uid();
        let row = secrets.get(uid.as_bytes().as_slice())?;
        // One that does not open is as good as none: it is asked for, or made, again.
        let opened = row.and_then(|row| vault.open(uid, row.value()).ok());
        Ok(opened.and_then(|secrets| secrets.password))
    };
    let table = txn.open_table(META)?;
    let text = |name: &[u8]| -> Result<Option<Vec<u8>>, Fault> {
        Ok(table.get(name)?.map(|row| row.value().to_vec()))
    };
    Ok(Outside {
        broker_password: secret(Own::BrokerPassword)?,
        broker_password_before: secret(Own::BrokerPasswordBefore)?,
        sealing_key: secret(Own::SealingKey)?,
        trial: text(meta::TRIAL)?,
        commands: text(meta::COMMANDS)?,
        desired: text(meta::DESIRED)?,
    })
}

/// The row of a secret; `None` where there is none to keep.
pub(super) fn seal(vault: &Vault, own: Own, secret: Option<&Secret>) -> Option<Vec<u8>> {
    let secrets = CameraSecrets {
        password: secret.cloned(),
        onvif_password: None,
    };
    vault.seal(own.uid(), &secrets)
}

pub(super) fn put_secret(
    txn: &WriteTransaction,
    own: Own,
    sealed: Option<&[u8]>,
) -> Result<(), Fault> {
    let mut table = txn.open_table(SECRETS)?;
    let uid = own.uid();
    let key = uid.as_bytes().as_slice();
    match sealed {
        Some(row) => table.insert(key, row)?,
        None => table.remove(key)?,
    };
    Ok(())
}

/// A row of the meta table; `None` takes it away.
pub(super) fn put_text(
    txn: &WriteTransaction,
    name: &[u8],
    text: Option<&[u8]>,
) -> Result<(), Fault> {
    let mut table = txn.open_table(META)?;
    match text {
        Some(text) => table.insert(name, text)?,
        None => table.remove(name)?,
    };
    Ok(())
}

/// A copy of this store is another gateway: nothing was published or asked in its name.
pub(super) fn forget_identity(txn: &WriteTransaction) -> Result<(), Fault> {
    for name in [
        meta::REPORTED,
        meta::PUBLISHED,
        meta::TRIAL,
        meta::COMMANDS,
        meta::DESIRED,
    ] {
        put_text(txn, name, None)?;
    }
    put_secret(txn, Own::SealingKey, None)?;
    put_secret(txn, Own::BrokerPasswordBefore, None)
}
