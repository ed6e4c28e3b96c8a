//! Providers whose answers are numbers under which the [`claims`](super::claims) know whom they were made for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt, future::BoxFuture};
use mainstay::{
    ErrorKind,
    actors::{
        cache::{control::CachePolicy, entry::Windows},
        call::{Finish, FrameKind, FullReply, ProviderReply, Request, StreamReply},
        error::ProviderError,
        ports::{Provider, ProviderCall},
        testing::FakeProvider,
    },
};

use super::{
    claims::{Answer, Asked, Claims},
    process::Wall,
};

/// Every so many answers are cut short, or made without something that was asked for.
const CUT: u64 = 7;
const LACKING: u64 = 11;

/// What all authors of one process share.
pub(super) struct Desk {
    pub(super) claims: Arc<Claims>,
    pub(super) wall: Wall,
    pub(super) policy: Mutex<CachePolicy>,
    /// Whole answers being written that others may share, and since when.
    flying: Mutex<BTreeMap<String, u64>>,
    /// Who asked what, by the id of the call.
    pub(super) asked: Mutex<BTreeMap<String, Asked>>,
}

impl Desk {
    pub(super) fn new(claims: &Arc<Claims>, wall: &Wall, policy: CachePolicy) -> Arc<Self> {
        let (flying, asked) = Default::default();
        Arc::new(Self {
            claims: claims.clone(),
            wall: wall.clone(),
            policy: Mutex::new(policy),
            flying,
            asked,
        })
    }

    fn windows(&self, request: &Request) -> Windows {
        let policy = *self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        Windows::new(self.wall.unix_ms(), &policy, &request.cache)
    }
}

/// A flight under way, as long as this lives.
struct Flying(Arc<Desk>, Asked);

impl Flying {
    /// Two of one kind are one too many, unless a purge came between them (CA8).
    fn begin(desk: &Arc<Desk>, asked: &Asked) -> Self {
        let mut flying = desk.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = flying.insert(asked.whole.clone(), asked.begun)
            && !desk.claims.may_part(asked.process, since.min(asked.begun))
        {
            desk.claims.fail(format!("two flights at once for {asked:?}, one since {since}"));
        }
        Self(desk.clone(), asked.clone())
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        let mut flying = self.0.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if flying.get(&self.1.whole) == Some(&self.1.begun) {
            flying.remove(&self.1.whole);
        }
    }
}

/// Does nobody keep the answer, since chance has a part in it?
fn is_passed_by(request: &Request) -> bool {
    &*request.body == b"random" && request.cache.ttl.is_none()
}

pub(super) struct Author {
    pub(super) desk: Arc<Desk>,
    pub(super) fake: FakeProvider,
}

impl Provider for Author {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        Box::pin(async move {
            let request = call.request;
            let id = request.headers.first().map(|(_, id)| id.clone()).unwrap_or_default();
            let asked = self.desk.asked.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
            let Some(asked) = asked else { return Err(ProviderError::new(ErrorKind::BadRequest, "who?")) };
            let alone =
                request.cache.no_cache || request.cache.no_store || request.stream || is_passed_by(request);
            let _flying = (!alone).then(|| Flying::begin(&self.desk, &asked));
            let reply = self.fake.call(call).await?;
            let (claims, request) = (self.desk.claims.clone(), request.clone());
            let serial = claims.next();
            let (cut, lacking) = (serial % CUT == 0, serial % LACKING == 0);
            let good = !cut && !lacking && !request.cache.no_store;
            let lacks = if lacking { vec!["tools"] } else { Vec::new() };
            let finish = cut.then_some(Finish::CutShort);
            let windows = (!request.stream).then(|| self.desk.windows(&request));
            let number = claims.make(Answer { asked, windows, good });
            Ok(match reply {
                ProviderReply::Full(reply) => {
                    let body = number.to_string().into();
                    if reply.finish.is_some() {
                        claims.refuse(number);
                    }
                    let finish = reply.finish.or(finish);
                    ProviderReply::Full(FullReply { body, finish, lacks, ..reply })
                }
                ProviderReply::Stream(reply) => {
                    let desk = self.desk.clone();
                    let frames = reply.frames.map(move |frame| {
                        let mut frame = frame?;
                        frame.bytes = number.to_string().into();
                        if frame.kind == FrameKind::Refusal {
                            claims.refuse(number);
                        }
                        if frame.kind == FrameKind::End {
                            frame.finish = finish;
                            claims.complete(number, desk.windows(&request));
                        }
                        Ok(frame)
                    });
                    ProviderReply::Stream(StreamReply { frames: frames.boxed(), lacks, ..reply })
                }
            })
        })
    }
}
