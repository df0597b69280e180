//! Who may ask: bearer tokens, the loopback exception, and a brake for callers who guess.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};

use super::problem::Problem;
use crate::site::Scope;

/// Bad tokens of one peer within [`FAILURE_WINDOW`] before it is told to wait.
const FAILURES_MAX: u32 = 10;
const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// Peers that are remembered; the one longest quiet is forgotten first.
const PEERS_MAX: usize = 256;
/// Longest token that is looked up, bytes.
const TOKEN_BYTES_MAX: usize = 256;
/// A request with one of these came through a proxy: its peer is not the caller.
const PROXY_HEADERS: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "via",
];

/// The scope of a request: its token's, else what loopback callers have.
///
/// A good token always passes; the brake holds only those without one.
///
/// # Errors
/// 401 without a usable token, 429 for a peer that keeps sending bad ones.
pub fn scope(
    peer: SocketAddr,
    headers: &HeaderMap,
    loopback: Option<Scope>,
    failures: &Failures,
    scope_of: impl Fn(&str) -> Option<Scope>,
    now: Instant,
) -> Result<Scope, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        let found = bearer(headers).and_then(scope_of);
        return found.ok_or_else(|| match failures.count(peer.ip(), now) {
            None => unauthorized("the token is not valid", "Bearer error=\"invalid_token\""),
            Some(wait) => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failures",
                "too many requests with a bad token; wait, then send the right one",
            )
            .retry_after(wait.as_secs() + 1),
        });
    }
    let is_direct = !PROXY_HEADERS.iter().any(|name| headers.contains_key(*name));
    match loopback {
        Some(scope) if is_direct && peer.ip().to_canonical().is_loopback() => Ok(scope),
        _ => Err(unauthorized(
            "a token is needed: send `Authorization: Bearer <token>`; the first one is in admin.token in the state directory",
            "Bearer",
        )),
    }
}

fn unauthorized(detail: &str, challenge: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .header(header::WWW_AUTHENTICATE, challenge)
}

/// The one bearer token of a request. Two `Authorization` headers are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let fits = (1..=TOKEN_BYTES_MAX).contains(&token.len());
    (scheme.eq_ignore_ascii_case("bearer") && fits).then_some(token)
}

/// Bad tokens by peer, least recently failed first.
#[derive(Debug, Default)]
pub struct Failures(Mutex<VecDeque<Failed>>);

#[derive(Debug)]
struct Failed {
    peer: IpAddr,
    count: u32,
    since: Instant,
}

impl Failures {
    /// Counts one bad token; `Some` is how long the peer has to wait.
    fn count(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let peer = network_of(peer);
        let mut peers = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let known = peers.iter().position(|p| p.peer == peer);
        let mut entry = known.and_then(|i| peers.remove(i)).unwrap_or(Failed {
            peer,
            count: 0,
            since: now,
        });
        if FAILURE_WINDOW <= now.saturating_duration_since(entry.since) {
            entry.count = 0;
            entry.since = now;
        }
        entry.count = entry.count.saturating_add(1);
        let wait = (FAILURES_MAX < entry.count)
            .then(|| (entry.since + FAILURE_WINDOW).saturating_duration_since(now));
        if entry.count == FAILURES_MAX + 1 {
            tracing::warn!(%peer, "more than {FAILURES_MAX} bad API tokens in a minute, answering 429");
        }
        if peers.len() == PEERS_MAX {
            peers.pop_front();
        }
        peers.push_back(entry);
        wait
    }
}

/// A household has a whole /64 of IPv6 addresses: it counts as one peer.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.7:40000";

    fn ask(
        peer: &str,
        lines: &[(&'static str, &str)],
        loopback: Option<Scope>,
        failures: &Failures,
        now: Instant,
    ) -> Result<Scope, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let scope_of = |token: &str| (token == "good").then_some(Scope::Operate);
        scope(
            peer.parse().unwrap(),
            &headers,
            loopback,
            failures,
            scope_of,
            now,
        )
    }

    #[test]
    fn tokens() {
        let (failures, now) = (Failures::default(), Instant::now());
        let try_with = |lines: &[(&'static str, &str)]| ask(PEER, lines, None, &failures, now);
        assert_eq!(
            try_with(&[("authorization", "Bearer good")]),
            Ok(Scope::Operate)
        );
        assert_eq!(
            try_with(&[("authorization", "bearer  good ")]),
            Ok(Scope::Operate)
        );
        for bad in ["Bearer bad", "Bearer", "Bearer ", "Basic good", "good"] {
            let problem = try_with(&[("authorization", bad)]).unwrap_err();
            assert_eq!(problem.status, 401, "{bad}");
            let response = problem.into_response();
            assert!(
                response.headers()["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .starts_with("Bearer")
            );
        }
        let twice = [
            ("authorization", "Bearer good"),
            ("authorization", "Bearer good"),
        ];
        assert_eq!(try_with(&twice).unwrap_err().status, 401);
        assert_eq!(try_with(&[]).unwrap_err().status, 401);
    }

    #[test]
    fn loopback_needs_no_token_when_configured_and_direct() {
        let (failures, now) = (Failures::default(), Instant::now());
        let read = Some(Scope::Read);
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(
                ask(peer, &[], read, &failures, now),
                Ok(Scope::Read),
                "{peer}"
            );
            assert!(ask(peer, &[], None, &failures, now).is_err());
        }
        assert!(ask(PEER, &[], read, &failures, now).is_err());
        for name in PROXY_HEADERS {
            let proxied = ask("127.0.0.1:1", &[(name, "x")], read, &failures, now);
            assert_eq!(proxied.unwrap_err().status, 401, "{name}");
        }
        // A token that is sent is judged, on loopback too.
        let bad = [("authorization", "Bearer bad")];
        assert!(ask("127.0.0.1:1", &bad, read, &failures, now).is_err());
    }

    #[test]
    fn guessing_is_braked_and_a_good_token_passes() {
        let (failures, start) = (Failures::default(), Instant::now());
        let bad = [("authorization", "Bearer bad")];
        let status = |peer: &str, now| ask(peer, &bad, None, &failures, now).unwrap_err().status;
        for _ in 0..10 {
            assert_eq!(status(PEER, start), 401);
        }
        let refused =
            ask(PEER, &bad, None, &failures, start + Duration::from_secs(20)).unwrap_err();
        assert_eq!(refused.status, 429);
        assert_eq!(refused.into_response().headers()["retry-after"], "41");
        assert_eq!(status("192.0.2.8:1", start), 401);
        let good = [("authorization", "Bearer good")];
        assert_eq!(ask(PEER, &good, None, &failures, start), Ok(Scope::Operate));
        assert_eq!(status(PEER, start + Duration::from_secs(61)), 401);
    }

    #[test]
    fn the_table_is_bounded() {
        let (failures, now) = (Failures::default(), Instant::now());
        for i in 0..1000u32 {
            failures.count(IpAddr::V4(i.into()), now);
            failures.count(
                IpAddr::V6(Ipv6Addr::from_bits(7 << 64 | u128::from(i))),
                now,
            );
        }
        assert_eq!(failures.0.lock().unwrap().len(), PEERS_MAX);
        // One /64 is one peer.
        assert!(failures.count("0:0:0:7::1".parse().unwrap(), now).is_some());
    }
}
