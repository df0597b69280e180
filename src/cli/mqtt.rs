//! `ohmvision mqtt ..`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, ServerArgs};
use super::{LoginArgs, fail, login, out};
use crate::config::{Config, Sources};
use crate::exit::Exit;
use crate::mqtt::{Settings, check};

/// The daemon has this long to reach the broker that was stored.
const PROOF: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub struct MqttArgs {
    #[command(subcommand)]
    command: MqttCommand,
}

#[derive(Debug, Subcommand)]
enum MqttCommand {
    /// Try a broker step by step, and let the running daemon report there.
    Connect(ConnectArgs),
}

#[derive(Debug, Args)]
struct ConnectArgs {
    /// The broker, as in mqtt://192.168.1.5:1883 or mqtts://broker.example:8883.
    url: String,
    #[command(flatten)]
    login: LoginArgs,
    /// Certificate authorities of the broker (PEM) [default: the system's].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Only try; store nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub async fn run(args: &MqttArgs) -> Exit {
    let MqttCommand::Connect(args) = &args.command;
    connect(args).await.err().unwrap_or(Exit::Ok)
}

async fn connect(args: &ConnectArgs) -> Result<(), Exit> {
    let daemon = Client::find(&args.server)?;
    let now = daemon.call(Method::GET, "/api/config", None).await?.json();
    let login = login(&args.login)?;
    let change = change(args, login.as_ref());
    let settings = merged(&now, &change, login.map(|login| login.password))?;
    let gateway = now["gateway_id"].as_str().unwrap_or_default();
    let steps = check::run(&settings, gateway).await;
    let mut has_failed = false;
    for step in &steps {
        match &step.result {
            Ok(found) => out(&format!("{:<10} ok      {found}", step.name)),
            Err(why) => {
                has_failed = true;
                out(&format!("{:<10} failed  {why}", step.name));
            }
        }
    }
    if has_failed {
        return Err(fail(Exit::Failed, "nothing was stored"));
    }
    if args.dry_run {
        return Ok(());
    }
    daemon
        .call(Method::PATCH, "/api/config", Some(change))
        .await?;
    proved(&daemon).await?;
    out(&format!(
        "stored: gateway {gateway} reports to {}",
        args.url
    ));
    Ok(())
}

/// The change as the API takes it.
fn change(args: &ConnectArgs, login: Option<&crate::model::Credentials>) -> Value {
    let mut mqtt = json!({"url": args.url});
    if let Some(login) = login {
        mqtt["username"] = json!(login.username);
        mqtt["password"] = json!(login.password.expose());
    }
    if let Some(file) = &args.ca_file {
        mqtt["ca_file"] = json!(file);
    }
    json!({"mqtt": mqtt})
}

/// The daemon's settings with the change on top, judged as the daemon will.
fn merged(
    now: &Value,
    change: &Value,
    password: Option<crate::model::Secret>,
) -> Result<Settings, Exit> {
    let mut section = now["config"]["mqtt"].clone();
    if let (Some(section), Some(change)) = (section.as_object_mut(), change["mqtt"].as_object()) {
        section.extend(change.clone());
        section.remove("password");
    }
    let mut sources = Sources::default();
    sources.stored.insert("mqtt".to_owned(), section);
    let loaded = Config::load_strictly(&sources);
    let config = loaded
        .map_err(|errors| fail(Exit::Usage, &errors.to_string()))?
        .config;
    Ok(Settings {
        mqtt: config.mqtt,
        gateway: config.gateway,
        password,
    })
}

/// Waits until the daemon itself has reached the broker.
async fn proved(daemon: &Client) -> Result<(), Exit> {
    let started = Instant::now();
    loop {
        let view = daemon.call(Method::GET, "/api/config", None).await?.json();
        if view["trial"].is_null() {
            return Ok(());
        }
        if started.elapsed() > PROOF {
            let sentence = "stored, but the daemon has not reached the broker yet; if it does not within 5 minutes, the change is taken back. Its log tells why";
            return Err(fail(Exit::Failed, sentence));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
