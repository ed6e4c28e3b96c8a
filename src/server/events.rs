//! Mode, circuit and lifecycle events as Server-Sent Events.
//!
//! A reader first gets a `snapshot` of everything, then every event with its number. One that comes back with
//! `Last-Event-ID` gets what it missed instead; if that is no longer kept, or belongs to an earlier life of
//! the process, it gets a snapshot. Nobody waits for a slow reader.

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures_util::{Stream, StreamExt, stream};
use mainstay_actors::event::{Event, Heard};
use tokio::sync::OwnedSemaphorePermit;

use super::{Gateway, answer::Refusal, api, dialect::Caller, health};

/// A comment at least this often tells both ends that the other is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn follow(
    State(gateway): State<Gateway>,
    caller: Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    let Ok(place) = gateway.0.readers.clone().try_acquire_owned() else {
        let message = "All places for event readers are taken: try again later, or read /status.json.";
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_readers", message).to(&caller);
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let reader = Reader::new(gateway, last, place);
    let mut response = Response::new(Body::from_stream(stream::unfold(reader, Reader::next)));
    api::as_events(&mut response);
    response
}

type Feed = Pin<Box<dyn Stream<Item = Heard<std::sync::Arc<Event>>> + Send>>;

struct Reader {
    gateway: Gateway,
    feed: Feed,
    wants_snapshot: bool,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    fn new(gateway: Gateway, last: Option<&str>, place: OwnedSemaphorePermit) -> Self {
        let events = gateway.0.system.events();
        let seen =
            last.and_then(number).filter(|(boot, seq)| *boot == events.boot() && *seq <= events.newest());
        let feed: Feed = match seen {
            Some((_, seq)) => Box::pin(events.since(seq)),
            None => Box::pin(events.follow()),
        };
        Self { feed, wants_snapshot: seen.is_none(), gateway, _place: place }
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if std::mem::take(&mut self.wants_snapshot) {
            return Some((Ok(self.snapshot().into()), self));
        }
        let draining = self.gateway.0.ending.draining.clone();
        let text = tokio::select! {
            biased;
            heard = self.feed.next() => match heard? {
                Heard::Item(event) => written(&event),
                Heard::Gap(_) => self.snapshot(),
            },
            () = draining.cancelled() => return None,
            () = tokio::time::sleep(KEEP_ALIVE) => ":\n\n".to_string(),
        };
        Some((Ok(text.into()), self))
    }

    fn snapshot(&self) -> String {
        format!("event: snapshot\ndata: {}\n\n", health::whole_status(&self.gateway))
    }
}

/// `boot-seq`, as it stands in the `id` of each event.
fn number(id: &str) -> Option<(u64, u64)> {
    let (boot, seq) = id.split_once('-')?;
    Some((boot.parse().ok()?, seq.parse().ok()?))
}

fn written(event: &Event) -> String {
    // Derived from plain data: it cannot fail, and an empty object would say so.
    let data = serde_json::to_value(event).unwrap_or_default();
    let name = data["type"].as_str().unwrap_or("event");
    format!("id: {}-{}\nevent: {name}\ndata: {data}\n\n", event.boot, event.seq)
}
