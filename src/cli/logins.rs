//! The logins of a site: from a file, or asked for.

use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::fail;
use crate::exit::Exit;
use crate::model::{Credentials, Secret};

/// As many as the API takes.
const LOGINS_MAX: usize = 4;
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Reads a file with one `user:password` on each line; `#` begins a remark.
///
/// # Errors
/// One sentence: the file cannot be read, others may read it, or a line is no login.
pub fn from_file(path: &Path) -> Result<Vec<Credentials>, String> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| format!("cannot read {shown}: {e}");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        return Err(format!(
            "others may read {shown}, and it holds passwords: chmod 600 {shown}"
        ));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("{shown} is too long for a list of logins"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text).map_err(|why| format!("{shown}{why}"))
}

fn parse(text: &str) -> Result<Vec<Credentials>, String> {
    let mut logins = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let number = number + 1;
        match line.split_once(':') {
            Some((user, password)) if !user.is_empty() => {
                logins.push(Credentials::new(user, password));
            }
            _ => return Err(format!(":{number}: a line must be user:password")),
        }
    }
    match logins.len() {
        0 => Err(" holds no login: one user:password on each line".to_owned()),
        1..=LOGINS_MAX => Ok(logins),
        count => Err(format!(
            " holds {count} logins, but at most {LOGINS_MAX} are tried: cameras lock accounts"
        )),
    }
}

/// Asks at the terminal until an empty user name.
///
/// # Errors
/// The exit code; the sentence is printed.
pub fn ask() -> Result<Vec<Credentials>, Exit> {
    let mut logins = Vec::new();
    while logins.len() < LOGINS_MAX {
        let more = if logins.is_empty() { "" } else { " more" };
        let question = format!("User name of the cameras (empty: no{more} login): ");
        let username = line(&question)?;
        if username.is_empty() {
            break;
        }
        let password: Secret =
            crate::sys::terminal::ask_password(&format!("Password of {username}: "))
                .map_err(|e| fail(Exit::Usage, &format!("cannot read the password: {e}")))?;
        logins.push(Credentials { username, password });
    }
    Ok(logins)
}

/// One line from the terminal.
///
/// # Errors
/// The exit code; the sentence is printed.
pub fn line(question: &str) -> Result<String, Exit> {
    let _ = write!(std::io::stderr(), "{question}");
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| fail(Exit::Usage, &format!("cannot read the answer: {e}")))?;
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_password_may_hold_anything() {
        let text = "\u{feff}# cameras\nadmin:p:@ss #1 \r\n\nroot:\n";
        let logins = parse(text).unwrap();
        assert_eq!(
            logins,
            [
                Credentials::new("admin", "p:@ss #1 "),
                Credentials::new("root", "")
            ]
        );
    }

    #[test]
    fn mistakes_are_named_without_the_password() {
        let of = |text: &str| parse(text).unwrap_err();
        assert!(of("admin:x\nhunter2\n").starts_with(":2: "));
        assert!(!of("admin:x\nhunter2\n").contains("hunter2"));
        assert!(of("# nothing\n").contains("no login"));
        assert!(of(&"a:b\n".repeat(5)).contains("at most 4"));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "admin:x\n").unwrap();
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), mode).unwrap();
        };
        set(0o644);
        assert!(from_file(file.path()).unwrap_err().contains("chmod 600"));
        set(0o600);
        assert_eq!(from_file(file.path()).unwrap().len(), 1);
    }
}
