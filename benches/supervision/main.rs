//! What supervision costs, beside raw tokio, kameo and ractor alone, in the same run.
//!
//! Absolute times depend on the machine; read the ratios within one group and one scheduler. docs/benchmarks.md
//! has them, beside what they should be. The sides do the same work, each in its own module, on one thread: with
//! two, waking the other one costs more than what is compared here.
//!
//! Run with `cargo bench --bench supervision`.

#![allow(clippy::unwrap_used)] // A benchmark that cannot set up has nothing to measure.

use divan::{Bencher, Divan};

use common::{DEADLINE, SCHEDULERS, Scheduler, run, silence_rehearsals};

mod common;
mod ours;
mod peer_kameo;
mod peer_ractor;
mod peer_tokio;

fn main() {
    silence_rehearsals();
    // So many that the first ones, which find nothing in the caches, do not count.
    Divan::default().sample_count(1000).config_with_args().main();
}

/// A hundred questions to an actor that is up, one after the other. Ours always has a deadline.
mod call {
    use super::*;

    #[divan::bench(args = SCHEDULERS)]
    fn mainstay(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = ours::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.calls()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_tokio(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_tokio::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.calls()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_tokio_with_timeout(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_tokio::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.calls_with_timeout()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_kameo(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_kameo::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.calls()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_kameo_with_timeout(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_kameo::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.calls_with_timeout()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_ractor(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_ractor::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.calls(None)));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_ractor_with_timeout(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_ractor::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.calls(Some(DEADLINE))));
    }
}

/// A temporary child is started and ended under a supervisor, ten times.
mod start_and_stop {
    use super::*;

    #[divan::bench(args = SCHEDULERS)]
    fn mainstay(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = ours::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.starts_and_stops()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_tokio(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_tokio::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.starts_and_stops()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_kameo(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_kameo::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.starts_and_stops()));
    }
}

/// A call lets the actor panic, and its next life answers one, ten times; without any backoff.
mod crash_to_answer {
    use super::*;

    #[divan::bench(args = SCHEDULERS)]
    fn mainstay(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = ours::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.crashes()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_tokio(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_tokio::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.crashes()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_kameo(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_kameo::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.crashes()));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_ractor(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_ractor::Side::new(scheduler);
        bencher.bench_local(|| run(&side.tokio, side.crashes()));
    }
}

/// One event, until the last of 1000 subscribers has it: tasks that read a subscription, or actors that are told.
mod fan_out {
    use super::*;

    #[divan::bench(args = SCHEDULERS)]
    fn mainstay_events(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = ours::Side::new(scheduler);
        let arrivals = side.subscribe_to_events();
        bencher.bench_local(|| run(&side.tokio, side.publish(&arrivals)));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn mainstay_mode(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = ours::Side::new(scheduler);
        let (arrivals, reporter) = side.subscribe_to_mode();
        let mut reasons = ["one", "another"].into_iter().cycle();
        bencher.bench_local(|| {
            let reason = reasons.next().unwrap();
            run(&side.tokio, ours::change_mode(&reporter, reason, &arrivals));
        });
    }

    #[divan::bench(args = SCHEDULERS)]
    fn mainstay_tells(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = ours::Side::new(scheduler);
        let (arrivals, actors) = side.start_audience();
        bencher.bench_local(|| run(&side.tokio, ours::tell_all(&actors, &arrivals)));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_tokio_broadcast(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_tokio::Side::new(scheduler);
        let (arrivals, sender) = side.subscribe();
        bencher.bench_local(|| run(&side.tokio, peer_tokio::broadcast(&sender, &arrivals)));
    }

    #[divan::bench(args = SCHEDULERS)]
    fn peer_kameo_tells(bencher: Bencher<'_, '_>, scheduler: Scheduler) {
        let side = peer_kameo::Side::new(scheduler);
        let (arrivals, actors) = side.start_audience();
        bencher.bench_local(|| run(&side.tokio, peer_kameo::tell_all(&actors, &arrivals)));
    }
}
