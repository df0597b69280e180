//! `ohmvision urls MANUFACTURER IP` and `ohmvision manufacturers [ID]`

use super::detect::masked;
use super::table::render;
use super::{ManufacturersArgs, UrlsArgs, fail, login, out, out_json};
use crate::exit::Exit;
use crate::vendor::{
    Catalogue, GenerateUrls, generate_urls, maker_body, manufacturers_body, templates_body,
};

/// The id of a maker that the operator named; on an error the exit code, the sentence is printed.
pub fn maker_id(catalogue: &Catalogue, name: &str) -> Result<String, Exit> {
    match catalogue.find(name) {
        Ok(maker) => Ok(maker.id().to_owned()),
        Err(unknown) => Err(fail(Exit::Usage, &unknown.to_string())),
    }
}

pub fn urls(args: &UrlsArgs) -> Exit {
    let catalogue = Catalogue::builtin();
    let given = match login(&args.login) {
        Ok(given) => given,
        Err(code) => return code,
    };
    let wanted = GenerateUrls {
        ip: args.ip.to_string(),
        username: given.as_ref().map(|l| l.username.clone()),
        password: given.map(|l| l.password),
        manufacturer: args.manufacturer.clone(),
        port: None,
        channel: Some(args.channel),
        stream: None,
    };
    let made = match generate_urls(&catalogue, &wanted) {
        Ok(made) => made,
        Err(error) => return fail(Exit::Usage, &error.to_string()),
    };
    if args.json {
        out_json(&made);
        return Exit::Ok;
    }
    let lists = [
        ("rtsp", &made.urls.rtsp),
        ("http_mjpeg", &made.urls.http_mjpeg),
        ("snapshot", &made.urls.snapshot),
        ("other", &made.urls.other),
    ];
    let rows: Vec<Vec<String>> = lists
        .into_iter()
        .flat_map(|(kind, list)| list.iter().map(move |u| (kind, u)))
        .map(|(kind, u)| {
            vec![
                kind.to_owned(),
                u.name.clone(),
                masked(u.url.expose()),
                u.note.clone().unwrap_or_default(),
            ]
        })
        .collect();
    out(&render(&["METHOD", "STREAM", "URL", "FOR"], &rows));
    Exit::Ok
}

pub fn manufacturers(args: &ManufacturersArgs) -> Exit {
    let catalogue = Catalogue::builtin();
    let Some(name) = &args.manufacturer else {
        let body = manufacturers_body(&catalogue);
        if args.json {
            out_json(&body);
            return Exit::Ok;
        }
        let rows: Vec<Vec<String>> = body
            .manufacturers
            .iter()
            .map(|m| {
                let types: Vec<&str> = m.connection_types.iter().map(|t| t.as_str()).collect();
                vec![
                    m.id.to_owned(),
                    m.name.to_owned(),
                    m.category.to_owned(),
                    types.join(" "),
                ]
            })
            .collect();
        out(&render(&["ID", "NAME", "CATEGORY", "METHODS"], &rows));
        out(&format!("{} manufacturers", body.count));
        return Exit::Ok;
    };
    let maker = match catalogue.find(name) {
        Ok(maker) => maker,
        Err(unknown) => return fail(Exit::Usage, &unknown.to_string()),
    };
    if args.json {
        out_json(&maker_body(maker));
        return Exit::Ok;
    }
    let body = templates_body(maker);
    out(&format!("{} ({})", maker.name(), maker.id()));
    if maker.locks_accounts() {
        out("locks accounts after failed logins");
    }
    let lists = [
        ("rtsp", &body.templates.rtsp),
        ("http_mjpeg", &body.templates.http_mjpeg),
        ("snapshot", &body.templates.snapshot),
        ("other", &body.templates.other),
    ];
    let rows: Vec<Vec<String>> = lists
        .into_iter()
        .flat_map(|(kind, list)| list.iter().map(move |t| (kind, t)))
        .map(|(kind, t)| {
            vec![
                kind.to_owned(),
                t.name.clone(),
                t.url.clone(),
                t.note.clone().unwrap_or_default(),
            ]
        })
        .collect();
    out(&render(&["METHOD", "STREAM", "TEMPLATE", "FOR"], &rows));
    if let Some(nvr) = &body.nvr {
        out(&format!("recorder: {}", nvr.rule));
    }
    for note in &crate::vendor::maker_body(maker).summary.notes {
        out(&format!("- {note}"));
    }
    Exit::Ok
}
