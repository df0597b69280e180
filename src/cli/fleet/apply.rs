//! `ohmvision fleet apply`: what files say goes out to the gateways, a few first, with an answer from each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{BrokerArgs, ChoiceArgs, Cut, Session, fault, next, open, signals};
use crate::cli::{fail, out};
use crate::exit::Exit;
use crate::fleet::files::{self, Composed};
use crate::fleet::rollout::{Outcome, Rollout};
use crate::fleet::view::{Gateway, Topic};
use crate::sys::paths;
use crate::sys::signals::Signals;

/// What was sent, as digests, so that the same secrets are not sent again.
const REMEMBERED: &str = "fleet-applied.json";

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Holds all.toml, group/<selector>.toml, gw/<id>.toml.
    dir: PathBuf,
    /// Show what would change, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// So many gateways that are online go first; the rest waits for their success.
    #[arg(long, value_name = "N", default_value_t = 0)]
    canary: usize,
    /// Stop when more than so many failed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_failures: usize,
    /// Longest wait for the answer of a gateway.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// What one gateway is to get.
struct Parcel {
    name: String,
    online: bool,
    revision: u64,
    document: String,
    digest: String,
    lines: Vec<String>,
    /// It does not lie there yet.
    is_new: bool,
}

/// How a gateway stands to the document that lies for it.
#[derive(Debug, PartialEq)]
enum Standing {
    Taken,
    /// Its settings are on trial.
    OnTrial,
    /// It is away and has not taken it.
    Waits,
    /// In words.
    NotTaken(String),
}

impl Standing {
    fn of(gateway: &Gateway) -> Self {
        let wanted = gateway.desired_revision;
        let is_about_it = wanted.is_some() && gateway.reported_revision == wanted;
        let fault = gateway.errors.first().filter(|_| is_about_it).map(fault);
        match (gateway.state.as_deref(), fault) {
            (Some("on_trial"), None) if is_about_it => Self::OnTrial,
            (_, None) if is_about_it && gateway.applied_revision == wanted => Self::Taken,
            _ if !gateway.online => Self::Waits,
            (_, Some(fault)) => Self::NotTaken(fault),
            (_, None) => Self::NotTaken(format!("revision {} was not taken", wanted.unwrap_or(0))),
        }
    }
}

/// What was told before: gateway to revision and digest.
type Remembered = BTreeMap<String, (u64, String)>;

pub async fn run(args: &ApplyArgs) -> Result<Exit, Exit> {
    let files = files::read(&args.dir).map_err(|errors| fail(Exit::Usage, &errors.join("\n")))?;
    let topics = [Topic::Status, Topic::Info, Topic::Reported, Topic::Desired];
    let mut session = open(&args.broker, &topics).await?;
    let place = paths::state_dir(None).ok().map(|dir| dir.join(REMEMBERED));
    let mut remembered = place.as_deref().map(recall).unwrap_or_default();
    let (parcels, mut errors) = parcels(args, &session, &files, &remembered);
    let unknown = files.iter().filter_map(|file| match &file.whom {
        files::Whom::Gateway(id) if !session.fleet.gateways.contains_key(id) => Some(format!(
            "{}: no gateway {id} has told of itself yet",
            file.path.display()
        )),
        _ => None,
    });
    errors.extend(unknown);
    if !errors.is_empty() {
        return Err(fail(
            Exit::Failed,
            &format!("nothing was sent:\n{}", errors.join("\n")),
        ));
    }
    if args.dry_run {
        show(session.is_json, &parcels);
        session.link.close().await;
        return Ok(Exit::Ok);
    }
    let gateways = parcels
        .iter()
        .map(|(id, parcel)| (id.clone(), parcel.online));
    let mut rollout = Rollout::new(gateways.collect(), args.canary, args.max_failures);
    let cut = roll(args, &mut session, &parcels, &mut rollout, &mut signals()?).await;
    for (id, parcel) in &parcels {
        if matches!(
            rollout.outcomes.get(id),
            Some(Outcome::Applied | Outcome::Away)
        ) {
            remembered.insert(id.clone(), (parcel.revision, parcel.digest.clone()));
        }
    }
    if let Some(place) = &place {
        remember(place, &remembered);
    }
    let exit = summary(session.is_json, &parcels, &rollout);
    match cut {
        Err(cut @ Cut::Lost(_)) => Err(cut.exit()),
        cut => {
            session.link.close().await;
            Ok(cut.map_or_else(Cut::exit, |()| exit))
        }
    }
}

