//! `ohmvision fleet run`: one command, many gateways, an answer from each.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{BrokerArgs, ChoiceArgs, Cut, FAULT_CHARS_MAX, lost, next, open, signals};
use crate::brake::now;
use crate::cli::{fail, out};
use crate::exit::Exit;
use crate::fleet::selector;
use crate::fleet::view::{Gateway, Topic, plain};
use crate::mqtt::command::{Of, Type};
use crate::policy::closest::nearest;

/// Characters of a result that a line shows.
const RESULT_CHARS_MAX: usize = 100;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Such as scan, check_now, config_get, restart.
    command: String,
    /// One parameter, NAME=VALUE; the value is JSON, or text.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// All parameters, as a JSON object.
    #[arg(long = "params", value_name = "JSON", conflicts_with = "params")]
    all_params: Option<String>,
    /// The camera, by name or uid, for a camera's command.
    #[arg(long, value_name = "CAMERA")]
    camera: Option<String>,
    /// Ask all with one message; gateways that the selector does not fit take no notice.
    #[arg(long, conflicts_with_all = ["camera", "gateways"])]
    broadcast: bool,
    /// Answers are waited for, and the command is good, so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    expires: u64,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// What came of it on one gateway.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Successful(Value),
    Failed { code: String, reason: String },
    Away,
}

/// One gateway that is asked.
struct Asked {
    id: String,
    name: String,
    answer: Option<Answer>,
}

pub async fn run(args: &RunArgs) -> Result<Exit, Exit> {
    let kind = kind(args)?;
    let params = params(args)?;
    let topics = match kind.of {
        Of::Camera => &[Topic::Status, Topic::Info, Topic::Cams][..],
        Of::Gateway => &[Topic::Status, Topic::Info],
    };
    let mut session = open(&args.broker, topics).await?;
    let base = session.base.clone();
    let command_id = format!("fleet-{}", uuid::Uuid::now_v7().simple());
    let chosen: Vec<&Gateway> = session
        .fleet
        .selected(&args.choice.select, &args.choice.gateways)
        .collect();
    if chosen.is_empty() {
        return Err(fail(
            Exit::Failed,
            "no gateway is chosen: `ohmvision fleet list` shows those there are",
        ));
    }
    let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
    for gateway in chosen {
        let (topic, answer) = place(args, kind, gateway, &base, &command_id);
        let one = Asked {
            id: gateway.id.clone(),
            name: gateway.name.clone(),
            answer,
        };
        asked.insert(topic, one);
    }
    let mut signals = signals()?;
    let link = &mut session.link;
    let until = Instant::now() + Duration::from_secs(args.expires);
    let leaf = match kind.of {
        Of::Gateway => format!("{base}/+/cmd/{}/{command_id}", kind.name),
        Of::Camera => format!("{base}/+/cam/+/cmd/{}/{command_id}", kind.name),
    };
    link.subscribe(vec![leaf], until).await.map_err(lost)?;
    let expires_at = now().plus_ms(i64::try_from(args.expires * 1000).unwrap_or(i64::MAX));
    let mut init = json!({"status": "init", "requested_by": "ohmvision fleet", "expires_at": expires_at.to_string(), "params": params});
    if args.broadcast {
        init["selector"] = selector::to_json(&args.choice.select);
        let topic = format!("{base}/all/cmd/{}/{command_id}", kind.name);
        link.publish(topic, init.to_string(), false)
            .await
            .map_err(lost)?;
    } else {
        for (topic, _) in asked.iter().filter(|(_, one)| one.answer.is_none()) {
            link.publish(topic.clone(), init.to_string(), true)
                .await
                .map_err(lost)?;
        }
    }
    for one in asked.values().filter(|one| one.answer.is_some()) {
        tell(session.is_json, one);
    }
    let mut open = asked.values().filter(|one| one.answer.is_none()).count();
    let mut cut = None;
    while open > 0 {
        let heard = match next(link, &mut signals, until).await {
            Ok(Some(heard)) => heard,
            Ok(None) => break,
            Err(why) => {
                cut = Some(why);
                break;
            }
        };
        let Some(one) = asked
            .get_mut(&heard.topic)
            .filter(|one| one.answer.is_none())
        else {
            continue;
        };
        if let Some(answer) = answer(&heard.payload) {
            one.answer = Some(answer);
            open -= 1;
            tell(session.is_json, one);
        }
    }
    // A command that nobody answered is not to be carried out next week.
    let has_link = !matches!(cut, Some(Cut::Lost(_)));
    for topic in asked.keys().filter(|_| has_link) {
        let cleared = link.publish(topic.clone(), String::new(), true).await;
        if let Err(why) = cleared {
            cut = Some(Cut::Lost(why));
            break;
        }
    }
    let exit = summary(session.is_json, &asked);
    match cut {
        Some(Cut::Lost(why)) => Err(lost(format!(
            "{why}; what was not answered expires at {expires_at}"
        ))),
        cut => {
            session.link.close().await;
            Ok(cut.map_or(exit, Cut::exit))
        }
    }
}

