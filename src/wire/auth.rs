//! Answers to `WWW-Authenticate` for HTTP and RTSP alike (RFC 7616, RFC 7617, RFC 2069).

use http_auth::{ChallengeRef, ParamValue, PasswordParams};

use crate::model::Credentials;

/// The schemes that we speak, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthScheme {
    /// The password is the token (RFC 6750); only where a protocol is built on it.
    Bearer,
    Basic,
    DigestMd5,
    DigestSha256,
}

impl AuthScheme {
    /// True where the password itself travels, and not a proof of it.
    pub fn shows_password(self) -> bool {
        self <= Self::Basic
    }
}

/// The strongest challenge of an answer with 401, ready to respond. Keep it for the whole
/// connection, so that its nonce count goes up.
#[derive(Debug)]
pub struct Challenge {
    pub scheme: AuthScheme,
    pub realm: String,
    /// The nonce was too old and the login is not judged yet.
    pub stale: bool,
    client: Client,
}

#[derive(Debug)]
enum Client {
    Bearer,
    Basic,
    Digest(http_auth::DigestClient),
}

impl Challenge {
    /// Chooses among all the `WWW-Authenticate` values of one answer: SHA-256 before MD5 before Basic.
    ///
    /// # Errors
    /// One sentence, when there is none that we speak.
    pub fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Result<Challenge, String> {
        let mut best: Option<Challenge> = None;
        let mut seen = Vec::new();
        for header in headers {
            let Ok(challenges) = http_auth::parse_challenges(header) else {
                seen.push(header.chars().take(40).collect::<String>());
                continue;
            };
            for challenge in &challenges {
                seen.push(challenge.scheme.chars().take(40).collect());
                let Some(read) = read(challenge) else {
                    continue;
                };
                if best.as_ref().is_none_or(|b| b.scheme < read.scheme) {
                    best = Some(read);
                }
            }
        }
        best.ok_or_else(|| match seen.is_empty() {
            true => "the device asks for a login without saying how".to_owned(),
            false => format!(
                "the device asks for a login by {}, which is not spoken here",
                seen.join(", ")
            ),
        })
    }

    /// The challenge of a server that wants a token, by these values of one answer: it says so, or
    /// says nothing.
    pub fn bearer<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
        let mut headers = headers.into_iter().peekable();
        let is_bearer = |header: &str| {
            let scheme = header.split_ascii_whitespace().next().unwrap_or_default();
            scheme.eq_ignore_ascii_case("Bearer")
        };
        let is_asked_for = headers.peek().is_none() || headers.any(is_bearer);
        is_asked_for.then(|| Challenge {
            scheme: AuthScheme::Bearer,
            realm: String::new(),
            stale: false,
            client: Client::Bearer,
        })
    }

    /// The value of the `Authorization` header. `uri` must be byte-equal to the request line's.
    ///
    /// # Errors
    /// One sentence without the login, when the challenge cannot be answered.
    pub fn respond(
        &mut self,
        method: &str,
        uri: &str,
        login: &Credentials,
    ) -> Result<String, String> {
        let password = login.password.expose();
        match &mut self.client {
            Client::Bearer => Ok(format!("Bearer {password}")),
            Client::Basic => Ok(http_auth::basic::encode_credentials(
                &login.username,
                password,
            )),
            Client::Digest(client) => client
                .respond(&PasswordParams {
                    username: &login.username,
                    password,
                    uri,
                    method,
                    body: None,
                })
                .map_err(|_| "the device's digest challenge cannot be answered".to_owned()),
        }
    }
}

/// Some servers write `algorithm=md5`; the library wants the names as RFC 7616 registers them.
fn spelt_as_registered<'i>(challenge: &ChallengeRef<'i>) -> ChallengeRef<'i> {
    const REGISTERED: [&str; 6] = [
        "MD5",
        "MD5-sess",
        "SHA-256",
        "SHA-256-sess",
        "SHA-512-256",
        "SHA-512-256-sess",
    ];
    let mut spelt = challenge.clone();
    for (name, value) in &mut spelt.params {
        let found = REGISTERED
            .iter()
            .find(|r| r.eq_ignore_ascii_case(value.as_escaped()));
        if let Some(registered) = found.filter(|_| name.eq_ignore_ascii_case("algorithm")) {
            *value = ParamValue::new(0, registered);
        }
    }
    spelt
}

