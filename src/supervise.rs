//! Keeps named tasks running: a hostile device may cost one task's run, not the gateway. The one
//! place where a failed task is started again; when that does not help, the whole daemon gives
//! up and the service manager takes over.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

#[cfg(panic = "abort")]
compile_error!("supervision needs panic = \"unwind\": with abort one panic ends the gateway");

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Tasks that panicked since the start, for the metrics.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// How a failed task is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// Delay after the first failure; it doubles with each further one.
    pub first_delay: Duration,
    /// Longest delay. A run that lasted longer than this starts the count anew.
    pub ceiling: Duration,
    /// With this many failures in a row the task is given up.
    pub failures_max: u32,
    /// What a task gets to end by itself once `stop` is cancelled.
    pub drain: Duration,
}

impl Default for Restarts {
    /// 1, 2, 4, 8, ... s up to 60 s; given up at the tenth failure in a row; 3 s to drain.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            ceiling: Duration::from_secs(60),
            failures_max: 10,
            drain: Duration::from_secs(3),
        }
    }
}

impl Restarts {
    /// The delay after this many failures in a row, or `None`: give up.
    pub fn delay(&self, failures: u32) -> Option<Duration> {
        if failures >= self.failures_max {
            return None;
        }
        let doublings = failures.saturating_sub(1).min(31);
        let delay = self.first_delay.saturating_mul(1 << doublings);
        Some(delay.min(self.ceiling))
    }
}

/// A task that failed too often.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{task} failed {failures} times in a row, the last time with: {last_error}")]
pub struct GaveUp {
    pub task: &'static str,
    pub failures: u32,
    pub last_error: String,
}

/// Runs `work` until it ends well or `stop` is cancelled, and again after each error or panic.
/// `work` should watch `stop` itself; what has not ended `drain` later is cut off.
///
/// # Errors
/// [`GaveUp`], and the daemon has to end.
pub async fn keep_running<W, F, E>(
    task: &'static str,
    restarts: Restarts,
    stop: CancellationToken,
    mut work: W,
) -> Result<(), GaveUp>
where
    W: FnMut() -> F,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let mut failures = 0;
    loop {
        let started = Instant::now();
        let run = AbortOnDrop(tokio::spawn(work()));
        let Some(error) = outcome(task, run, restarts.drain, &stop).await else {
            return Ok(());
        };
        failures = if started.elapsed() > restarts.ceiling {
            1
        } else {
            failures + 1
        };
        let Some(delay) = restarts.delay(failures) else {
            return Err(GaveUp {
                task,
                failures,
                last_error: error,
            });
        };
        tracing::warn!(task, %error, failures, delay_ms = delay.as_millis() as u64, "task failed, restarting");
        if stop.run_until_cancelled(sleep(delay)).await.is_none() {
            return Ok(());
        }
    }
}

/// The error of one run; `None` when it ended well or was stopped.
async fn outcome<E: Display>(
    task: &'static str,
    mut run: AbortOnDrop<Result<(), E>>,
    drain: Duration,
    stop: &CancellationToken,
) -> Option<String> {
    let ended = match stop.run_until_cancelled(&mut run.0).await {
        Some(ended) => ended,
        None => match timeout(drain, &mut run.0).await {
            Ok(ended) => {
                if let Some(error) = error_of(ended) {
                    tracing::warn!(task, %error, "task failed while stopping");
                }
                return None;
            }
            Err(_) => {
                tracing::warn!(
                    task,
                    drain_ms = drain.as_millis() as u64,
                    "task did not end in time and was cut off"
                );
                return None;
            }
        },
    };
    error_of(ended)
}

fn error_of<E: Display>(ended: Result<Result<(), E>, JoinError>) -> Option<String> {
    match ended {
        Ok(result) => result.err().map(|error| error.to_string()),
        Err(join) => {
            let text = match join.try_into_panic() {
                Ok(payload) => panic_text(payload.as_ref()),
                Err(join) => return Some(join.to_string()),
            };
            PANICS.fetch_add(1, Ordering::Relaxed);
            Some(format!("panic: {text}"))
        }
    }
}

