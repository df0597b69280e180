//! `ohmvision doctor`: what this board lacks.

mod checks;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use self::checks::{Check, State};
use super::{fail, out, out_json, table};
use crate::discover::interfaces;
use crate::exit::Exit;
use crate::sys::board::{self, Process};
use crate::sys::paths;
use crate::wire::wsd;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Where the state is kept [default: that of the daemon which runs, else $STATE_DIRECTORY, else ~/.local/state/ohmvision].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Nothing lacks.
    ok: bool,
    state_dir: &'a Path,
    /// The process whose rights were looked at: a running daemon, else this command.
    pid: u32,
    user: String,
    is_daemon: bool,
    checks: &'a [Check],
}

pub fn run(args: &DoctorArgs) -> Exit {
    let Some((dir, daemon)) = subject(args.state_dir.as_deref()) else {
        return fail(Exit::CannotCreate, &paths::PathError::Nowhere.to_string());
    };
    let is_daemon = daemon.is_some();
    let Some(process) = daemon.or_else(Process::own) else {
        return fail(Exit::Unavailable, "/proc is not mounted");
    };
    let checks = checks(&dir, &process);
    let report = Report {
        ok: checks.iter().all(|check| check.state != State::Lacks),
        state_dir: &dir,
        pid: process.pid,
        user: process.user(),
        is_daemon,
        checks: &checks,
    };
    if args.json {
        out_json(&report);
    } else {
        print(&report);
    }
    if report.ok { Exit::Ok } else { Exit::Failed }
}

/// The state directory, and the daemon that runs on it.
fn subject(given: Option<&Path>) -> Option<(PathBuf, Option<Process>)> {
    if given.is_none() {
        let running = paths::places()
            .into_iter()
            .find_map(|dir| Process::daemon_of(&dir).map(|daemon| (dir, Some(daemon))));
        if running.is_some() {
            return running;
        }
    }
    let dir = paths::state_place(given).ok()?;
    let daemon = Process::daemon_of(&dir);
    Some((dir, daemon))
}

fn checks(dir: &Path, process: &Process) -> Vec<Check> {
    let joined: Vec<_> = interfaces::list()
        .into_iter()
        .filter(|interface| interface.scannable)
        .filter_map(|interface| {
            let address = interface.ipv4.first()?.address;
            let joined = board::join_multicast(&interface.name, address, wsd::GROUP_V4);
            Some((interface.name, joined.map_err(|e| e.to_string())))
        })
        .collect();
    vec![
        checks::raw_sockets(process),
        checks::multicast(&joined),
        checks::video(process, &board::video_devices(), board::group("video")),
        checks::time(board::clock()),
        checks::state_directory(dir, board::disk(dir)),
        checks::disk_space(existing(dir).and_then(|dir| board::disk(dir).ok())),
        checks::huge_pages(board::huge_pages().as_deref(), process.thp_is_off),
        checks::page_size(board::page_bytes()),
    ]
}

/// The directory, or the nearest one above it that is there.
fn existing(dir: &Path) -> Option<&Path> {
    dir.ancestors().find(|dir| dir.is_dir())
}

fn print(report: &Report<'_>) {
    let of = match report.is_daemon {
        true => format!("the daemon, process {}, user {}", report.pid, report.user),
        false => format!(
            "no daemon runs on {}; the rights of this command, user {}",
            report.state_dir.display(),
            report.user
        ),
    };
    out(&of);
    let rows: Vec<_> = report
        .checks
        .iter()
        .map(|check| {
            let found = check.found.clone();
            vec![
                check.state.word().to_owned(),
                check.name.replace('_', " "),
                found,
            ]
        })
        .collect();
    let lines = table::render(&["", "CHECK", "FOUND"], &rows);
    let mut lines = lines.lines();
    out(lines.next().unwrap_or_default());
    for (line, check) in lines.zip(report.checks) {
        out(line);
        if let Some(advice) = &check.advice {
            out(&format!("       {advice}"));
        }
    }
}
