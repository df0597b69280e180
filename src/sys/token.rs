//! Tokens of the API: made here, shown once, kept as their hash.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom as _;

use crate::model::Secret;

/// A new token of 256 random bits, and its SHA-256.
///
/// # Errors
/// The system gives no random numbers.
pub fn make() -> io::Result<(Secret, [u8; 32])> {
    let mut bytes = [0; 32];
    let filled = ring::rand::SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let text = format!("ohm_{}", URL_SAFE_NO_PAD.encode(bytes));
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
    Ok((Secret::new(text), sha256))
}

/// Writes a token, or another secret text, for its owner only, in one step: there is never half a file, nor one that others
/// may read.
pub fn write(path: &Path, token: &Secret) -> io::Result<()> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(token.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The store keeps the hash from now on: the file must not be lost with the power.
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn tokens_are_long_random_and_for_their_owner() {
        let (one, hash) = make().unwrap();
        let (two, _) = make().unwrap();
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), 47);
        assert_eq!(
            ring::digest::digest(&ring::digest::SHA256, one.expose().as_bytes()).as_ref(),
            hash
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.token");
        write(&path, &one).unwrap();
        write(&path, &two).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), two.expose());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
