//! `ohmvision detect IP`

use std::sync::Arc;

use super::table::{is_for_people, mark, or_dash, render};
use super::{DetectArgs, fail, login, out, out_json};
use crate::brake::Brake;
use crate::detect::{DetectReport, DetectRequest, Detector};
use crate::exit::Exit;
use crate::policy::networks::AllowedNetworks;
use crate::probe::Limits;
use crate::vendor::Catalogue;

pub async fn run(args: &DetectArgs) -> Exit {
    let (address, zone) = match args.ip.split_once('%') {
        Some((address, zone)) => (address, Some(zone.to_owned())),
        None => (args.ip.as_str(), None),
    };
    let Ok(ip) = address.parse() else {
        return fail(Exit::Usage, &format!("`{}` is not an IP address", args.ip));
    };
    let catalogue = Arc::new(Catalogue::builtin());
    let manufacturer = match args
        .manufacturer
        .as_deref()
        .map(|name| super::urls::maker_id(&catalogue, name))
    {
        Some(Err(code)) => return code,
        Some(Ok(id)) => Some(id),
        None => None,
    };
    let credentials = match login(&args.login) {
        Ok(login) => login.into_iter().collect(),
        Err(code) => return code,
    };
    let networks = one_shot_networks();
    let detector = Detector {
        catalogue,
        brake: Arc::new(Brake::for_one_run()),
        gate: None,
        networks: Arc::new(networks),
        limits: Limits::default(),
    };
    let request = DetectRequest {
        ip,
        zone,
        credentials,
        onvif_login: None,
        manufacturer,
        ports: args.port.clone(),
        methods: Vec::new(),
        timeout_ms: args.timeout_ms,
        channel: args.channel,
        cleartext_login: true,
    };
    let report = detector.detect(&request).await.report;
    match args.json {
        true => out_json(&report),
        false => show(&args.ip, &report),
    }
    if report.success {
        Exit::Ok
    } else {
        Exit::Failed
    }
}

/// Private networks and loopback: the operator sits at the keyboard.
pub fn one_shot_networks() -> AllowedNetworks {
    AllowedNetworks::parse(&["private"])
        .unwrap_or_default()
        .with_loopback()
}

fn show(ip: &str, report: &DetectReport) {
    let device = &report.device;
    let known: Vec<&str> = [&device.manufacturer, &device.model]
        .into_iter()
        .filter_map(|v| v.as_deref())
        .collect();
    if !known.is_empty() {
        out(&format!("{ip} is {}", known.join(" ")));
    }
    let rows: Vec<Vec<String>> = report
        .all_results
        .iter()
        .filter(|r| r.success)
        .map(|r| {
            vec![
                mark(true).to_owned(),
                r.connection_type.to_string(),
                r.stream.to_owned(),
                or_dash(r.codec),
                or_dash(r.resolution.clone()),
                or_dash(r.fps),
                or_dash(r.response_time_ms.map(|ms| format!("{ms} ms"))),
                masked(&r.url),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out(&render(
            &[
                "", "METHOD", "STREAM", "CODEC", "SIZE", "FPS", "ANSWER", "URL",
            ],
            &rows,
        ));
    }
    if !report.success {
        failures(report).iter().for_each(|line| out(line));
    }
    let seconds = f64::from(report.duration_ms) / 1000.0;
    out(&format!("{} tried in {seconds:.1} s", report.tried));
    if let (Some(url), Some(reason)) = (&report.recommended_url, &report.reason) {
        out(&format!(
            "recommended: {}\n             {reason}",
            masked(url)
        ));
        if is_for_people() {
            out("The password is shown as ***; --json prints the URL with it.");
        }
    }
    if let Some(hint) = &report.hint {
        out(hint);
    }
}

/// The failures, those of the same kind counted: fifty paths that do not exist are one line.
fn failures(report: &DetectReport) -> Vec<String> {
    let mut kinds: Vec<(String, u32, String)> = Vec::new();
    for (result, error) in report
        .all_results
        .iter()
        .filter_map(|r| Some((r, r.error.as_ref()?)))
    {
        let text = format!("{}: {}", result.connection_type, error.message);
        match kinds.iter_mut().find(|(known, ..)| *known == text) {
            Some((_, count, _)) => *count += 1,
            None => kinds.push((text, 1, masked(&result.url))),
        }
    }
    kinds.sort_by_key(|(_, count, _)| *count);
    let line = |(text, count, url): (String, u32, String)| match count {
        1 => format!("{} {text}\n   {url}", mark(false)),
        _ => format!("{} {text} ({count} paths)", mark(false)),
    };
    kinds.into_iter().map(line).collect()
}

/// A URL of a report for the screen: a password on a terminal stays in the scroll-back.
pub fn masked(url: &str) -> String {
    match crate::model::StreamUrl::parse(url) {
        Ok(parsed) => {
            let has_password = matches!(parsed.password, crate::model::PasswordPart::Given(_));
            parsed.url.masked(parsed.username.as_deref(), has_password)
        }
        Err(_) => url.to_owned(),
    }
}
