//! The lock-out guard: which login may be sent to which host, and when. It never allows brute
//! force: an operator's login goes to a host at most once per half hour until it was accepted, and
//! never again by itself once it was refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{AuthUse, Credentials, Timestamp};

/// A login that was not accepted may go to the same host again after this, ms.
pub const PAUSE_MS: u64 = 30 * 60 * 1000;
/// Different logins per host and half hour, on makers that lock accounts.
const LOGINS_MAX_LOCKING: usize = 2;
/// The same on all others.
pub const LOGINS_MAX: usize = 4;
/// Hosts that are remembered; the longest untouched goes first.
const HOSTS_MAX: usize = 4096;
/// Logins that are remembered per host.
const ROWS_MAX: usize = 16;

/// Which of a device's separate account lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Realm {
    /// RTSP and HTTP.
    Device,
    Onvif,
}

impl Realm {
    fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Onvif => "onvif",
        }
    }
}

/// A keyed hash of user and password: says "the same again" and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// HMAC-SHA-256 under the gateway's own key, first eight bytes.
    pub fn new(key: &ring::hmac::Key, login: &Credentials) -> Self {
        Self::of(ring::hmac::Context::with_key(key), login)
    }

    /// The same login sent in another way, which a device may judge in another way: an attempt of its
    /// own.
    pub fn by_another_mechanism(
        key: &ring::hmac::Key,
        login: &Credentials,
        mechanism: &str,
    ) -> Self {
        let mut mac = ring::hmac::Context::with_key(key);
        mac.update(&u64::MAX.to_le_bytes());
        mac.update(mechanism.as_bytes());
        Self::of(mac, login)
    }

    fn of(mut mac: ring::hmac::Context, login: &Credentials) -> Self {
        mac.update(&(login.username.len() as u64).to_le_bytes());
        mac.update(login.username.as_bytes());
        mac.update(login.password.expose().as_bytes());
        let tag = mac.sign();
        Self(
            tag.as_ref()
                .iter()
                .take(8)
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Accepted,
    Refused,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    login: Fingerprint,
    verdict: Verdict,
    at: Timestamp,
}

/// May this login be sent now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It was accepted here before: send it freely.
    Known,
    /// It may be sent once; only one such request may be in flight.
    Once,
    /// The host refused it; it is not sent until the operator changes it (or, asking for it by
    /// hand, after the pause).
    Refused { at: Timestamp },
    /// Enough logins were tried; try again after this.
    Wait { until: Timestamp },
}

/// Everything that was tried, by host and account list.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    hosts: BTreeMap<(String, Realm), Vec<Row>>,
}

impl Ledger {
    /// May `login` go to this host? `locks` = the maker is known to lock accounts; `by_hand` = an
    /// operator asks for it now.
    pub fn permit(
        &self,
        host: &str,
        realm: Realm,
        login: Fingerprint,
        now: Timestamp,
        locks: bool,
        by_hand: bool,
    ) -> Permit {
        let Some(rows) = self.hosts.get(&(host.to_owned(), realm)) else {
            return Permit::Once;
        };
        let recent = |row: &&Row| now.ms_since(row.at) < PAUSE_MS;
        if let Some(row) = rows.iter().find(|row| row.login == login) {
            match row.verdict {
                Verdict::Accepted => return Permit::Known,
                Verdict::Refused if !by_hand || recent(&row) => {
                    return Permit::Refused { at: row.at };
                }
                Verdict::Unknown if recent(&row) => {
                    return Permit::Wait {
                        until: row.at.plus_ms(PAUSE_MS as i64),
                    };
                }
                _ => {}
            }
        }
        let tried: Vec<&Row> = rows
            .iter()
            .filter(|r| r.verdict != Verdict::Accepted)
            .filter(recent)
            .collect();
        let allowed = if locks {
            LOGINS_MAX_LOCKING
        } else {
            LOGINS_MAX
        };
        match tried.iter().map(|row| row.at).min() {
            Some(oldest) if tried.len() >= allowed => Permit::Wait {
                until: oldest.plus_ms(PAUSE_MS as i64),
            },
            _ => Permit::Once,
        }
    }

    /// Writes down what became of a login. True if there is something new to keep.
    pub fn record(
        &mut self,
        host: &str,
        realm: Realm,
        login: Fingerprint,
        used: AuthUse,
        now: Timestamp,
    ) -> bool {
        let verdict = match used {
            AuthUse::NotSent => return false,
            AuthUse::SentNoVerdict => Verdict::Unknown,
            AuthUse::Accepted => Verdict::Accepted,
            AuthUse::Refused => Verdict::Refused,
        };
        let rows = self.hosts.entry((host.to_owned(), realm)).or_default();
        let before = rows.iter().position(|row| row.login == login);
        if let Some(at) = before {
            let known = rows[at].verdict == Verdict::Accepted;
            if known && matches!(verdict, Verdict::Accepted | Verdict::Unknown) {
                return false;
            }
            rows.remove(at);
        }
        if rows.len() == ROWS_MAX {
            rows.remove(0);
        }
        rows.push(Row {
            login,
            verdict,
            at: now,
        });
        self.trim();
        true
    }

    /// The rows of one host for the store, under a key that names host and account list.
    pub fn export(&self, host: &str, realm: Realm) -> (String, Vec<u8>) {
        let rows = self.hosts.get(&(host.to_owned(), realm));
        let json = rows
            .and_then(|rows| serde_json::to_vec(rows).ok())
            .unwrap_or_default();
        (format!("{} {host}", realm.as_str()), json)
    }

