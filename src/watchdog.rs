//! Notices when the runtime itself stands still: when code that blocks holds all its threads.
//!
//! No task can notice that, so a plain thread does: it looks at a heartbeat that a task keeps up. It can only
//! tell; what blocks cannot be ended from outside.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use mainstay_actors::{
    commons::Commons,
    event::EventKind,
    mode::board::{Concern, Health, Reporter},
};

/// The heart beats this often within the limit.
const BEATS: u32 = 4;

/// A watch over one runtime; dropped, it ends.
pub(crate) struct Watchdog {
    ended: Arc<AtomicBool>,
}

struct Watch {
    limit: Duration,
    beat: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    commons: Commons,
    reporter: Reporter,
}

impl Watchdog {
    /// Watches the runtime that this is called in; it tells when nothing has run for `limit`.
    pub(crate) fn start(limit: Duration, commons: &Commons) -> std::io::Result<Self> {
        let (beat, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let heart = beat.clone();
        commons.tasks.spawn(async move {
            loop {
                heart.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(limit / BEATS).await;
            }
        });
        let reporter = commons.health.reporter(&"runtime".into(), "blocked", Concern::Own);
        let watch = Watch { limit, beat, ended: ended.clone(), commons: commons.clone(), reporter };
        thread::Builder::new().name("mainstay-watchdog".into()).spawn(move || watch.run())?;
        Ok(Self { ended })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    fn run(self) {
        let (mut last, mut silent) = (0, 0);
        while !self.ended.load(Ordering::Relaxed) {
            thread::sleep(self.limit / BEATS);
            let beat = self.beat.load(Ordering::Relaxed);
            if beat != last {
                if silent > BEATS {
                    self.reporter.clear();
                }
                (last, silent) = (beat, 0);
                continue;
            }
            silent += 1;
            // Once a standstill: the next line is that it is over.
            if silent == BEATS + 1 {
                self.tell();
            }
        }
    }

    fn tell(&self) {
        let limit_ms = self.limit.as_millis() as u64;
        metrics::counter!("mainstay_runtime_blocked_total").increment(1);
        tracing::error!(limit_ms, "the runtime stands still: some code blocks its threads");
        self.commons.events.publish(EventKind::RuntimeBlocked { limit_ms });
        let text = format!("nothing ran for {limit_ms} ms: some code blocks the runtime's threads");
        self.reporter.report(Health::Degraded, &text, None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mainstay_actors::clock::SystemClock;

    use super::*;

    #[tokio::test]
    async fn a_runtime_that_is_blocked_is_noticed_from_outside_and_said_to_be_well_again() {
        let commons = Commons::new(Arc::new(SystemClock), 1, 1);
        let dog = Watchdog::start(Duration::from_millis(80), &commons).unwrap();
        let health = || commons.health.rows()[0].health;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(health(), Health::Ok, "waiting is not blocking");
        let blocked = Instant::now();
        while health() == Health::Ok {
            assert!(blocked.elapsed() < Duration::from_secs(10), "nobody noticed");
            thread::sleep(Duration::from_millis(5)); // B10: this blocks the only thread there is
        }
        let told = commons.events.recent();
        assert!(told.iter().any(|event| matches!(event.kind, EventKind::RuntimeBlocked { limit_ms: 80 })));
        while health() != Health::Ok {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(blocked.elapsed() < Duration::from_secs(20), "nobody noticed that it is over");
        }
        drop(dog);
        commons.tasks.close().await;
    }
}
