//! `ohmvision camera import` and `ohmvision camera export`

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::Value;

use super::camera::text;
use super::client::{Client, ServerArgs};
use super::{fail, out, out_json};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file; - for standard input.
    file: PathBuf,
    /// Change cameras that are stored already [default: leave them].
    #[arg(long)]
    update: bool,
    /// Tell what would happen, change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Csv,
    Frigate,
    Go2rtc,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// json and csv can be imported; frigate and go2rtc are configurations of those programs.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Passwords in clear [default: placeholders].
    #[arg(long)]
    secrets: bool,
    /// Where to write it, readable by its owner only [default: standard output].
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Exit 1 when a row failed.
pub async fn import(args: &ImportArgs) -> Result<(), Exit> {
    let bytes = read(&args.file).map_err(|e| {
        let message = format!("cannot read {}: {e}", args.file.display());
        fail(Exit::Usage, &message)
    })?;
    let client = Client::find(&args.server)?;
    let on_duplicate = if args.update { "update" } else { "skip" };
    let path = format!(
        "/api/cameras/import?on_duplicate={on_duplicate}&dry_run={}",
        args.dry_run
    );
    let kind = "application/octet-stream";
    let body = Some((kind, bytes.into()));
    let report = client.upload(Method::POST, &path, body).await?.json();
    if args.json {
        out_json(&report);
    } else {
        for row in report["rows"].as_array().into_iter().flatten() {
            out(&told(row));
        }
        let count = |name: &str| text(&report[name]);
        out(&format!(
            "{} created, {} updated, {} skipped, {} failed{}",
            count("created"),
            count("updated"),
            count("skipped"),
            count("failed"),
            if args.dry_run {
                " (nothing was changed)"
            } else {
                ""
            }
        ));
    }
    match report["failed"].as_u64() {
        Some(0) => Ok(()),
        _ => Err(Exit::Failed),
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `line 4  failed   port: must be a whole number`
fn told(row: &Value) -> String {
    let place = match row["line"].as_u64() {
        Some(line) => format!("line {line}"),
        None => format!("row {}", text(&row["row"])),
    };
    let name = row["name"].as_str();
    let camera = row["camera_id"].as_u64().map(|id| format!("camera {id}"));
    let parts = [camera.as_deref(), name, row["reason"].as_str()];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    format!(
        "{place:<9} {:<8} {}",
        text(&row["status"]),
        parts.join(", ")
    )
}

pub async fn export(args: &ExportArgs) -> Result<(), Exit> {
    let client = Client::find(&args.server)?;
    let format = args.format.to_possible_value();
    let path = format!(
        "/api/cameras/export?format={}&secrets={}",
        format.as_ref().map_or("json", |f| f.get_name()),
        args.secrets
    );
    let reply = client.call(Method::GET, &path, None).await?;
    let Some(output) = &args.output else {
        out(String::from_utf8_lossy(&reply.body).trim_end());
        return Ok(());
    };
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(output)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &reply.body));
    written.map_err(|e| {
        let message = format!("cannot write {}: {e}", output.display());
        fail(Exit::CannotCreate, &message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_in_words() {
        let row = json!({"row": 3, "line": 4, "status": "failed", "camera_id": null, "name": null, "reason": "port: must be a whole number"});
        assert_eq!(
            told(&row),
            "line 4    failed   port: must be a whole number"
        );
        let row = json!({"row": 1, "line": null, "status": "created", "camera_id": 7, "name": "Hall", "reason": null});
        assert_eq!(told(&row), "row 1     created  camera 7, Hall");
    }
}