    /// Takes rows back from the store; what cannot be read is left out.
    pub fn import(&mut self, key: &str, json: &[u8]) {
        let Some((realm, host)) = key.split_once(' ') else {
            return;
        };
        let realm = [Realm::Device, Realm::Onvif]
            .into_iter()
            .find(|r| r.as_str() == realm);
        let rows = serde_json::from_slice::<Vec<Row>>(json);
        if let (Some(realm), Ok(mut rows)) = (realm, rows) {
            rows.truncate(ROWS_MAX);
            self.hosts.insert((host.to_owned(), realm), rows);
        }
    }

    fn trim(&mut self) {
        if self.hosts.len() <= HOSTS_MAX {
            return;
        }
        let last = |rows: &Vec<Row>| rows.iter().map(|r| r.at).max();
        let oldest = self
            .hosts
            .iter()
            .min_by_key(|(_, rows)| last(rows))
            .map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.hosts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "10.0.0.9";
    const NOW: Timestamp = Timestamp::from_unix_s(1_000_000);

    fn later(minutes: i64) -> Timestamp {
        NOW.plus_ms(minutes * 60_000)
    }

    fn asked(ledger: &Ledger, login: u64, now: Timestamp, locks: bool) -> Permit {
        ledger.permit(HOST, Realm::Device, Fingerprint(login), now, locks, false)
    }

    fn tried(ledger: &mut Ledger, login: u64, used: AuthUse, now: Timestamp) {
        ledger.record(HOST, Realm::Device, Fingerprint(login), used, now);
    }

    #[test]
    fn a_refused_login_is_never_sent_again_by_itself() {
        let mut ledger = Ledger::default();
        assert_eq!(asked(&ledger, 1, NOW, false), Permit::Once);
        tried(&mut ledger, 1, AuthUse::Refused, NOW);
        assert_eq!(
            asked(&ledger, 1, later(600), false),
            Permit::Refused { at: NOW }
        );
        let by_hand = |now| ledger.permit(HOST, Realm::Device, Fingerprint(1), now, false, true);
        assert_eq!(by_hand(later(29)), Permit::Refused { at: NOW });
        assert_eq!(by_hand(later(31)), Permit::Once);
        assert_eq!(
            asked(&ledger, 2, NOW, false),
            Permit::Once,
            "another login may"
        );
    }

    #[test]
    fn two_logins_where_the_maker_locks_four_elsewhere() {
        let mut ledger = Ledger::default();
        for login in 1..=2 {
            tried(&mut ledger, login, AuthUse::Refused, NOW);
        }
        assert_eq!(
            asked(&ledger, 3, later(1), true),
            Permit::Wait { until: later(30) }
        );
        assert_eq!(asked(&ledger, 3, later(1), false), Permit::Once);
        assert_eq!(asked(&ledger, 3, later(31), true), Permit::Once);
        for login in 3..=4 {
            tried(&mut ledger, login, AuthUse::Refused, NOW);
        }
        assert!(matches!(
            asked(&ledger, 5, later(1), false),
            Permit::Wait { .. }
        ));
    }

    #[test]
    fn an_accepted_login_is_free_until_it_is_refused() {
        let mut ledger = Ledger::default();
        tried(&mut ledger, 1, AuthUse::Accepted, NOW);
        tried(&mut ledger, 1, AuthUse::SentNoVerdict, later(1));
        assert_eq!(asked(&ledger, 1, later(2), true), Permit::Known);
        tried(&mut ledger, 1, AuthUse::Refused, later(3));
        assert!(matches!(
            asked(&ledger, 1, later(4), true),
            Permit::Refused { .. }
        ));
    }

    #[test]
    fn a_login_without_verdict_counts_as_tried() {
        let mut ledger = Ledger::default();
        tried(&mut ledger, 1, AuthUse::SentNoVerdict, NOW);
        assert_eq!(
            asked(&ledger, 1, later(1), false),
            Permit::Wait { until: later(30) }
        );
        assert_eq!(asked(&ledger, 1, later(30), false), Permit::Once);
    }

    #[test]
    fn the_onvif_accounts_are_another_list() {
        let mut ledger = Ledger::default();
        tried(&mut ledger, 1, AuthUse::Refused, NOW);
        let onvif = ledger.permit(HOST, Realm::Onvif, Fingerprint(1), NOW, true, false);
        assert_eq!(onvif, Permit::Once);
    }

    #[test]
    fn it_survives_a_restart() {
        let mut ledger = Ledger::default();
        tried(&mut ledger, 1, AuthUse::Refused, NOW);
        let mut again = Ledger::default();
        let (key, json) = ledger.export(HOST, Realm::Device);
        again.import(&key, &json);
        assert_eq!(
            asked(&again, 1, later(1), false),
            Permit::Refused { at: NOW }
        );
        again.import("onvif 10.0.0.9", b"not json");
        again.import("nonsense", b"[]");
    }

    #[test]
    fn fingerprints_tell_user_and_password_apart() {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"k");
        let print = |u: &str, p: &str| Fingerprint::new(&key, &Credentials::new(u, p));
        assert_ne!(print("a", "bc"), print("ab", "c"));
        assert_eq!(print("a", "b"), print("a", "b"));
        let login = Credentials::new("a", "b");
        assert_ne!(
            Fingerprint::by_another_mechanism(&key, &login, "text"),
            print("a", "b")
        );
    }
}
