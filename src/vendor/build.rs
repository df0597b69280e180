//! Packs the manufacturer files into the tables that the catalogue reads (`$OUT_DIR/makers.rs`).

#[path = "check.rs"]
mod check;
#[path = "pack.rs"]
mod pack;
#[path = "raw.rs"]
mod raw;
#[path = "tables.rs"]
mod tables;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use raw::{RawGeneric, RawMaker};
use tables::Tables;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new("src/vendor");
    for input in [
        "build.rs",
        "check.rs",
        "pack.rs",
        "raw.rs",
        "tables.rs",
        "generic_paths.toml",
        "makers",
    ] {
        rerun_if_changed(&here.join(input));
    }
    let mut files: Vec<PathBuf> = fs::read_dir(here.join("makers"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut makers = Vec::new();
    for file in &files {
        rerun_if_changed(file);
        let maker: RawMaker = read(file)?;
        if file.file_stem().and_then(|stem| stem.to_str()) != Some(maker.id.as_str()) {
            return Err(format!(
                "{}: the file is named after its id `{}`",
                file.display(),
                maker.id
            )
            .into());
        }
        makers.push(maker);
    }
    let generic: RawGeneric = read(&here.join("generic_paths.toml"))?;
    let tables = pack::pack(&makers, &generic, &|_| None).map_err(|problems| {
        let lines: Vec<String> = problems.into_iter().map(|p| p.message).collect();
        lines.join("\n")
    })?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("makers.rs"), source(&tables))?;
    link_smaller();
    Ok(())
}

/// Packs the relocations of the program (DT_RELR): 3 % of its size. The C library has known them since 2.36,
/// which is what the packages ask for; a program for this machine alone takes what this machine has.
fn link_smaller() {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    let here = env::var_os("HOST") == env::var_os("TARGET");
    if !here || libc_minor().is_some_and(|minor| minor >= 36) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The 36 of "glibc 2.36", of this machine.
fn libc_minor() -> Option<u32> {
    let known = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let text = String::from_utf8(known.stdout).ok()?;
    text.trim()
        .strip_prefix("glibc 2.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, Box<dyn Error>> {
    let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()).into())
}

/// The tables as a Rust value: the derived `Debug` form of the rows is valid source.
fn source(tables: &Tables) -> String {
    let Tables {
        text,
        fields,
        templates,
        ports,
        ouis,
        makers,
        generic,
    } = tables;
    format!(
        "/// The built-in makers.\n\
         pub static BUILTIN: Tables = Tables {{\n\
         text: Cow::Borrowed({text:?}),\n\
         fields: Cow::Borrowed(&{fields:?}),\n\
         templates: Cow::Borrowed(&{templates:?}),\n\
         ports: Cow::Borrowed(&{ports:?}),\n\
         ouis: Cow::Borrowed(&{ouis:?}),\n\
         makers: Cow::Borrowed(&{makers:?}),\n\
         generic: {generic:?},\n}};\n"
    )
}

fn rerun_if_changed(path: &Path) {
    println!("cargo:rerun-if-changed={}", path.display());
}
