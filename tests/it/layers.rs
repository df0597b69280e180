//! The architecture as absences: which module may know which, and what pure modules never call; and
//! the map in ARCHITECTURE.md is the tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first: a module may use those on its own line and on the lines above.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["policy", "vendor", "wire"],
    &["exit", "sys"],
    &["config", "logging", "supervise", "store", "probe"],
    &["brake", "control"],
    &["detect"],
    &["discover"],
    &["site"],
    &["api", "monitor", "mqtt"],
    &["fleet", "daemon"],
    &["cli"],
];

const PURE: &[&str] = &["model", "policy", "vendor", "wire"];

/// What pure code has no business with.
const FORBIDDEN: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "tracing::",
    "SystemTime",
    "Instant::now",
    "println!",
    "socket2",
    "nix::",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// Path below `src/`, the module at its top, and the text without comments.
fn modules() -> Vec<(String, String, String)> {
    let src = root().join("src");
    let read = |path: &PathBuf| {
        let below = path
            .strip_prefix(&src)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let top = below
            .split('/')
            .next()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        let text = fs::read_to_string(path).unwrap();
        let code: Vec<&str> = text
            .lines()
            .filter(|l| !l.trim_start().starts_with("//"))
            .collect();
        (below, top, code.join("\n"))
    };
    sources(&src).iter().map(read).collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|line| line.contains(&module))
}

#[test]
fn imports_point_one_way() {
    for (path, top, code) in modules() {
        if ["lib", "main"].contains(&top.as_str()) {
            continue;
        }
        let own = layer(&top)
            .unwrap_or_else(|| panic!("src/{path}: `{top}` is in no layer of this test"));
        for (_, after) in code
            .match_indices("crate::")
            .map(|(i, _)| code.split_at(i + 7))
        {
            let used: String = after
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let Some(other) = layer(&used) else { continue };
            assert!(
                other <= own,
                "src/{path} uses crate::{used}, which lies above it"
            );
        }
    }
}

#[test]
fn pure_modules_touch_nothing() {
    for (path, top, code) in modules() {
        // The build script of the catalogue is no part of the program.
        if !PURE.contains(&top.as_str()) || path.ends_with("build.rs") {
            continue;
        }
        for word in FORBIDDEN {
            assert!(
                !code.contains(word),
                "src/{path} is pure and must not use `{word}`"
            );
        }
    }
}

#[test]
fn unsafe_code_lives_in_sys() {
    for (path, top, code) in modules() {
        assert!(
            top == "sys" || !code.contains("unsafe {"),
            "src/{path} holds unsafe code"
        );
    }
}

/// Every file of `src/` stands in ARCHITECTURE.md's map (folders of parts may stand for their
/// files), and nothing else does.
#[test]
fn the_map_is_the_tree() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = text
        .split("```text")
        .find(|part| part.trim_start().starts_with("src/"))
        .unwrap();
    let map = map.split("```").next().unwrap();
    let mut folder = String::new();
    let mut named = BTreeSet::new();
    for line in map.lines().skip(1).filter(|l| !l.trim().is_empty()) {
        let name = line.split_whitespace().next().unwrap();
        let depth = (line.len() - line.trim_start().len()) / 2;
        if depth == 1 {
            folder = if name.ends_with('/') {
                name.to_owned()
            } else {
                String::new()
            };
            named.insert(name.to_owned());
        } else if depth > 1 {
            named.insert(format!("{folder}{name}"));
        }
    }
    let src = root().join("src");
    for name in &named {
        assert!(
            src.join(name).exists(),
            "ARCHITECTURE.md names src/{name}, which does not exist"
        );
    }
    for (path, ..) in modules() {
        let is_named = named.contains(&path) || path.ends_with("/mod.rs");
        // A file's parts lie in the folder of its name; deeper folders stand for their files.
        let mut above = path.match_indices('/').map(|(i, _)| &path[..i]);
        let is_part = above.any(|dir| {
            named.contains(&format!("{dir}.rs"))
                || (dir.contains('/') && named.contains(&format!("{dir}/")))
        });
        assert!(
            is_named || is_part,
            "src/{path} does not stand in ARCHITECTURE.md's map"
        );
    }
}
