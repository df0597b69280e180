//! `ohmvision setup`: scan, ask for logins, detect, show, store: a site in one go.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::camera::text;
use super::client::{Client, ServerArgs};
use super::table::render;
use super::{fail, logins, out, out_json};
use crate::exit::Exit;
use crate::model::Credentials;

/// Between two looks at the scan.
const LOOK: Duration = Duration::from_millis(300);
/// Devices in one call: the daemon works on as many at a time.
const PORTION: usize = 8;

#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Networks to scan, as in 192.168.1.0/24 [default: those of the daemon].
    networks: Vec<String>,
    /// Only this interface.
    #[arg(long, value_name = "IF")]
    interface: Vec<String>,
    /// Store without asking.
    #[arg(long)]
    yes: bool,
    /// File with one user:password on each line, at most four [default: they are asked for].
    #[arg(long, value_name = "FILE")]
    logins: Option<PathBuf>,
    /// Detect, but store nothing.
    #[arg(long)]
    dry_run: bool,
    /// Send passwords in clear to cameras that want it so.
    #[arg(long)]
    allow_cleartext: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Print scan and rows as the API shows them.
    #[arg(long)]
    json: bool,
}

/// Exit 0 when a camera is stored, now or before.
pub async fn run(args: &SetupArgs) -> Exit {
    match setup(args).await {
        Ok(code) | Err(code) => code,
    }
}

