use super::*;

const RULES: Rules = Rules {
    interval_s: 60,
    failures_to_offline: 2,
    verify_frames: true,
    verify_frames_every_s: Some(600),
    backoff: Backoff {
        first_delay_s: 10,
        max_delay_s: 300,
        max_attempts: 5,
        jitter: 0.0,
    },
    reconnects: true,
    offset_ms: 7_000,
};

/// A camera and a clock: runs whatever is planned.
struct Run {
    watch: Watch,
    now: Timestamp,
    rules: Rules,
}

impl Run {
    fn new() -> Self {
        Self {
            watch: Watch::default(),
            now: Timestamp::from_unix_s(1_000_000),
            rules: RULES,
        }
    }

    /// Goes on to the planned time, checks, and returns the plan with its changes.
    fn next(&mut self, seen: &Seen) -> (Plan, Vec<Change>) {
        let plan = self.watch.plan(&self.rules, self.now);
        self.now = self.now.max(plan.at);
        self.watch.begin(plan.kind, self.now);
        (plan, self.watch.step(seen, &self.rules, self.now, 0.5))
    }

    fn changes(&mut self, seen: &Seen) -> Vec<Change> {
        self.next(seen).1
    }
}

fn up(response_time_ms: u32, frames: Frames) -> Seen {
    Seen::Up {
        response_time_ms,
        first_frame_ms: Some(40),
        media: MediaFacts::default(),
        frames,
    }
}

fn good() -> Seen {
    up(20, Frames::Proven)
}

fn failed(code: ErrorCode) -> Seen {
    Seen::Failed {
        code,
        message: format!("it was {code}"),
    }
}

#[test]
fn a_new_camera_is_looked_at_once_and_its_frames_proven() {
    let mut run = Run::new();
    let (plan, changes) = run.next(&good());
    assert_eq!(
        (plan.at, plan.frames),
        (Timestamp::from_unix_s(1_000_000), true)
    );
    assert!(changes.is_empty());
    assert_eq!(run.watch.shown_grade(), Some(Grade::Excellent));
    let (plan, _) = run.next(&up(20, Frames::NotLooked));
    assert_eq!(
        plan.at.unix_ms() % 60_000,
        7_000,
        "its own slot of the interval"
    );
    assert!(!plan.frames, "frames were proven a minute ago");
}

#[test]
fn frames_are_proven_again_every_ten_minutes() {
    let mut run = Run::new();
    run.next(&good());
    let proven = run.now;
    let looked = (1..=11).find_map(|_| {
        let (plan, _) = run.next(&up(20, Frames::NotLooked));
        plan.frames.then_some(plan.at.ms_since(proven))
    });
    assert!((540_000..=630_000).contains(&looked.unwrap()), "{looked:?}");
}

#[test]
fn one_failure_is_a_suspicion_and_the_second_an_outage() {
    let mut run = Run::new();
    run.next(&good());
    assert!(run.changes(&failed(ErrorCode::Refused)).is_empty());
    assert!(run.watch.suspect);
    assert_eq!(run.watch.span(), None, "undecided time waits");
    assert_eq!(run.watch.shown_grade(), Some(Grade::Excellent));
    let first_failure = run.now;
    let (plan, changes) = run.next(&failed(ErrorCode::Refused));
    assert_eq!(
        (plan.kind, plan.at.ms_since(first_failure)),
        (CheckKind::Recheck, 1_000)
    );
    assert!(matches!(
        changes[..],
        [Change::Offline {
            cause: ErrorCode::Refused,
            ..
        }]
    ));
    assert_eq!(
        run.watch.since,
        Some(first_failure),
        "down since the first failure"
    );
    assert_eq!(run.watch.shown_grade(), Some(Grade::Offline));
}

