//! `ohmvision camera channels`, `ohmvision camera import-channels`

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::camera::text;
use super::client::{Client, ServerArgs};
use super::table::render;
use super::{fail, out, out_json};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct ChannelsArgs {
    /// The recorder.
    id: u32,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct ImportChannelsArgs {
    /// The recorder.
    id: u32,
    /// The channels, as `camera channels` numbers them.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<u32>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

pub async fn list(args: &ChannelsArgs) -> Result<(), Exit> {
    let path = format!("/api/cameras/{}/channels", args.id);
    let client = Client::find(&args.server)?;
    let reply = client.call(Method::GET, &path, None).await?.json();
    if args.json {
        out_json(&reply);
        return Ok(());
    }
    let row = |channel: &Value| {
        let main = channel["streams"][0]["url"].clone();
        let fields = [
            "channel",
            "state",
            "name",
            "model",
            "ip_address",
            "camera_id",
        ];
        let mut row: Vec<String> = fields.map(|field| text(&channel[field])).to_vec();
        row.push(text(&main));
        row
    };
    let titles = ["CHANNEL", "STATE", "NAME", "MODEL", "IP", "CAMERA", "URL"];
    out(&render(&titles, &rows(&reply["channels"], row)));
    Ok(())
}

pub async fn import(args: &ImportChannelsArgs) -> Result<(), Exit> {
    let path = format!("/api/cameras/{}/channels/import", args.id);
    let body = json!({"channels": args.channels});
    let client = Client::find(&args.server)?;
    let reply = client.call(Method::POST, &path, Some(body)).await?.json();
    if args.json {
        out_json(&reply);
    } else {
        let row = |row: &Value| {
            let fields = ["channel", "status", "camera_id", "name", "reason"];
            fields.map(|field| text(&row[field])).to_vec()
        };
        let titles = ["CHANNEL", "STATUS", "CAMERA", "NAME", "REASON"];
        out(&render(&titles, &rows(&reply["rows"], row)));
    }
    let is_stored = |row: &Value| {
        let status = row["status"].as_str();
        matches!(status, Some("imported" | "already_stored"))
    };
    let all = reply["rows"].as_array().map(Vec::as_slice);
    match all.unwrap_or_default().iter().all(is_stored) {
        true => Ok(()),
        false => Err(fail(Exit::Failed, "not every channel became a camera")),
    }
}

fn rows(list: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(row).collect()
}
