//! `ohmvision health [ID]` and `ohmvision events`

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::camera::text;
use super::client::{Client, ServerArgs};
use super::table::render;
use super::{out, out_json};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// One camera, with its history; all of them when left out.
    id: Option<u32>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// How far back: 30m, 24h, 7d, or a time as in 2026-11-23T10:00:00Z.
    #[arg(long, default_value = "24h")]
    since: String,
    /// Only this camera.
    #[arg(long, value_name = "ID")]
    camera: Option<u32>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

/// Exit 0 when every camera that was asked for is online, else 1.
pub async fn health(args: &HealthArgs) -> Exit {
    let path = args.id.map_or("/api/health/cameras".to_owned(), |id| {
        format!("/api/health/cameras/{id}")
    });
    let reply = match ask(&args.server, &path).await {
        Ok(reply) => reply,
        Err(code) => return code,
    };
    if args.json {
        out_json(&reply);
    }
    let rows = match &reply {
        Value::Array(cameras) => cameras.as_slice(),
        one => std::slice::from_ref(one),
    };
    if !args.json {
        let row = |h: &Value| {
            let uptime = h["uptime_percentage"]
                .as_f64()
                .map_or("-".to_owned(), |u| format!("{u} %"));
            let answer = h["response_time_ms"]
                .as_u64()
                .map_or("-".to_owned(), |ms| format!("{ms} ms"));
            let mut cells = ["camera_id", "name", "connection_health"]
                .map(|f| text(&h[f]))
                .to_vec();
            cells.extend([
                answer,
                uptime,
                text(&h["disconnections"]),
                text(&h["last_error_message"]),
            ]);
            cells
        };
        let table: Vec<Vec<String>> = rows.iter().map(row).collect();
        out(&render(
            &[
                "ID",
                "NAME",
                "HEALTH",
                "ANSWER",
                "UPTIME",
                "DROPS",
                "LAST ERROR",
            ],
            &table,
        ));
        for outage in reply["outages"].as_array().into_iter().flatten() {
            let to = outage["to"].as_str().unwrap_or("now");
            out(&format!(
                "outage {} to {to}, {} s, {}",
                text(&outage["from"]),
                outage["duration_s"],
                text(&outage["cause"])
            ));
        }
    }
    let is_down = |h: &Value| h["connection_health"] == "offline";
    if rows.iter().any(is_down) {
        Exit::Failed
    } else {
        Exit::Ok
    }
}

pub async fn events(args: &EventsArgs) -> Exit {
    let camera = args
        .camera
        .map_or(String::new(), |id| format!("&camera={id}"));
    let since = crate::model::percent_encode(&args.since);
    let reply = match ask(&args.server, &format!("/api/events?since={since}{camera}")).await {
        Ok(reply) => reply,
        Err(code) => return code,
    };
    if args.json {
        out_json(&reply);
        return Exit::Ok;
    }
    let events = reply["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let row = |e: &Value| {
        ["time", "type", "message"]
            .map(|field| text(&e[field]))
            .to_vec()
    };
    let rows: Vec<Vec<String>> = events.iter().map(row).collect();
    out(&render(&["TIME", "WHAT", "DETAIL"], &rows));
    Exit::Ok
}

async fn ask(server: &ServerArgs, path: &str) -> Result<Value, Exit> {
    Ok(Client::find(server)?
        .call(Method::GET, path, None)
        .await?
        .json())
}