/// Makes every panic one log line with its place, in tasks and in threads. For the daemon.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = panic_text(panic.payload());
        tracing::error!(place = place.unwrap_or_default(), "panic: {text}");
    }));
}

/// What a panic said, if it said it in words.
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// A run must not outlive its supervisor.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    /// Runs `work`, which gets the number of its run from 1 on.
    async fn supervised<F>(work: impl Fn(u32) -> F) -> (Result<(), GaveUp>, u32, Duration)
    where
        F: Future<Output = Result<(), &'static str>> + Send + 'static,
    {
        let runs = AtomicU32::new(0);
        let started = Instant::now();
        let run = || work(runs.fetch_add(1, Ordering::Relaxed) + 1);
        let result = keep_running("test", Restarts::default(), CancellationToken::new(), run).await;
        (result, runs.load(Ordering::Relaxed), started.elapsed())
    }

    #[test]
    fn delays_double_up_to_the_ceiling() {
        let restarts = Restarts::default();
        let delays: Vec<_> = (1..=10)
            .map(|n| restarts.delay(n).map(|d| d.as_secs()))
            .collect();
        let expected = [1, 2, 4, 8, 16, 32, 60, 60, 60].map(Some);
        assert_eq!(delays[..9], expected);
        assert_eq!(delays[9], None);
        let patient = Restarts {
            failures_max: u32::MAX,
            ..restarts
        };
        assert_eq!(patient.delay(4_000_000), Some(restarts.ceiling));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_the_bound() {
        let (result, runs, took) = supervised(|_| async { Err("no luck") }).await;
        let gave_up = result.unwrap_err();
        assert_eq!((gave_up.failures, runs), (10, 10));
        assert_eq!(took.as_secs(), 1 + 2 + 4 + 8 + 16 + 32 + 60 * 3);
        assert_eq!(
            gave_up.to_string(),
            "test failed 10 times in a row, the last time with: no luck"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure_that_is_counted() {
        let before = panics();
        let work = |run| async move {
            assert!(run > 1, "run {run}");
            Ok(())
        };
        let (result, runs, _) = supervised(work).await;
        assert_eq!((result, runs), (Ok(()), 2));
        assert!(panics() > before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_run_starts_the_count_anew() {
        let work = |run| async move {
            sleep(Duration::from_secs(61)).await;
            if run < 50 {
                Err("once an hour")
            } else {
                Ok(())
            }
        };
        let (result, runs, _) = supervised(work).await;
        assert_eq!((result, runs), (Ok(()), 50));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_drains_then_cuts_off() {
        let stop = CancellationToken::new();
        let drained = Arc::new(AtomicU32::new(0));
        let polite = {
            let (stop, drained) = (stop.clone(), Arc::clone(&drained));
            move || {
                let (stop, drained) = (stop.clone(), Arc::clone(&drained));
                async move {
                    stop.cancelled().await;
                    sleep(Duration::from_secs(1)).await;
                    drained.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, String>(())
                }
            }
        };
        let deaf = || std::future::pending::<Result<(), String>>();
        let polite = keep_running("polite", Restarts::default(), stop.clone(), polite);
        let deaf = keep_running("deaf", Restarts::default(), stop.clone(), deaf);
        let both = tokio::spawn(async move { tokio::join!(polite, deaf) });
        tokio::task::yield_now().await;
        let started = Instant::now();
        stop.cancel();
        assert_eq!(both.await.unwrap(), (Ok(()), Ok(())));
        assert_eq!(drained.load(Ordering::Relaxed), 1);
        assert_eq!(started.elapsed(), Restarts::default().drain);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_the_wait_between_two_runs() {
        let stop = CancellationToken::new();
        let work = || async { Err("no") };
        let running = tokio::spawn(keep_running(
            "test",
            Restarts::default(),
            stop.clone(),
            work,
        ));
        sleep(Duration::from_millis(500)).await;
        stop.cancel();
        assert_eq!(running.await.unwrap(), Ok(()));
    }
}
