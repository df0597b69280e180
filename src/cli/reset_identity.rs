//! `ohmvision reset-identity`

use std::path::{Path, PathBuf};

use clap::Args;

use super::{fail, out};
use crate::config::{Config, Sources};
use crate::daemon::DaemonError;
use crate::exit::Exit;
use crate::store::{self, StoreError};
use crate::sys::paths;

/// Beside the store: what the daemon makes anew when it is missing.
const OWN_FILES: [&str; 4] = ["admin.token", "api.addr", "api.crt", "api.key"];

#[derive(Debug, Args)]
pub struct ResetIdentityArgs {
    /// Configuration file [default: /etc/ohmvision/ohmvision.toml, where it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the state is kept [default: $STATE_DIRECTORY, else ~/.local/state/ohmvision, else /var/lib/ohmvision].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Forget the cameras, too.
    #[arg(long)]
    without_cameras: bool,
}

pub fn run(args: &ResetIdentityArgs) -> Exit {
    let _ = crate::logging::start_one_shot();
    let loaded = Sources::of_process(args.config.as_deref()).and_then(|s| Config::load(&s));
    let key = match loaded {
        Ok(loaded) => loaded.config.security.vault_key_file,
        Err(errors) => return fail(Exit::Config, &errors.to_string()),
    };
    let dir = place(args.state_dir.as_deref());
    let kept = match store::reset_identity(&dir, key.as_deref(), args.without_cameras) {
        Ok(kept) => kept,
        Err(error @ StoreError::InUse { .. }) => {
            return fail(
                Exit::Temporary,
                &format!("{error}; `sudo systemctl stop ohmvision` stops the service"),
            );
        }
        Err(error) => {
            let error = DaemonError::Store(error);
            return fail(error.exit(), &error.to_string());
        }
    };
    for name in OWN_FILES {
        let path = dir.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let sentence = format!("cannot remove {}: {error}", path.display());
                return fail(Exit::CannotCreate, &sentence);
            }
            _ => {}
        }
    }
    out(&format!(
        "{} has no identity now: {} cameras and the settings stay, tokens, events and figures are gone",
        dir.display(),
        kept.cameras
    ));
    out(match kept.key_is_renewed {
        true => "the next start makes a gateway id, a vault key and an admin token of its own",
        false => {
            "the next start makes a gateway id and an admin token of its own; the vault key is yours: give each machine another"
        }
    });
    Exit::Ok
}

/// The given directory, else the first place with a store.
fn place(given: Option<&Path>) -> PathBuf {
    let places = paths::places();
    let with_store = places
        .iter()
        .find(|dir| dir.join("ohmvision.redb").exists());
    given
        .or(with_store.map(PathBuf::as_path))
        .or(places.first().map(PathBuf::as_path))
        .map_or_else(PathBuf::new, Path::to_owned)
}
