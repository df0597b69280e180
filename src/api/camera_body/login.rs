//! The login of a camera's body: its own fields, or what the URLs carry.

use super::url::Chosen;
use crate::api::camera_body::{Said, Stored, password_field, said};
use crate::api::strict::{Fields, USERNAME_CHARS_MAX, line};
use crate::model::{PasswordPart, Secret};
use crate::site::{CameraDraft, PasswordChange};

/// `username` and `password`, from their fields or from the new URLs.
pub(super) fn read_login(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    draft: &mut CameraDraft,
    urls: [&Chosen; 3],
) {
    let (url_user, url_password) = url_login(fields, urls);
    let user =
        said(fields, stored, "username").map(|value| match line(value, USERNAME_CHARS_MAX) {
            Ok(text) => (!text.is_empty()).then(|| text.to_owned()),
            Err(message) => {
                fields.error("username", message);
                None
            }
        });
    let old_user = stored.and_then(|s| s.view.camera.username.clone());
    if let (Said::New(Some(user)), Some(other)) = (&user, &url_user)
        && user != other
    {
        fields.error(
            "username",
            "the URL carries another user name; send one of them",
        );
    }
    let stays = stays_in_url(stored, urls);
    draft.username = match user {
        Said::New(Some(user)) => Some(user),
        Said::New(None) => url_user,
        Said::Same => url_user.or_else(|| old_user.clone()),
        Said::Nothing => url_user.or_else(|| old_user.clone().filter(|_| stays)),
    };
    let field = password_field(fields, stored, "password");
    draft.password = match (field, url_password) {
        (Some(change), Some(in_url)) if change != PasswordChange::Set(in_url.clone()) => {
            fields.error(
                "password",
                "the URL carries another password; send one of them",
            );
            change
        }
        (Some(change), _) => change,
        (None, Some(in_url)) => PasswordChange::Set(in_url),
        (None, None) => PasswordChange::Keep,
    };
    check_kept_password(fields, stored, draft, urls);
}

/// The one login that the new URLs carry.
fn url_login(fields: &mut Fields<'_>, urls: [&Chosen; 3]) -> (Option<String>, Option<Secret>) {
    let (mut user, mut password): (Option<String>, Option<Secret>) = (None, None);
    for new in urls.into_iter().filter_map(|u| u.new.as_ref()) {
        let given = match &new.parsed.password {
            PasswordPart::Given(secret) => Some(secret),
            PasswordPart::Absent | PasswordPart::Masked => None,
        };
        let differs = matches!((&user, &new.parsed.username), (Some(a), Some(b)) if a != b)
            || matches!((&password, given), (Some(a), Some(b)) if a != b);
        if differs {
            fields.error(
                new.field,
                "carries another login than the URL before it; a camera has one login",
            );
        }
        user = user.or_else(|| new.parsed.username.clone());
        password = password.or_else(|| given.cloned());
    }
    (user, password)
}

/// A URL that is kept as it was shows the stored login.
fn stays_in_url(stored: Option<&Stored<'_>>, urls: [&Chosen; 3]) -> bool {
    let is_kept =
        |u: &Chosen| u.new.is_none() && u.url.as_ref().is_some_and(|u| !u.scheme.is_local());
    let is_masked = |u: &Chosen| u.new.as_ref().is_some_and(|n| n.masked);
    stored.is_some() && urls.into_iter().any(|u| is_kept(u) || is_masked(u))
}

/// A stored password must not travel to another host, nor belong to another user.
fn check_kept_password(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    draft: &mut CameraDraft,
    urls: [&Chosen; 3],
) {
    let Some(stored) = stored.filter(|s| s.view.has_password) else {
        return;
    };
    if draft.password != PasswordChange::Keep {
        return;
    }
    let before = &stored.view.camera;
    if draft.username != before.username {
        match &draft.username {
            None => draft.password = PasswordChange::Clear,
            Some(_) => fields.error(
                "password",
                "is needed again: the stored one belongs to another user name",
            ),
        }
        return;
    }
    let old_urls = [
        &before.primary_stream_url,
        &before.secondary_stream_url,
        &before.snapshot_url,
    ];
    let is_known = |host: &String| {
        before.ip_address.as_ref() == Some(host)
            || old_urls.into_iter().flatten().any(|u| u.host == *host)
    };
    let url_hosts = urls.into_iter().filter_map(|u| u.url.as_ref());
    let mut hosts = url_hosts
        .filter(|u| !u.scheme.is_local())
        .map(|u| &u.host)
        .chain(&draft.ip_address);
    if !hosts.all(is_known) {
        fields.error(
            "password",
            "is needed again (or null): the stored one is not sent to another host",
        );
    }
}