async fn setup(args: &SetupArgs) -> Result<Exit, Exit> {
    let from_file = match &args.logins {
        Some(path) => Some(logins::from_file(path).map_err(|why| fail(Exit::Usage, &why))?),
        None => None,
    };
    let is_asked = std::io::stdin().is_terminal();
    if !args.yes && !args.dry_run && !is_asked {
        let why =
            "nobody can be asked here: --yes stores without asking, --logins FILE holds the logins";
        return Err(fail(Exit::Usage, why));
    }
    let client = Client::find(&args.server)?;
    let scan = scan(&client, args).await?;
    let devices = scan["devices"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let cameras = cameras(devices);
    if !args.json {
        show(&scan, devices);
    }
    if cameras.is_empty() {
        return Err(fail(Exit::Failed, "no camera was found"));
    }
    let logins = match from_file {
        Some(logins) => logins,
        None if is_asked && !args.json => logins::ask()?,
        None => Vec::new(),
    };
    if !args.yes && !args.dry_run {
        let question = format!("Detect and store {} cameras? [y/N] ", cameras.len());
        if !matches!(logins::line(&question)?.as_str(), "y" | "Y" | "yes") {
            return Err(fail(Exit::Failed, "nothing was stored"));
        }
    }
    let rows = adopt(&client, args, &cameras, &logins).await?;
    let count = |status: &str| rows.iter().filter(|row| row["status"] == status).count();
    let stored = count("stored") + count("would_store");
    if args.json {
        out_json(&json!({"scan": scan, "rows": rows}));
    } else {
        let verb = if args.dry_run {
            "would be stored"
        } else {
            "stored"
        };
        let others = devices.len() - cameras.len();
        out(&format!(
            "{stored} {verb}, {} stored before, {} left out; {others} other devices were not asked",
            count("already_stored"),
            count("left_out"),
        ));
    }
    Ok(match stored + count("already_stored") {
        0 => Exit::Failed,
        _ => Exit::Ok,
    })
}

/// Starts a scan and waits for its end; progress on a terminal.
async fn scan(client: &Client, args: &SetupArgs) -> Result<Value, Exit> {
    let body = json!({"networks": args.networks, "interfaces": args.interface});
    let path = "/api/discovery/scan/start";
    let mut status = client.call(Method::POST, path, Some(body)).await?.json();
    let is_live = std::io::stderr().is_terminal();
    while status["status"] == "scanning" {
        if is_live {
            let found = status["devices"].as_array().map_or(0, Vec::len);
            let (done, total) = (text(&status["scanned_ips"]), text(&status["total_ips"]));
            let line = format!("\r{done} of {total} addresses, {found} devices ");
            let _ = write!(std::io::stderr(), "{line}");
        }
        tokio::time::sleep(LOOK).await;
        let path = "/api/discovery/scan/status";
        status = client.call(Method::GET, path, None).await?.json();
    }
    if is_live {
        let _ = write!(std::io::stderr(), "\r\u{1b}[2K");
    }
    match status["status"] == "completed" {
        true => Ok(status),
        false => Err(fail(Exit::Failed, "the scan was stopped")),
    }
}

/// Addresses of the cameras, one for each device: a login must not reach one twice.
fn cameras(devices: &[Value]) -> Vec<String> {
    let mut macs = HashSet::new();
    devices
        .iter()
        .filter(|d| d["is_camera"] == true)
        .filter(|d| d["mac"].as_str().is_none_or(|mac| macs.insert(mac)))
        .filter_map(|d| d["ip"].as_str().map(str::to_owned))
        .collect()
}

fn show(scan: &Value, devices: &[Value]) {
    let row = |d: &Value| {
        let kind = match (d["is_camera"] == true, d["camera_id"].as_u64()) {
            (_, Some(id)) => format!("camera {id}"),
            (true, None) => "camera".to_owned(),
            (false, None) => "-".to_owned(),
        };
        let mut cells = vec![text(&d["ip"]), text(&d["mac"]), kind];
        cells.extend(["manufacturer", "model"].map(|field| text(&d[field])));
        cells
    };
    let rows: Vec<Vec<String>> = devices.iter().map(row).collect();
    out(&render(
        &["ADDRESS", "MAC", "KIND", "MAKER", "MODEL"],
        &rows,
    ));
    out(&format!(
        "{} devices on {} addresses",
        devices.len(),
        text(&scan["total_ips"])
    ));
}

/// Portion by portion, so that the installer sees what comes.
async fn adopt(
    client: &Client,
    args: &SetupArgs,
    cameras: &[String],
    logins: &[Credentials],
) -> Result<Vec<Value>, Exit> {
    let login = |l: &Credentials| json!({"username": l.username, "password": l.password.expose()});
    let credentials: Vec<Value> = logins.iter().map(login).collect();
    let mut all = Vec::with_capacity(cameras.len());
    for portion in cameras.chunks(PORTION) {
        let body = json!({
            "ips": portion, "credentials": credentials, "dry_run": args.dry_run,
            "allow_cleartext": args.allow_cleartext,
        });
        let path = "/api/cameras/adopt";
        let report = client.call(Method::POST, path, Some(body)).await?.json();
        for row in report["rows"].as_array().into_iter().flatten() {
            if !args.json {
                out(&told(row));
            }
            all.push(row.clone());
        }
    }
    Ok(all)
}

/// `10.77.0.11  stored as camera 1: Hikvision 10.77.0.11, rtsp 1280x720`
fn told(row: &Value) -> String {
    let what = || {
        let parts = [&row["name"], &row["connection_type"], &row["resolution"]];
        let parts: Vec<&str> = parts.into_iter().filter_map(Value::as_str).collect();
        parts.join(", ")
    };
    let outcome = match row["status"].as_str().unwrap_or_default() {
        "stored" => format!("stored as camera {}: {}", text(&row["camera_id"]), what()),
        "would_store" => format!("would be stored: {}", what()),
        "already_stored" => text(&row["reason"]),
        _ => format!("left out: {}", text(&row["reason"])),
    };
    format!("{:<15}  {outcome}", text(&row["ip"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_two_addresses_is_one_camera() {
        let device = |ip: &str, mac: Option<&str>, is_camera: bool| json!({"ip": ip, "mac": mac, "is_camera": is_camera});
        let found = cameras(&[
            device("10.0.0.1", Some("a"), true),
            device("10.0.0.2", Some("b"), false),
            device("10.0.0.3", Some("a"), true),
            device("10.0.0.4", None, true),
            device("10.0.0.5", None, true),
        ]);
        assert_eq!(found, ["10.0.0.1", "10.0.0.4", "10.0.0.5"]);
    }

    #[test]
    fn rows_in_words() {
        let row = json!({"ip": "10.0.0.1", "status": "stored", "camera_id": 3, "name": "Axis P1", "connection_type": "rtsp", "resolution": null});
        assert_eq!(
            told(&row),
            "10.0.0.1         stored as camera 3: Axis P1, rtsp"
        );
        let row = json!({"ip": "10.0.0.2", "status": "left_out", "reason": "it refuses the login"});
        assert_eq!(
            told(&row),
            "10.0.0.2         left out: it refuses the login"
        );
    }
}
