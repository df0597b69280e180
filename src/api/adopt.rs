//! `POST /api/cameras/adopt`: the road from a scan to thirty cameras.

use std::net::IpAddr;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::camera_body::Rules;
use super::detect_body::logins;
use super::discovery::with_rules;
use super::problem::FieldError;
use super::strict::{Fields, parse_ip};
use super::{Context, Problem, Response, body, json, to_the_end};
use crate::site::{AdoptFrom, AdoptRequest};

/// Most devices of one call.
const DEVICES_MAX: usize = 256;

/// Goes on when the caller goes away: the logins were used up either way.
pub async fn adopt(context: &Context, body: &Value) -> Result<Response, Problem> {
    let map = body::object(body)?;
    let request = with_rules(context, |rules| read(map, rules)).map_err(Problem::invalid)?;
    let site = context.site.clone();
    json(&to_the_end(async move { site.adopt(request).await }).await??)
}

/// # Errors
/// Every bad field at once.
fn read(map: &Map<String, Value>, rules: &Rules<'_>) -> Result<AdoptRequest, Vec<FieldError>> {
    let mut fields = Fields::new(map);
    let addresses = addresses(&mut fields, rules);
    let scan = fields.text("scan_id", 64).map(str::to_owned);
    let from = match (addresses, scan) {
        (Some(list), None) => Some(AdoptFrom::Addresses(list)),
        (None, Some(text)) => match Uuid::parse_str(&text) {
            Ok(id) => Some(AdoptFrom::Scan(id)),
            Err(_) => {
                fields.error("scan_id", "must be the scan_id of a scan");
                None
            }
        },
        (Some(_), Some(_)) => {
            fields.error("scan_id", "names devices as ips does; send one of them");
            None
        }
        (None, None) => {
            fields.error(
                "ips",
                "is missing: name the devices, or the scan that found them in scan_id",
            );
            None
        }
    };
    let credentials = logins(&mut fields);
    let dry_run = fields.boolean("dry_run").unwrap_or(false);
    let allow_cleartext = fields.boolean("allow_cleartext").unwrap_or(false);
    match (from, fields.finish()) {
        (Some(from), errors) if errors.is_empty() => Ok(AdoptRequest {
            from,
            credentials,
            dry_run,
            allow_cleartext,
        }),
        (_, errors) => Err(errors),
    }
}

/// `None`: not said. An address that comes twice counts once.
fn addresses(fields: &mut Fields<'_>, rules: &Rules<'_>) -> Option<Vec<(IpAddr, Option<String>)>> {
    let given = fields.value("ips")?;
    if given.as_array().is_some_and(Vec::is_empty) {
        fields.error("ips", "names no device");
    }
    let items = fields.array("ips", DEVICES_MAX);
    let mut found: Vec<(IpAddr, Option<String>)> = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let place = format!("ips[{i}]");
        match item.as_str().and_then(parse_ip) {
            None => fields.error(&place, "must be an IP address such as 192.168.1.100"),
            Some((ip, _)) if !(rules.allowed)(ip) => {
                fields.error(&place, format!("{ip} is outside security.allowed_networks"));
            }
            Some((ip, zone)) => {
                let address = (ip, zone);
                if !found.contains(&address) {
                    found.push(address);
                }
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::camera_body::tests::with_rules;
    use crate::model::Credentials;
    use serde_json::json;

    fn read_body(body: Value) -> Result<AdoptRequest, Vec<String>> {
        let read = with_rules(|rules| read(body.as_object().unwrap(), rules));
        read.map_err(|errors| errors.into_iter().map(|e| e.field).collect())
    }

    #[test]
    fn devices_are_named_by_address_or_by_scan() {
        let request = read_body(json!({
            "ips": ["10.0.0.1", "fe80::1%eth0", "10.0.0.1"],
            "credentials": [{"username": "admin", "password": "x"}], "dry_run": true
        }))
        .unwrap();
        let AdoptFrom::Addresses(list) = request.from else {
            panic!("{request:?}")
        };
        assert_eq!(list.len(), 2);
        assert_eq!(list[1].1.as_deref(), Some("eth0"));
        assert_eq!(request.credentials, [Credentials::new("admin", "x")]);
        assert!(request.dry_run && !request.allow_cleartext);
        let id = Uuid::now_v7();
        let request = read_body(json!({"scan_id": id.to_string()})).unwrap();
        assert!(matches!(request.from, AdoptFrom::Scan(found) if found == id));
    }

    #[test]
    fn mistakes_are_named() {
        for (body, want) in [
            (json!({}), vec!["ips"]),
            (json!({"ips": []}), vec!["ips"]),
            (json!({"ips": ["x", "8.8.8.8"]}), vec!["ips[0]", "ips[1]"]),
            (json!({"scan_id": "x"}), vec!["scan_id"]),
            (
                json!({"ips": ["10.0.0.1"], "scan_id": Uuid::nil().to_string()}),
                vec!["scan_id"],
            ),
            (
                json!({"ips": ["10.0.0.1"], "credentials": [{"password": "x"}], "dryrun": true}),
                vec!["credentials[0].username", "dryrun"],
            ),
        ] {
            assert_eq!(read_body(body.clone()).unwrap_err(), want, "{body}");
        }
    }
}