#[test]
fn a_suspicion_that_passes_leaves_no_trace() {
    let mut run = Run::new();
    run.next(&good());
    run.next(&failed(ErrorCode::Timeout));
    assert!(run.changes(&up(30, Frames::NotLooked)).is_empty());
    assert_eq!(
        (run.watch.disconnections, run.watch.failed_in_a_row),
        (0, 0)
    );
    assert_eq!(run.watch.cause, None);
}

#[test]
fn reconnection_follows_the_specifications_table_then_gives_up() {
    let mut run = Run::new();
    run.next(&good());
    run.next(&failed(ErrorCode::Timeout));
    run.next(&failed(ErrorCode::Timeout));
    let mut delays = Vec::new();
    for attempt in 1..=5 {
        assert_eq!(run.watch.link.state, LinkState::Waiting);
        assert_eq!(run.watch.link.attempt, attempt);
        let before = run.now;
        let (plan, changes) = run.next(&failed(ErrorCode::Timeout));
        assert_eq!(plan.kind, CheckKind::Reconnect);
        delays.push(plan.at.ms_since(before) / 1000);
        assert_eq!(changes.len(), usize::from(attempt == 5), "{changes:?}");
    }
    assert_eq!(delays, [10, 20, 40, 80, 160]);
    assert_eq!(run.watch.link.state, LinkState::GivenUp);
    let told: Vec<_> = run
        .watch
        .link
        .attempts
        .iter()
        .map(|a| (a.attempt, a.delay_s, a.error))
        .collect();
    assert_eq!(told[4], (5, 160, Some(ErrorCode::Timeout)));
}

#[test]
fn a_given_up_camera_is_still_looked_at_and_comes_back() {
    let mut run = Run::new();
    for _ in 0..8 {
        run.next(&failed(ErrorCode::Timeout));
    }
    assert_eq!(run.watch.link.state, LinkState::GivenUp);
    let (plan, changes) = run.next(&failed(ErrorCode::Timeout));
    assert_eq!((plan.kind, plan.frames), (CheckKind::Ordinary, true));
    assert!(changes.is_empty(), "nothing new to say: {changes:?}");
    let changes = run.changes(&good());
    assert!(
        matches!(changes[..], [Change::Online { outage_s: 311.. }]),
        "{changes:?}"
    );
    assert_eq!(run.watch.link.state, LinkState::Connected);
}

#[test]
fn an_answer_without_picture_does_not_end_an_outage() {
    let mut run = Run::new();
    run.next(&failed(ErrorCode::Timeout));
    run.next(&failed(ErrorCode::Timeout));
    assert!(run.changes(&up(10, Frames::Missing)).is_empty());
    assert_eq!(run.watch.confirmed, Confirmed::Down);
    assert_eq!(run.watch.cause, Some(ErrorCode::NoFrame));
}

#[test]
fn a_frozen_camera_that_answers_is_poor_and_degraded() {
    let mut run = Run::new();
    run.next(&good());
    assert!(run.changes(&up(10, Frames::Missing)).is_empty());
    assert_eq!(run.watch.shown_grade(), Some(Grade::Poor));
    let changes = run.changes(&up(10, Frames::NotLooked));
    assert_eq!(
        changes,
        [Change::Degraded {
            cause: Some(ErrorCode::NoFrame)
        }]
    );
    assert_eq!(run.changes(&good()), [Change::Recovered]);
}

#[test]
fn a_refused_login_stops_everything_until_it_is_changed() {
    let mut run = Run::new();
    let changes = run.changes(&failed(ErrorCode::AuthFailed));
    assert!(matches!(
        changes[..],
        [Change::Offline { .. }, Change::AuthRefused { .. }]
    ));
    assert_eq!(run.watch.link.state, LinkState::GivenUp);
    let (plan, changes) = run.next(&Seen::Anonymous);
    assert_eq!(plan.kind, CheckKind::Ordinary);
    assert!(changes.is_empty());
    assert!(
        run.changes(&good()).is_empty(),
        "an anonymous look proves nothing"
    );
    assert_eq!(run.watch.confirmed, Confirmed::Down);

    run.watch.settings_changed();
    assert_eq!(run.watch.plan(&RULES, run.now).at, run.now);
    assert!(matches!(run.changes(&good())[..], [Change::Online { .. }]));
}

