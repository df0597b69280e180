//! `ohmvision camera ..`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, ServerArgs};
use super::table::render;
use super::{LoginArgs, channels, fail, login, out, out_json, ptz, transfer};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct CameraArgs {
    #[command(subcommand)]
    command: CameraCommand,
}

#[derive(Debug, Subcommand)]
enum CameraCommand {
    /// List the stored cameras.
    List {
        #[command(flatten)]
        server: ServerArgs,
        /// Print the API's answer.
        #[arg(long)]
        json: bool,
    },
    /// Show one camera.
    Show {
        id: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Store a camera: an address and a login are enough, the rest is worked out.
    Add {
        /// The camera's address.
        ip: String,
        #[command(flatten)]
        login: LoginArgs,
        /// Name for people.
        #[arg(long)]
        name: Option<String>,
        /// Manufacturer by id, name or alias.
        #[arg(long, value_name = "MAKER")]
        manufacturer: Option<String>,
        /// It is a recorder: `camera channels` lists what it has.
        #[arg(long)]
        nvr: bool,
        #[command(flatten)]
        server: ServerArgs,
        /// Print the API's answer.
        #[arg(long)]
        json: bool,
    },
    /// Delete a camera and its login.
    Remove {
        id: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Store the cameras of a file: a JSON array, or CSV with the field names as columns.
    Import(transfer::ImportArgs),
    /// Write every camera to a file or to standard output.
    Export(transfer::ExportArgs),
    /// List the channels of a recorder.
    Channels(channels::ChannelsArgs),
    /// Store channels of a recorder as cameras.
    ImportChannels(channels::ImportChannelsArgs),
    /// Show what a camera's motors can do, or move it.
    Ptz(ptz::PtzArgs),
    /// Fetch a still picture.
    Snapshot {
        id: u32,
        /// Where to write the JPEG.
        #[arg(short = 'o', long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        server: ServerArgs,
    },
}

pub async fn run(args: &CameraArgs) -> Exit {
    let done = match &args.command {
        CameraCommand::List { server, json } => list(server, *json).await,
        CameraCommand::Show { id, server } => show(server, *id).await,
        CameraCommand::Add {
            ip,
            login,
            name,
            manufacturer,
            nvr,
            server,
            json,
        } => {
            let wanted = [
                ("ip_address", Some(ip.as_str())),
                ("name", name.as_deref()),
                ("manufacturer", manufacturer.as_deref()),
                ("connection_type", nvr.then_some("nvr")),
            ];
            add(server, login, &wanted, *json).await
        }
        CameraCommand::Remove { id, server } => remove(server, *id).await,
        CameraCommand::Import(args) => transfer::import(args).await,
        CameraCommand::Export(args) => transfer::export(args).await,
        CameraCommand::Channels(args) => channels::list(args).await,
        CameraCommand::ImportChannels(args) => channels::import(args).await,
        CameraCommand::Ptz(args) => ptz::run(args).await,
        CameraCommand::Snapshot { id, output, server } => snapshot(server, *id, output).await,
    };
    done.err().unwrap_or(Exit::Ok)
}

async fn list(server: &ServerArgs, as_json: bool) -> Result<(), Exit> {
    let reply = Client::find(server)?
        .call(Method::GET, "/api/cameras", None)
        .await?
        .json();
    if as_json {
        out_json(&reply);
        return Ok(());
    }
    let cameras = reply["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let row = |c: &Value| {
        let fields = [
            "id",
            "name",
            "connection_health",
            "manufacturer",
            "connection_type",
            "primary_stream_url",
        ];
        fields.map(|field| text(&c[field])).to_vec()
    };
    let rows: Vec<Vec<String>> = cameras.iter().map(row).collect();
    out(&render(
        &["ID", "NAME", "HEALTH", "MAKER", "METHOD", "URL"],
        &rows,
    ));
    Ok(())
}

async fn show(server: &ServerArgs, id: u32) -> Result<(), Exit> {
    let reply = Client::find(server)?
        .call(Method::GET, &format!("/api/cameras/{id}"), None)
        .await?;
    out_json(&reply.json());
    Ok(())
}

async fn add(
    server: &ServerArgs,
    args: &LoginArgs,
    wanted: &[(&str, Option<&str>)],
    as_json: bool,
) -> Result<(), Exit> {
    let client = Client::find(server)?;
    let mut body = json!({});
    for (field, value) in wanted
        .iter()
        .filter_map(|(field, value)| Some((field, (*value)?)))
    {
        body[*field] = json!(value);
    }
    if let Some(login) = login(args)? {
        body["username"] = json!(login.username);
        body["password"] = json!(login.password.expose());
    }
    let camera = client
        .call(Method::POST, "/api/cameras?wait=true", Some(body))
        .await?
        .json();
    if as_json {
        out_json(&camera);
    }
    let id = text(&camera["id"]);
    match camera["primary_stream_url"].as_str() {
        Some(url) if !as_json => out(&format!("camera {id} is stored: {url}")),
        Some(_) => {}
        None => {
            let why = camera["last_error_message"]
                .as_str()
                .unwrap_or("no way to connect was found");
            return Err(fail(
                Exit::Failed,
                &format!("camera {id} is stored, but not connected: {why}"),
            ));
        }
    }
    Ok(())
}

async fn remove(server: &ServerArgs, id: u32) -> Result<(), Exit> {
    Client::find(server)?
        .call(Method::DELETE, &format!("/api/cameras/{id}"), None)
        .await?;
    out(&format!("camera {id} is removed"));
    Ok(())
}

async fn snapshot(server: &ServerArgs, id: u32, output: &PathBuf) -> Result<(), Exit> {
    let picture = Client::find(server)?
        .call(Method::GET, &format!("/api/cameras/{id}/snapshot"), None)
        .await?;
    let written = std::fs::write(output, &picture.body);
    written.map_err(|e| {
        fail(
            Exit::CannotCreate,
            &format!("cannot write {}: {e}", output.display()),
        )
    })?;
    out(&format!(
        "{} bytes in {}",
        picture.body.len(),
        output.display()
    ));
    Ok(())
}

/// A JSON value for a table: texts as they are, null as a dash.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
