//! Questions on the terminal.

use std::io::{self, BufRead as _, Write as _};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::model::Secret;

/// Asks for a password on the terminal; what is typed is not shown.
pub fn ask_password(question: &str) -> io::Result<Secret> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    write!(io::stderr(), "{question}")?;
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
    let mut line = zeroize::Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &before)?;
    writeln!(io::stderr())?;
    read?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}
