//! `ohmvision fleet ..`: every gateway of a broker, seen and changed from one place.

mod apply;
mod command;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::table::{is_for_people, or_dash, render};
use super::{LoginArgs, fail, login, out, out_json};
use crate::config::{Config, Sources};
use crate::exit::Exit;
use crate::fleet::link::{Heard, Link};
use crate::fleet::selector;
use crate::fleet::view::{Fleet, Gateway, Topic, plain};
use crate::mqtt::Settings;
use crate::mqtt::command::Selector;
use crate::sys::signals::Signals;

/// The live table is drawn again this often.
const REDRAW: Duration = Duration::from_secs(1);
/// Longest sentence of a gateway that is shown.
const FAULT_CHARS_MAX: usize = 400;

#[derive(Debug, Args)]
pub struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    /// Show every gateway that has told of itself.
    List(ListArgs),
    /// Show them as they change: a live table on a terminal, lines elsewhere.
    Watch(WatchArgs),
    /// Compare what gateways shall be with what they are; exit 1 where something differs.
    Status(StatusArgs),
    /// Carry out a command on every chosen gateway; exit 1 where one failed or gave no answer.
    Run(command::RunArgs),
    /// Give each gateway what the files of a directory say.
    Apply(apply::ApplyArgs),
}

/// How the broker is reached; without an option `[mqtt]` of the configuration says it.
#[derive(Debug, Args)]
struct BrokerArgs {
    /// The broker, as in mqtts://broker.example:8883.
    #[arg(long, value_name = "URL", global = true)]
    broker: Option<String>,
    #[command(flatten)]
    login: LoginArgs,
    /// File with the password on one line.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Certificate authorities of the broker (PEM) [default: the system's].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate (PEM) that shows the broker who asks.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Private key (PEM) of --client-cert.
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// First part of every topic.
    #[arg(long, value_name = "TOPIC")]
    base_topic: Option<String>,
    /// Configuration file [default: /etc/ohmvision/ohmvision.toml, where it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON: one document, or a line for each thing that happens.
    #[arg(long)]
    json: bool,
}

/// Which gateways are meant.
#[derive(Debug, Args)]
struct ChoiceArgs {
    /// By site and labels, as in site=paris,role=nvr.
    #[arg(long, value_name = "SELECTOR", default_value = "all", value_parser = selector::parse)]
    select: Selector,
    /// By id; more than once for several.
    #[arg(long = "gateway", value_name = "ID")]
    gateways: Vec<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, Args)]
struct WatchArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    /// End after so many seconds [default: Ctrl-C].
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub async fn run(args: &FleetArgs) -> Exit {
    let done = match &args.command {
        FleetCommand::List(args) => list(args).await,
        FleetCommand::Watch(args) => watch(args).await,
        FleetCommand::Status(args) => status(args).await,
        FleetCommand::Run(args) => command::run(args).await,
        FleetCommand::Apply(args) => apply::run(args).await,
    };
    done.unwrap_or_else(|exit| exit)
}