fn read(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    if challenge.scheme.eq_ignore_ascii_case("Basic") {
        let realm = challenge
            .params
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("realm"))
            .map_or_else(String::new, |(_, value)| value.to_unescaped());
        return Some(Challenge {
            scheme: AuthScheme::Basic,
            realm,
            stale: false,
            client: Client::Basic,
        });
    }
    let client = http_auth::DigestClient::try_from(&spelt_as_registered(challenge)).ok()?;
    let scheme = match client.algorithm() {
        http_auth::digest::Algorithm::Md5 => AuthScheme::DigestMd5,
        _ => AuthScheme::DigestSha256,
    };
    Some(Challenge {
        scheme,
        realm: client.realm().to_owned(),
        stale: client.stale(),
        client: Client::Digest(client),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "rtsp://192.0.2.10:554/stream1";

    fn response(header: &str) -> String {
        let mut challenge = Challenge::choose([header]).unwrap();
        challenge
            .respond("DESCRIBE", URI, &Credentials::new("admin", "hunter2"))
            .unwrap()
    }

    #[test]
    fn answers_as_cameras_expect_without_qop() {
        let md5 = response(r#"Digest realm="cam", nonce="abc123""#);
        assert!(
            md5.contains(r#"response="07577b799a6aad63f4e0419ea37779a8""#),
            "{md5}"
        );
        let sha = response(r#"Digest realm="cam", nonce="abc123", algorithm=SHA-256"#);
        assert!(
            sha.contains("616a0a0a4c1e9741daf33327f5451331fb5b56a8e61c903286dcdd10af125879"),
            "{sha}"
        );
    }

    #[test]
    fn the_strongest_scheme_wins_whatever_the_order() {
        let headers = [
            r#"Basic realm="/""#,
            r#"Digest realm="a", nonce="1", algorithm="MD5""#,
            r#"Digest realm="a", nonce="1", algorithm=SHA-256, stale=true"#,
        ];
        let chosen = Challenge::choose(headers).unwrap();
        assert_eq!(
            (chosen.scheme, chosen.stale),
            (AuthScheme::DigestSha256, true)
        );
        let joined = format!("{}, {}", headers[1], headers[0]);
        assert_eq!(
            Challenge::choose([joined.as_str()]).unwrap().scheme,
            AuthScheme::DigestMd5
        );
    }

    /// motion 4.5 writes it so.
    #[test]
    fn the_algorithm_may_be_in_lower_case() {
        let header = r#"Digest realm="Motion",qop="auth",nonce="2b30",opaque="005b",algorithm=md5"#;
        let mut challenge = Challenge::choose([header]).unwrap();
        assert_eq!(challenge.scheme, AuthScheme::DigestMd5);
        let answer = challenge
            .respond("GET", "/", &Credentials::new("u", "p"))
            .unwrap();
        assert!(answer.contains("qop=auth"), "{answer}");
    }

    #[test]
    fn a_token_is_sent_where_it_is_asked_for() {
        let answer = |headers: &[&str]| {
            let mut challenge = Challenge::bearer(headers.iter().copied())?;
            assert!(challenge.scheme.shows_password());
            challenge
                .respond("POST", "/whep", &Credentials::new("", "t0ken"))
                .ok()
        };
        assert_eq!(
            answer(&["bearer realm=\"x\""]).as_deref(),
            Some("Bearer t0ken")
        );
        assert_eq!(answer(&[]).as_deref(), Some("Bearer t0ken"));
        assert_eq!(answer(&["Negotiate"]), None);
        assert!(Challenge::choose(["Bearer"]).is_err());
    }

    #[test]
    fn what_is_not_spoken_is_named() {
        let error = Challenge::choose([r#"Negotiate"#]).unwrap_err();
        assert!(error.contains("Negotiate"), "{error}");
        assert!(
            Challenge::choose([])
                .unwrap_err()
                .contains("without saying how")
        );
    }
}
