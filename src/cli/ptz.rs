//! `ohmvision camera ptz`

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::camera::text;
use super::client::{Client, ServerArgs};
use super::table::render;
use super::{out, out_json};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct PtzArgs {
    /// The camera.
    id: u32,
    #[command(subcommand)]
    order: Option<Order>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

/// Without one: what the motors can do, and the presets.
#[derive(Debug, Subcommand)]
enum Order {
    /// Move for a moment.
    Move {
        /// From -1 (left) to 1 (right).
        #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
        pan: f64,
        /// From -1 (down) to 1 (up).
        #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
        tilt: f64,
        /// From -1 (out) to 1 (in).
        #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
        zoom: f64,
        /// For how long, milliseconds.
        #[arg(long, default_value_t = 500)]
        ms: u32,
    },
    /// Stop.
    Stop,
    /// Go to a preset.
    Preset { preset: String },
    /// Go to the home position.
    Home,
}

pub async fn run(args: &PtzArgs) -> Result<(), Exit> {
    let path = format!("/api/cameras/{}/ptz", args.id);
    let body = args.order.as_ref().map(|order| match order {
        Order::Move {
            pan,
            tilt,
            zoom,
            ms,
        } => json!({"action": "move", "pan": pan, "tilt": tilt, "zoom": zoom, "duration_ms": ms}),
        Order::Stop => json!({"action": "stop"}),
        Order::Preset { preset } => json!({"action": "preset", "preset": preset}),
        Order::Home => json!({"action": "home"}),
    });
    let method = match body {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let is_order = body.is_some();
    let client = Client::find(&args.server)?;
    let reply = client.call(method, &path, body).await?.json();
    match (args.json, is_order) {
        (true, _) => out_json(&reply),
        (false, true) => out(&format!(
            "camera {}: {} over {}",
            args.id,
            text(&reply["action"]),
            text(&reply["source"])
        )),
        (false, false) => show(&reply),
    }
    Ok(())
}

fn show(reply: &Value) {
    let can = |name: &str| reply["abilities"][name] == true;
    let names = ["pan_tilt", "zoom", "home"].into_iter().filter(|n| can(n));
    let names: Vec<&str> = names.collect();
    out(&format!(
        "{} over {}",
        names.join(", "),
        text(&reply["source"])
    ));
    let presets = reply["presets"].as_array().map(Vec::as_slice);
    let row = |preset: &Value| vec![text(&preset["preset"]), text(&preset["name"])];
    let rows: Vec<_> = presets.unwrap_or_default().iter().map(row).collect();
    if !rows.is_empty() {
        out(&render(&["PRESET", "NAME"], &rows));
    }
}
