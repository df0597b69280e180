//! Man pages and shell completions, made of the command line and of the table of settings, so that
//! they cannot say anything else than the program does.
//!
//! usage: package_files DIRECTORY
//!
//! Writes `man/*.1`, `man/ohmvision.toml.5` and `completions/{bash,zsh,fish}`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for the package's build"
)]

use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, italic, roman};
use ohmvision::config::keys::{self, Apply, Kind};

fn main() {
    let dir = std::env::args().nth(1).map(PathBuf::from);
    let dir = dir.expect("usage: package_files DIRECTORY");
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    for dir in [&man, &completions] {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).unwrap();
    }
    clap_mangen::generate_to(ohmvision::cli::command(), &man).unwrap();
    fs::write(man.join("ohmvision.toml.5"), settings()).unwrap();
    for (shell, name) in [
        (Shell::Bash, "bash"),
        (Shell::Zsh, "zsh"),
        (Shell::Fish, "fish"),
    ] {
        complete(shell, &completions.join(name));
    }
}

fn complete(shell: Shell, path: &Path) {
    let mut text = Vec::new();
    clap_complete::generate(
        shell,
        &mut ohmvision::cli::command(),
        "ohmvision",
        &mut text,
    );
    fs::write(path, text).unwrap();
}

/// ohmvision.toml(5): the settings in the order of the table.
fn settings() -> String {
    let version = format!("ohmvision {}", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    page.control("TH", ["OHMVISION.TOML", "5", "", &version, ""]);
    page.control("SH", ["NAME"]);
    page.text([roman(
        "ohmvision.toml - configuration of the camera gateway",
    )]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([italic("/etc/ohmvision/ohmvision.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("The file need not exist: every setting has a default. It is TOML. A setting of the environment, "),
        bold("OHMVISION_SECTION_KEY"),
        roman(", wins over the file. "),
        bold("ohmvision config check"),
        roman(" names every mistake, "),
        bold("ohmvision config print --origin"),
        roman(" tells what is in force and why. "),
        bold("systemctl reload ohmvision"),
        roman(" takes over what can change while it runs; what cannot is marked below."),
    ]);
    for section in keys::sections() {
        page.control("SH", [format!("[{section}]").as_str()]);
        for key in keys::KEYS.iter().filter(|key| key.section() == section) {
            page.control("TP", []);
            page.text([bold(key.name()), roman(" = "), italic(key.default)]);
            let restart = match key.apply {
                Apply::Live => "",
                Apply::Restart => " From the next start on.",
            };
            page.text([roman(format!("{}{}{restart}", key.doc, range(&key.kind)))]);
        }
    }
    page.control("SH", ["[[manufacturer]]"]);
    page.text([
        roman("A maker of cameras that the catalogue does not know, or changes to one that it knows. "),
        bold("ohmvision manufacturers --json"),
        roman(" ID shows the fields of an entry."),
    ]);
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("ohmvision"),
        roman("(1), "),
        bold("ohmvision-config"),
        roman("(1)"),
    ]);
    page.render()
}

fn range(kind: &Kind) -> String {
    match kind {
        Kind::Count { min, max, .. } => format!(" {min} to {max}."),
        Kind::Time { min, max, .. } => format!(" {min} to {max}."),
        Kind::TimeOrOff { min, max, .. } => format!(" {min} to {max}, or 0: off."),
        Kind::Ratio { min, max, .. } => format!(" {min} to {max}."),
        _ => String::new(),
    }
}