/// What each chosen gateway is to get; those that have it are left out.
fn parcels(
    args: &ApplyArgs,
    session: &Session,
    files: &[files::File],
    remembered: &Remembered,
) -> (BTreeMap<String, Parcel>, Vec<String>) {
    let (mut parcels, mut errors) = (BTreeMap::new(), Vec::new());
    for gateway in session
        .fleet
        .selected(&args.choice.select, &args.choice.gateways)
    {
        match parcel(gateway, files, remembered) {
            Ok(Some(parcel)) => {
                parcels.insert(gateway.id.clone(), parcel);
            }
            Ok(None) => {}
            Err(why) => errors.push(format!("{}: {why}", gateway.id)),
        }
    }
    (parcels, errors)
}

fn parcel(
    gateway: &Gateway,
    files: &[files::File],
    remembered: &Remembered,
) -> Result<Option<Parcel>, String> {
    let Some(composed) = files::compose(files, gateway)? else {
        return Ok(None);
    };
    let digest = composed.digest(&gateway.id);
    let mut lines = composed.difference(gateway.desired.as_ref());
    let mut is_new = true;
    if lines.is_empty() {
        let has_secrets =
            composed.secrets.is_empty() || is_remembered(gateway, remembered, &digest);
        match Standing::of(gateway) {
            _ if !has_secrets => lines.push("~ secrets are sent anew".to_owned()),
            Standing::Taken => return Ok(None),
            Standing::NotTaken(why) => lines.push(format!("~ sent anew: {why}")),
            Standing::OnTrial | Standing::Waits => is_new = false,
        }
    }
    let seen = [
        gateway.desired_revision,
        gateway.applied_revision,
        gateway.reported_revision,
    ];
    let revision = match gateway.desired_revision.filter(|_| !is_new) {
        Some(there) => there,
        None => seen
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(0)
            .saturating_add(1),
    };
    Ok(Some(Parcel {
        name: gateway.name.clone(),
        online: gateway.online,
        revision,
        document: document(&composed, gateway, revision)?,
        digest,
        lines,
        is_new,
    }))
}

fn document(composed: &Composed, gateway: &Gateway, revision: u64) -> Result<String, String> {
    let document = composed.document(gateway, revision)?.to_string();
    // Judged as the gateway will.
    match crate::mqtt::desired::document::Desired::parse(document.as_bytes()) {
        Ok(_) => Ok(document),
        Err(refused) => Err(refused.reason),
    }
}

fn is_remembered(gateway: &Gateway, remembered: &Remembered, digest: &str) -> bool {
    let known = remembered.get(&gateway.id);
    known.is_some_and(|(revision, known)| {
        Some(*revision) == gateway.desired_revision && known == digest
    })
}

fn show(is_json: bool, parcels: &BTreeMap<String, Parcel>) {
    for (id, parcel) in parcels {
        if is_json {
            out(&json!({"gateway": id, "name": parcel.name, "online": parcel.online, "revision": parcel.revision, "is_new": parcel.is_new, "changes": parcel.lines}).to_string());
            continue;
        }
        let state = match (parcel.online, parcel.is_new) {
            (true, true) => "",
            (true, false) => ", on trial there",
            (false, true) => ", away: it waits for it",
            (false, false) => ", away: it waits there already",
        };
        out(&format!(
            "{id} {}: revision {}{state}",
            parcel.name, parcel.revision
        ));
        for line in &parcel.lines {
            out(&format!("  {line}"));
        }
    }
    if !is_json {
        let new = parcels.values().filter(|parcel| parcel.is_new).count();
        out(&format!("{new} gateways would get a new document"));
    }
}