fn kind(args: &RunArgs) -> Result<&'static Type, Exit> {
    let kind = Type::find(&args.command).ok_or_else(|| {
        let near = nearest(
            &args.command,
            crate::mqtt::command::TYPES.iter().map(|t| t.name),
        );
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        fail(
            Exit::Usage,
            &format!("there is no command {}{hint}", args.command),
        )
    })?;
    match (kind.of, &args.camera) {
        (Of::Camera, None) => Err(fail(
            Exit::Usage,
            &format!(
                "{} is a command of a camera: name it with --camera",
                kind.name
            ),
        )),
        (Of::Gateway, Some(_)) => Err(fail(
            Exit::Usage,
            &format!(
                "{} is a command of the gateway and takes no --camera",
                kind.name
            ),
        )),
        _ => Ok(kind),
    }
}

fn params(args: &RunArgs) -> Result<Map<String, Value>, Exit> {
    if let Some(text) = &args.all_params {
        let value: Result<Map<String, Value>, _> = serde_json::from_str(text);
        return value.map_err(|e| fail(Exit::Usage, &format!("--params is no JSON object: {e}")));
    }
    let mut params = Map::new();
    for param in &args.params {
        let Some((name, value)) = param.split_once('=') else {
            return Err(fail(
                Exit::Usage,
                &format!("--param {param}: write NAME=VALUE"),
            ));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        params.insert(name.to_owned(), value);
    }
    Ok(params)
}

/// Where the command of one gateway lives, and an answer that is known beforehand.
fn place(
    args: &RunArgs,
    kind: &Type,
    gateway: &Gateway,
    base: &str,
    command_id: &str,
) -> (String, Option<Answer>) {
    let id = &gateway.id;
    let failed = |code: &str, reason: String| {
        Some(Answer::Failed {
            code: code.to_owned(),
            reason,
        })
    };
    let mut answer = match gateway.online {
        false => Some(Answer::Away),
        true => None,
    };
    let mut topic = format!("{base}/{id}/cmd/{}/{command_id}", kind.name);
    if let Some(wanted) = &args.camera {
        let camera = gateway
            .cameras
            .iter()
            .find(|(uid, name)| uid == wanted || name == wanted);
        match camera {
            Some((uid, _)) => {
                topic = format!("{base}/{id}/cam/{uid}/cmd/{}/{command_id}", kind.name)
            }
            None => {
                answer = answer.or(failed(
                    "unknown_camera",
                    format!("it has no camera {wanted}"),
                ))
            }
        }
    }
    if !gateway.capabilities.iter().any(|name| name == kind.name) {
        let reason = format!("mqtt.allowed_commands of this gateway lacks {}", kind.name);
        answer = answer.or(failed("not_allowed", reason));
    }
    (topic, answer)
}

/// A last answer; `None` while it runs.
fn answer(payload: &[u8]) -> Option<Answer> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    match value["status"].as_str()? {
        "successful" => Some(Answer::Successful(value["result"].clone())),
        "failed" => Some(Answer::Failed {
            code: text("code"),
            reason: text("reason"),
        }),
        _ => None,
    }
}

fn tell(is_json: bool, one: &Asked) {
    let Some(answer) = &one.answer else { return };
    if is_json {
        let mut line = json!({"gateway": one.id, "name": one.name});
        match answer {
            Answer::Successful(result) => {
                line["status"] = json!("successful");
                line["result"] = result.clone();
            }
            Answer::Failed { code, reason } => {
                line["status"] = json!("failed");
                line["code"] = json!(code);
                line["reason"] = json!(reason);
            }
            Answer::Away => line["status"] = json!("away"),
        }
        return out(&line.to_string());
    }
    let words = match answer {
        Answer::Successful(Value::Null) => "ok".to_owned(),
        Answer::Successful(result) => {
            format!("ok      {}", plain(&result.to_string(), RESULT_CHARS_MAX))
        }
        Answer::Failed { code, reason } => {
            let words = plain(&format!("{reason} ({code})"), FAULT_CHARS_MAX);
            format!("failed  {words}")
        }
        Answer::Away => "away    not asked".to_owned(),
    };
    out(&format!("{}  {}  {words}", one.id, one.name));
}

fn summary(is_json: bool, asked: &BTreeMap<String, Asked>) -> Exit {
    let count =
        |is: fn(&Option<Answer>) -> bool| asked.values().filter(|one| is(&one.answer)).count();
    let successful = count(|answer| matches!(answer, Some(Answer::Successful(_))));
    let failed = count(|answer| matches!(answer, Some(Answer::Failed { .. })));
    let away = count(|answer| matches!(answer, Some(Answer::Away)));
    let silent = count(Option::is_none);
    if is_json {
        out(&json!({"summary": {"successful": successful, "failed": failed, "away": away, "no_answer": silent}}).to_string());
    } else {
        for one in asked.values().filter(|one| one.answer.is_none()) {
            out(&format!("{}  {}  no answer", one.id, one.name));
        }
        out(&format!(
            "{successful} ok, {failed} failed, {away} away, {silent} without an answer"
        ));
    }
    match successful == asked.len() {
        true => Exit::Ok,
        false => Exit::Failed,
    }
}
