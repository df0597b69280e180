//! `ohmvision probe URL`

use std::sync::Arc;

use super::detect::{masked, one_shot_networks};
use super::table::or_dash;
use super::{ProbeArgs, fail, login, out, out_json};
use crate::brake::Brake;
use crate::detect::{AttemptReport, Detector, ProbeRequest};
use crate::exit::Exit;
use crate::model::StreamUrl;
use crate::probe::{Limits, no_prober, prober};
use crate::vendor::Catalogue;

pub async fn run(args: &ProbeArgs) -> Exit {
    let parsed = match StreamUrl::parse(&args.url) {
        Ok(parsed) => parsed,
        Err(error) => return fail(Exit::Usage, &error.to_string()),
    };
    let kind = parsed.url.connection_type();
    if prober(kind).is_none() {
        return fail(Exit::Usage, &no_prober(kind));
    }
    let given = match login(&args.login) {
        Ok(given) => given,
        Err(code) => return code,
    };
    let login = given.or_else(|| parsed.credentials());
    let mut url = parsed.url;
    if let Some(login) = &login {
        url.hide_login(login);
    }
    let detector = Detector {
        catalogue: Arc::new(Catalogue::builtin()),
        brake: Arc::new(Brake::for_one_run()),
        gate: None,
        // Whoever calls it may read what it reads.
        networks: Arc::new(one_shot_networks().with_folders(vec!["/".into()])),
        limits: Limits::default(),
    };
    let report = detector
        .probe(&ProbeRequest {
            url,
            login,
            frames: args.frames,
        })
        .await;
    match args.json {
        true => out_json(&report),
        false => show(&report),
    }
    if report.success {
        Exit::Ok
    } else {
        Exit::Failed
    }
}

fn show(report: &AttemptReport) {
    let stages: Vec<String> = report
        .stages
        .iter()
        .map(|s| format!("{} {} ms", s.name, s.ms))
        .collect();
    let url = masked(&report.url);
    match &report.error {
        None => out(&format!(
            "alive  {url}\n       {} {} {} fps over {}, answer after {} ms{}",
            or_dash(report.codec),
            or_dash(report.resolution.clone()),
            or_dash(report.fps),
            or_dash(report.transport),
            or_dash(report.response_time_ms),
            report
                .first_frame_ms
                .map_or(String::new(), |ms| format!(", first frame after {ms} ms")),
        )),
        Some(error) => out(&format!(
            "dead   {url}\n       {} at {}: {}",
            error.code, error.stage, error.message
        )),
    }
    if let Some(certificate) = &report.certificate {
        let until = certificate
            .not_after
            .map_or_else(|| "-".to_owned(), |t| t.to_string());
        let expired = if certificate.expired { ", EXPIRED" } else { "" };
        let own = if certificate.self_signed {
            ", self-signed"
        } else {
            ""
        };
        out(&format!(
            "       certificate {} until {until}{own}{expired}",
            certificate.sha256
        ));
    }
    out(&format!("       {}", stages.join(", ")));
}
