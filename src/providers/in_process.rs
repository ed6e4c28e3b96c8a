//! A scripted provider in this process, as a provider: its server runs as long as anybody can ask it, or still
//! reads an answer of it.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use mainstay_actors::{
    call::{ProviderReply, StreamReply},
    error::ProviderError,
    ports::{Provider, ProviderCall},
};

use super::{bilingual::Bilingual, scripted::Scripted};

pub(crate) struct InProcess {
    server: Arc<Scripted>,
    client: Bilingual,
}

impl InProcess {
    pub(crate) fn new(server: Arc<Scripted>, client: Bilingual) -> Self {
        Self { server, client }
    }

    fn kept_alive(&self, reply: StreamReply) -> StreamReply {
        let server = self.server.clone();
        let frames = reply.frames.inspect(move |_| {
            let _ = &server;
        });
        StreamReply { frames: frames.boxed(), ..reply }
    }
}

impl Provider for InProcess {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        async move {
            Ok(match self.client.call(call).await? {
                ProviderReply::Stream(reply) => ProviderReply::Stream(self.kept_alive(reply)),
                whole => whole,
            })
        }
        .boxed()
    }
}