/// The broker's settings from options, environment and file.
fn settings(args: &BrokerArgs) -> Result<Settings, Exit> {
    let sources = Sources::of_process(args.config.as_deref());
    let mut sources = sources.map_err(|errors| fail(Exit::Config, &errors.to_string()))?;
    let password = login(&args.login)?.map(|login| login.password);
    let mut mqtt = serde_json::Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        mqtt.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("url", args.broker.as_ref().map(|url| json!(url)));
    put(
        "username",
        args.login.username.as_ref().map(|name| json!(name)),
    );
    put(
        "password_file",
        args.password_file.as_ref().map(|path| json!(path)),
    );
    put("ca_file", args.ca_file.as_ref().map(|path| json!(path)));
    put(
        "client_cert",
        args.client_cert.as_ref().map(|path| json!(path)),
    );
    put(
        "client_key",
        args.client_key.as_ref().map(|path| json!(path)),
    );
    put(
        "base_topic",
        args.base_topic.as_ref().map(|topic| json!(topic)),
    );
    sources
        .stored
        .insert("mqtt".to_owned(), Value::Object(mqtt));
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

/// An open link, what is retained of the fleet, and the base topic.
struct Session {
    link: Link,
    fleet: Fleet,
    base: String,
    is_json: bool,
}

async fn open(args: &BrokerArgs, topics: &[Topic]) -> Result<Session, Exit> {
    let settings = settings(args)?;
    let base = settings.mqtt.base_topic.clone();
    let filters = topics.iter().map(|topic| topic.filter(&base)).collect();
    let mut link = Link::open(&settings, filters).await.map_err(lost)?;
    let fleet = link.settle(&base).await.map_err(lost)?;
    Ok(Session {
        link,
        fleet,
        base,
        is_json: args.json,
    })
}

/// What cuts a run over many gateways short.
enum Cut {
    Lost(String),
    /// Ctrl-C, or an end from outside.
    Interrupted,
}

impl Cut {
    /// After what is known was told.
    fn exit(self) -> Exit {
        match self {
            Cut::Lost(why) => lost(why),
            Cut::Interrupted => fail(Exit::Failed, "interrupted"),
        }
    }
}

fn signals() -> Result<Signals, Exit> {
    Signals::new().map_err(|e| fail(Exit::Temporary, &format!("cannot catch signals: {e}")))
}

/// The next message; `None` when there is none until then.
async fn next(
    link: &mut Link,
    signals: &mut Signals,
    until: Instant,
) -> Result<Option<Heard>, Cut> {
    tokio::select! {
        heard = link.next(until) => heard.map_err(Cut::Lost),
        _ = signals.next() => Err(Cut::Interrupted),
    }
}

fn lost(why: String) -> Exit {
    fail(Exit::Unavailable, &why)
}

fn online(gateway: &Gateway) -> &'static str {
    match gateway.online {
        true => "online",
        false => "offline",
    }
}

async fn list(args: &ListArgs) -> Result<Exit, Exit> {
    let session = open(&args.broker, &[Topic::Status, Topic::Info, Topic::Health]).await?;
    let chosen: Vec<&Gateway> = session
        .fleet
        .selected(&args.choice.select, &args.choice.gateways)
        .collect();
    match session.is_json {
        true => out_json(&chosen),
        false => out(&table(&chosen)),
    }
    let exit = match chosen.is_empty() {
        true => Exit::Failed,
        false => Exit::Ok,
    };
    session.link.close().await;
    Ok(exit)
}

fn table(gateways: &[&Gateway]) -> String {
    let row = |gateway: &&Gateway| {
        let cameras = match (gateway.cameras_online, gateway.cameras_total) {
            (Some(online), Some(total)) => format!("{online}/{total}"),
            (None, Some(total)) => format!("-/{total}"),
            _ => "-".to_owned(),
        };
        vec![
            gateway.id.clone(),
            gateway.name.clone(),
            gateway.site.clone(),
            gateway.labels_text(),
            online(gateway).to_owned(),
            cameras,
            gateway.version.clone(),
            or_dash(gateway.started_at.clone()),
        ]
    };
    let rows: Vec<Vec<String>> = gateways.iter().map(row).collect();
    let header = [
        "GATEWAY", "NAME", "SITE", "LABELS", "STATE", "CAMERAS", "VERSION", "STARTED",
    ];
    render(&header, &rows)
}