async fn roll(
    args: &ApplyArgs,
    session: &mut Session,
    parcels: &BTreeMap<String, Parcel>,
    rollout: &mut Rollout,
    signals: &mut Signals,
) -> Result<(), Cut> {
    let wait = Duration::from_secs(args.wait);
    let mut deadlines: BTreeMap<String, Instant> = BTreeMap::new();
    while !rollout.is_over() {
        for id in rollout.due() {
            let Some(parcel) = parcels.get(&id) else {
                continue;
            };
            if parcel.is_new {
                let topic = format!("{}/{id}/desired", session.base);
                let document = parcel.document.clone();
                let sent = session.link.publish(topic, document, true).await;
                sent.map_err(Cut::Lost)?;
            }
            deadlines.insert(id.clone(), Instant::now() + wait);
            if !parcel.online {
                settle(session.is_json, rollout, &id, parcel, Outcome::Away);
            }
        }
        let Some(until) = rollout
            .awaited()
            .filter_map(|id| deadlines.get(id))
            .min()
            .copied()
        else {
            continue;
        };
        if let Some(heard) = next(&mut session.link, signals, until).await? {
            session
                .fleet
                .hear(&session.base, &heard.topic, &heard.payload);
        }
        let now = Instant::now();
        let awaited: Vec<String> = rollout.awaited().cloned().collect();
        for id in awaited {
            let (Some(parcel), Some(gateway)) = (parcels.get(&id), session.fleet.gateways.get(&id))
            else {
                continue;
            };
            let late = deadlines.get(&id).is_some_and(|at| *at <= now);
            if let Some(outcome) = outcome(gateway, parcel.revision, late, args.wait) {
                settle(session.is_json, rollout, &id, parcel, outcome);
            }
        }
    }
    Ok(())
}

/// What the gateway says of this revision; `None` while it says nothing.
fn outcome(gateway: &Gateway, revision: u64, late: bool, wait_s: u64) -> Option<Outcome> {
    let is_about_it = gateway.reported_revision == Some(revision);
    let first = gateway.errors.first().map(fault);
    match gateway.state.as_deref() {
        Some("refused") if is_about_it => Some(Outcome::Failed(first.unwrap_or_default())),
        Some("on_trial") if is_about_it && !late => None,
        _ if is_about_it && gateway.applied_revision == Some(revision) => match first {
            Some(words) => Some(Outcome::Failed(words)),
            None => Some(Outcome::Applied),
        },
        _ if late => Some(Outcome::Failed(format!("no answer within {wait_s} s"))),
        _ => None,
    }
}

fn settle(is_json: bool, rollout: &mut Rollout, id: &str, parcel: &Parcel, outcome: Outcome) {
    let (name, revision) = (&parcel.name, parcel.revision);
    if is_json {
        let (state, reason) = match &outcome {
            Outcome::Applied => ("applied", None),
            Outcome::Failed(why) => ("failed", Some(why)),
            Outcome::Away => ("away", None),
        };
        out(&json!({"gateway": id, "name": name, "revision": revision, "state": state, "reason": reason}).to_string());
    } else {
        let words = match &outcome {
            Outcome::Applied => "ok".to_owned(),
            Outcome::Failed(why) => format!("failed  {why}"),
            Outcome::Away => "away    it takes it when it comes back".to_owned(),
        };
        out(&format!("{id}  {name}  revision {revision}  {words}"));
    }
    rollout.note(id, outcome);
}