#[test]
fn the_operators_reconnect_starts_the_plan_over() {
    let mut run = Run::new();
    for _ in 0..8 {
        run.next(&failed(ErrorCode::Timeout));
    }
    run.watch.reconnect();
    assert_eq!(run.watch.link.state, LinkState::Reconnecting);
    let before = run.now;
    let (plan, changes) = run.next(&failed(ErrorCode::Timeout));
    assert_eq!((plan.at, plan.kind), (before, CheckKind::Reconnect));
    assert!(changes.is_empty());
    assert_eq!(
        (run.watch.link.state, run.watch.link.attempt),
        (LinkState::Waiting, 1)
    );
    assert_eq!(run.watch.link.next_delay_s, Some(10));
}

#[test]
fn busy_is_no_failure() {
    let mut run = Run::new();
    run.next(&good());
    let busy = Seen::NoVerdict {
        code: ErrorCode::Busy,
        connect_ms: Some(700),
        message: "in use".into(),
    };
    for _ in 0..5 {
        assert!(run.changes(&busy).is_empty());
    }
    assert_eq!(
        (run.watch.confirmed, run.watch.suspect),
        (Confirmed::Up, false)
    );
    assert_eq!(
        run.watch.shown_grade(),
        Some(Grade::Good),
        "by the connect time"
    );
}

#[test]
fn three_returns_in_an_hour_cap_the_grade() {
    let mut run = Run::new();
    run.next(&good());
    for _ in 0..3 {
        run.next(&failed(ErrorCode::Reset));
        run.next(&failed(ErrorCode::Reset));
        run.next(&good());
    }
    assert_eq!(run.watch.shown_grade(), Some(Grade::Fair));
    assert_eq!(run.watch.disconnections, 3);
}

#[test]
fn state_survives_a_restart() {
    let mut run = Run::new();
    run.next(&good());
    run.next(&failed(ErrorCode::Timeout));
    run.next(&failed(ErrorCode::Timeout));
    let kept = serde_json::to_vec(&run.watch).unwrap();
    let mut back: Watch = serde_json::from_slice(&kept).unwrap();
    assert_eq!(back, run.watch);
    back.resumed(Timestamp(0));
    assert_eq!(
        back.plan(&RULES, run.now),
        run.watch.plan(&RULES, run.now),
        "the plan goes on"
    );
    assert_eq!(back.confirmed, Confirmed::Down);
}

#[test]
fn endless_attempts_stay_at_the_cap() {
    let mut run = Run::new();
    run.rules.backoff.max_attempts = 0;
    for _ in 0..12 {
        run.next(&failed(ErrorCode::Timeout));
    }
    assert_eq!(run.watch.link.state, LinkState::Waiting);
    assert_eq!(run.watch.link.next_delay_s, Some(300));
}

#[test]
fn one_that_cannot_be_asked_is_awaited_and_never_given_up() {
    let mut run = Run::new();
    run.rules.reconnects = false;
    run.rules.failures_to_offline = 1;
    run.watch.step(&Seen::Heard, &run.rules, run.now, 0.5);
    let silent = Seen::Failed {
        code: ErrorCode::Timeout,
        message: "silent".into(),
    };
    let mut changes = run.next(&silent).1;
    assert!(
        matches!(changes[..], [Change::Offline { .. }]),
        "{changes:?}"
    );
    for _ in 0..20 {
        let (plan, more) = run.next(&silent);
        assert_eq!(plan.kind, CheckKind::Ordinary);
        changes.extend(more);
    }
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(run.watch.reconnect_attempts, 0);
    assert_eq!(run.watch.link.state, LinkState::Waiting);
    let (_, changes) = run.next(&Seen::Heard);
    assert!(
        matches!(changes[..], [Change::Online { .. }]),
        "{changes:?}"
    );
}
