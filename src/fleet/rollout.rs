//! The order in which documents go out: a few first, then the rest, and a stop when too many fail. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Documents that are out and not answered yet.
const AT_ONCE: usize = 50;

/// What became of one gateway's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// In words.
    Failed(String),
    /// The gateway is away: its document waits for it.
    Away,
}

/// A rollout under way.
#[derive(Debug)]
pub struct Rollout {
    canary: VecDeque<String>,
    /// Of the canary, those that have not succeeded.
    unproved: BTreeSet<String>,
    /// One of the canary failed or went away, or none was there to begin with.
    is_canary_lost: bool,
    rest: VecDeque<String>,
    out: BTreeSet<String>,
    failures_max: usize,
    pub outcomes: BTreeMap<String, Outcome>,
}

impl Rollout {
    /// `gateways` with whether they are online. The first `canary` of those that are go first and alone.
    pub fn new(gateways: Vec<(String, bool)>, canary: usize, failures_max: usize) -> Self {
        let (online, away): (Vec<_>, Vec<_>) =
            gateways.into_iter().partition(|(_, online)| *online);
        let mut online: VecDeque<String> = online.into_iter().map(|(id, _)| id).collect();
        let rest = online.split_off(canary.min(online.len()));
        Self {
            unproved: online.iter().cloned().collect(),
            is_canary_lost: canary > 0
                && online.is_empty()
                && !(rest.is_empty() && away.is_empty()),
            canary: online,
            rest: rest
                .into_iter()
                .chain(away.into_iter().map(|(id, _)| id))
                .collect(),
            out: BTreeSet::new(),
            failures_max,
            outcomes: BTreeMap::new(),
        }
    }

    fn failures(&self) -> usize {
        let is_failed = |outcome: &&Outcome| matches!(outcome, Outcome::Failed(_));
        self.outcomes.values().filter(is_failed).count()
    }

    /// No further document goes out: too many failed, or one of the canary did, whatever may fail later.
    pub fn is_stopped(&self) -> bool {
        self.is_canary_lost || self.failures() > self.failures_max
    }

    /// The gateways whose documents go out now.
    pub fn due(&mut self) -> Vec<String> {
        let mut due = Vec::new();
        if self.is_stopped() {
            return due;
        }
        while self.out.len() < AT_ONCE {
            // The rest waits for all of the canary.
            let id = match self.canary.pop_front() {
                Some(id) => id,
                None if !self.unproved.is_empty() => break,
                None => match self.rest.pop_front() {
                    Some(id) => id,
                    None => break,
                },
            };
            self.out.insert(id.clone());
            due.push(id);
        }
        due
    }

    pub fn note(&mut self, id: &str, outcome: Outcome) {
        if self.out.remove(id) {
            match outcome {
                Outcome::Applied => _ = self.unproved.remove(id),
                _ if self.unproved.contains(id) => self.is_canary_lost = true,
                _ => {}
            }
            self.outcomes.insert(id.to_owned(), outcome);
        }
    }

    /// Those whose answer is awaited.
    pub fn awaited(&self) -> impl Iterator<Item = &String> {
        self.out.iter()
    }

    pub fn is_over(&self) -> bool {
        let has_more = !self.canary.is_empty() || !self.rest.is_empty();
        self.out.is_empty() && (!has_more || self.is_stopped())
    }

    /// Those that were not touched, after a stop.
    pub fn untouched(&self) -> Vec<&String> {
        self.canary.iter().chain(&self.rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateways(count: usize) -> Vec<(String, bool)> {
        (0..count).map(|n| (format!("gw-{n:03}"), n != 1)).collect()
    }

    #[test]
    fn the_canary_goes_first_and_alone() {
        let mut rollout = Rollout::new(gateways(5), 2, 0);
        assert_eq!(
            rollout.due(),
            ["gw-000", "gw-002"],
            "one that is away proves nothing"
        );
        rollout.note("gw-000", Outcome::Applied);
        assert_eq!(rollout.due(), [""; 0]);
        rollout.note("gw-002", Outcome::Applied);
        assert_eq!(rollout.due(), ["gw-003", "gw-004", "gw-001"]);
        for id in ["gw-003", "gw-004", "gw-001"] {
            assert!(!rollout.is_over());
            rollout.note(id, Outcome::Applied);
        }
        assert!(rollout.is_over() && rollout.untouched().is_empty());
    }

    #[test]
    fn too_many_failures_stop_it() {
        let mut rollout = Rollout::new(gateways(9), 0, 1);
        assert_eq!(rollout.due().len(), 9);
        let mut rollout = Rollout::new(gateways(9), 2, 1);
        let first = rollout.due();
        for id in &first {
            rollout.note(id, Outcome::Failed("no answer".into()));
        }
        assert!(rollout.is_stopped() && rollout.is_over());
        assert_eq!(rollout.due(), [""; 0]);
        assert_eq!(rollout.untouched().len(), 7);
    }

    #[test]
    fn a_canary_that_dies_stops_it() {
        for outcome in [Outcome::Failed("refused".into()), Outcome::Away] {
            let mut rollout = Rollout::new(gateways(9), 2, 5);
            rollout.due();
            rollout.note("gw-000", outcome);
            assert!(!rollout.is_over(), "the other one is awaited");
            rollout.note("gw-002", Outcome::Applied);
            assert_eq!(rollout.due(), [""; 0]);
            assert!(rollout.is_over());
            assert_eq!(rollout.untouched().len(), 7);
        }
        // Those that are away prove nothing.
        let mut rollout = Rollout::new(vec![("gw-000".into(), false)], 1, 5);
        assert_eq!(rollout.due(), [""; 0]);
        assert!(rollout.is_over() && rollout.untouched().len() == 1);
        assert!(!Rollout::new(vec![], 1, 0).is_stopped());
    }

    #[test]
    fn not_all_at_once() {
        let mut rollout = Rollout::new(gateways(200), 0, 200);
        assert_eq!(rollout.due().len(), AT_ONCE);
        rollout.note("gw-000", Outcome::Away);
        assert_eq!(rollout.due().len(), 1);
    }
}