fn summary(is_json: bool, parcels: &BTreeMap<String, Parcel>, rollout: &Rollout) -> Exit {
    let count = |is: fn(&Outcome) -> bool| rollout.outcomes.values().filter(|o| is(o)).count();
    let applied = count(|o| *o == Outcome::Applied);
    let failed = count(|o| matches!(o, Outcome::Failed(_)));
    let away = count(|o| *o == Outcome::Away);
    let untouched = rollout.untouched();
    let unanswered: Vec<&String> = rollout.awaited().collect();
    if is_json {
        let summary = json!({"applied": applied, "failed": failed, "away": away, "no_answer": unanswered, "untouched": untouched, "stopped": rollout.is_stopped()});
        out(&json!({"summary": summary}).to_string());
    } else if parcels.is_empty() {
        out("every gateway has what the files say");
    } else {
        out(&format!(
            "{applied} applied, {failed} failed, {away} away, {} not touched",
            untouched.len()
        ));
        for id in &unanswered {
            out(&format!("{id}  no answer yet; its document lies there"));
        }
        if !untouched.is_empty() {
            let names: Vec<&str> = untouched.iter().map(|id| id.as_str()).collect();
            out(&format!("stopped; not touched: {}", names.join(" ")));
        }
    }
    match failed == 0 && untouched.is_empty() && unanswered.is_empty() {
        true => Exit::Ok,
        false => Exit::Failed,
    }
}

fn recall(place: &Path) -> Remembered {
    let text = std::fs::read(place).unwrap_or_default();
    let value: Value = serde_json::from_slice(&text).unwrap_or_default();
    let rows = value.as_object().into_iter().flatten();
    rows.filter_map(|(id, row)| {
        Some((
            id.clone(),
            (
                row["revision"].as_u64()?,
                row["digest"].as_str()?.to_owned(),
            ),
        ))
    })
    .collect()
}

/// Failing that, secrets are sent once more than needed.
fn remember(place: &Path, remembered: &Remembered) {
    let row = |(id, (revision, digest)): (&String, &(u64, String))| {
        (id.clone(), json!({"revision": revision, "digest": digest}))
    };
    let rows: serde_json::Map<String, Value> = remembered.iter().map(row).collect();
    if let Err(error) = paths::replace(place, &Value::Object(rows).to_string()) {
        tracing::debug!("{}: {error}", place.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_lies_there_need_not_be_taken() {
        let gateway = |online, reported: Value| {
            let mut fleet = crate::fleet::view::Fleet::default();
            let status: &[u8] = if online { b"online" } else { b"offline" };
            fleet.hear("b", "b/gw-1/status", status);
            fleet.hear("b", "b/gw-1/desired", b"{\"revision\": 4}");
            fleet.hear("b", "b/gw-1/reported", reported.to_string().as_bytes());
            Standing::of(&fleet.gateways["gw-1"])
        };
        let taken = json!({"revision": 4, "applied_revision": 4, "state": "applied"});
        assert_eq!(gateway(true, taken.clone()), Standing::Taken);
        assert_eq!(gateway(false, taken), Standing::Taken);
        let trial = json!({"revision": 4, "applied_revision": 3, "state": "on_trial"});
        assert_eq!(gateway(true, trial), Standing::OnTrial);
        let older = json!({"revision": 3, "applied_revision": 3, "state": "applied", "errors": [{"reason": "old"}]});
        assert_eq!(gateway(false, older.clone()), Standing::Waits);
        assert_eq!(
            gateway(true, older),
            Standing::NotTaken("revision 4 was not taken".into())
        );
        for state in ["refused", "applied"] {
            let errors = json!([{"code": "not_allowed", "reason": "no"}]);
            let refused =
                json!({"revision": 4, "applied_revision": 4, "state": state, "errors": errors});
            assert_eq!(
                gateway(true, refused),
                Standing::NotTaken("no (not_allowed)".into())
            );
        }
        assert_eq!(
            gateway(true, Value::Null),
            Standing::NotTaken("revision 4 was not taken".into())
        );
    }
}
