//! News that come too late change nothing, and are counted.

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};

use super::{
    decision::{Ending, Event},
    supervisor::{ChildNews, News},
    *,
};

/// Keeps one counter and no other.
struct Counting(&'static str, Arc<AtomicU64>);

impl Recorder for Counting {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == self.0 { Counter::from_arc(self.1.clone()) } else { Counter::noop() }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn news_of_a_life_that_is_over_change_nothing_and_are_counted() {
    let counted = Arc::new(AtomicU64::new(0));
    let recorder = Counting("mainstay_late_news_total", counted.clone());
    let _guard = set_default_local_recorder(&recorder);
    let workers = workers(2, |_| ()).await.unwrap();
    workers.handles[0].tell(Order::Panic).unwrap();
    workers.up_again(0).await;
    assert_eq!(counted.load(Ordering::Relaxed), 0, "what happens in order is not late");
    let before = workers.children.snapshot();
    let (child, incarnation) = (0, 1);
    for news in [
        News::Exited(child, incarnation, Exit::Killed),
        News::Waited(Event::BackoffOver { child, incarnation }),
        News::Waited(Event::Overdue { child, incarnation }),
        News::Waited(Event::Exited { child: 99, incarnation, ending: Ending::Normal }),
    ] {
        assert!(workers.children.supervisor().tell(ChildNews(news)).is_ok());
        settle().await;
    }
    assert_eq!(counted.load(Ordering::Relaxed), 4); // R12
    assert_eq!(workers.children.snapshot().render(), before.render());
}