async fn watch(args: &WatchArgs) -> Result<Exit, Exit> {
    let mut session = open(
        &args.broker,
        &[Topic::Status, Topic::Info, Topic::Health, Topic::Reported],
    )
    .await?;
    let end = args
        .seconds
        .map(|s| Instant::now() + Duration::from_secs(s));
    let is_live = is_for_people() && !session.is_json;
    let choice = &args.choice;
    let mut drawn = Instant::now();
    let mut is_new = true;
    loop {
        let now = Instant::now();
        if end.is_some_and(|end| end <= now) {
            return Ok(Exit::Ok);
        }
        if is_live && is_new && drawn <= now {
            let chosen: Vec<&Gateway> = session
                .fleet
                .selected(&choice.select, &choice.gateways)
                .collect();
            let online = chosen.iter().filter(|gateway| gateway.online).count();
            out(&format!(
                "\u{1b}[H\u{1b}[2J{}\n\n{online} of {} gateways online; Ctrl-C ends",
                table(&chosen),
                chosen.len()
            ));
            drawn = now + REDRAW;
            is_new = false;
        }
        let until = end.map_or(now + REDRAW, |end| end.min(now + REDRAW));
        let Some(heard) = session.link.next(until).await.map_err(lost)? else {
            continue;
        };
        is_new = true;
        let about = session
            .fleet
            .hear(&session.base, &heard.topic, &heard.payload);
        let Some((id, topic)) = about.filter(|_| !is_live) else {
            continue;
        };
        let Some(gateway) = session.fleet.gateways.get(&id) else {
            continue;
        };
        let chosen = &mut session.fleet.selected(&choice.select, &choice.gateways);
        if !chosen.any(|chosen| chosen.id == id) {
            continue;
        }
        match session.is_json {
            true => out(&json!({"topic": topic.leaf(), "gateway": gateway}).to_string()),
            false => out(&line(gateway, topic)),
        }
    }
}

fn line(gateway: &Gateway, topic: Topic) -> String {
    let what = match topic {
        Topic::Health => format!(
            "{}/{} cameras online",
            or_dash(gateway.cameras_online),
            or_dash(gateway.cameras_total)
        ),
        Topic::Reported => format!(
            "revision {} {}",
            or_dash(gateway.applied_revision),
            or_dash(gateway.state.clone())
        ),
        Topic::Info => format!("version {}, site {}", gateway.version, gateway.site),
        _ => online(gateway).to_owned(),
    };
    format!("{} {} {what}", gateway.id, gateway.name)
}

async fn status(args: &StatusArgs) -> Result<Exit, Exit> {
    let topics = [Topic::Status, Topic::Info, Topic::Reported, Topic::Desired];
    let session = open(&args.broker, &topics).await?;
    let chosen: Vec<&Gateway> = session
        .fleet
        .selected(&args.choice.select, &args.choice.gateways)
        .collect();
    let as_wanted = |gateway: &&Gateway| {
        gateway.desired_revision == gateway.applied_revision.filter(|r| *r > 0)
            && gateway.drift.is_empty()
            && gateway.errors.is_empty()
    };
    if session.is_json {
        out_json(&chosen);
    } else {
        let row = |gateway: &&Gateway| {
            vec![
                gateway.id.clone(),
                gateway.name.clone(),
                online(gateway).to_owned(),
                or_dash(gateway.desired_revision),
                or_dash(gateway.applied_revision),
                or_dash(gateway.state.clone()),
                gateway.drift.len().to_string(),
                gateway.errors.len().to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = chosen.iter().map(row).collect();
        let header = [
            "GATEWAY", "NAME", "STATE", "DESIRED", "APPLIED", "DOCUMENT", "DRIFT", "ERRORS",
        ];
        out(&render(&header, &rows));
        for gateway in &chosen {
            for drift in &gateway.drift {
                let drift = plain(&drift.to_string(), FAULT_CHARS_MAX);
                out(&format!("{}: drift {drift}", gateway.id));
            }
            for error in &gateway.errors {
                out(&format!("{}: {}", gateway.id, fault(error)));
            }
        }
    }
    let exit = match !chosen.is_empty() && chosen.iter().all(as_wanted) {
        true => Exit::Ok,
        false => Exit::Failed,
    };
    session.link.close().await;
    Ok(exit)
}

/// An entry of `errors`, for people.
fn fault(error: &Value) -> String {
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    let about = match (text("camera"), text("setting")) {
        (camera, _) if !camera.is_empty() => format!("camera {camera}: "),
        (_, setting) if !setting.is_empty() => format!("{setting}: "),
        _ => String::new(),
    };
    plain(
        &format!("{about}{} ({})", text("reason"), text("code")),
        FAULT_CHARS_MAX,
    )
}
