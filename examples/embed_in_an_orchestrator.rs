//! An orchestrator asks several providers and combines their answers; some of them are in trouble.
//!
//! It brings providers of its own, asks each through a chain with a stand-in, and goes on with what it gets.
//! Run it with `cargo run --example embed_in_an_orchestrator`. It prints:
//!
//! ```text
//! optimist: "It will work." (optimist, 1 attempt)
//! pessimist: "It depends." (stand-in, 2 attempts)
//! oracle: no answer: no provider answered: 1. oracle/default: overloaded (gone to Delphi, 0 ms). Next: try again later
//! combined: It will work. It depends.
//! streamed: It | will | work.
//! shut down in order: true
//! ```

#![allow(clippy::print_stdout)] // Printing is what an example does.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use mainstay::{
    ChainPolicy, ErrorKind, Frame, FrameKind, Provider, ProviderCall, ProviderError, Reply, Runtime,
    actors::call::{FullReply, ProviderReply, StreamReply},
    completion, delta_of, text_of,
};
use serde_json::json;

/// A provider that always says the same, or always fails.
struct Says(Result<&'static str, &'static str>);

impl Provider for Says {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        async move {
            let text = self.0.map_err(|why| ProviderError::new(ErrorKind::Overloaded, why))?;
            Ok(if call.request.stream { ProviderReply::Stream(word_by_word(text)) } else { whole(text) })
        }
        .boxed()
    }
}

fn whole(text: &str) -> ProviderReply {
    let body = json!({ "choices": [{ "message": { "role": "assistant", "content": text } }] });
    ProviderReply::Full(FullReply::new(body.to_string()))
}

fn word_by_word(text: &'static str) -> StreamReply {
    let content = |word: &str| {
        let chunk = json!({ "choices": [{ "delta": { "content": word } }] });
        Frame::new(format!("data: {chunk}\n\n"), FrameKind::Content)
    };
    let end = Frame::new("data: [DONE]\n\n", FrameKind::End);
    let frames = text.split(' ').map(content).chain([end]).map(Ok);
    StreamReply::new(stream::iter(frames.collect::<Vec<_>>()).boxed())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at_once = ChainPolicy { retries: 0, ..ChainPolicy::default() };
    let runtime = Runtime::builder()
        .provider("optimist", Says(Ok("It will work.")))
        .provider("pessimist", Says(Err("not in the mood")))
        .provider("oracle", Says(Err("gone to Delphi")))
        .provider("stand-in", Says(Ok("It depends.")))
        .chain("optimist", ["optimist", "stand-in"])
        .chain("pessimist", ["pessimist", "stand-in"])
        .chain_with("oracle", ["oracle"], at_once)
        .start()
        .await?;

    let mut combined = Vec::new();
    for name in ["optimist", "pessimist", "oracle"] {
        match runtime.chain(name)?.call(completion("Will it work?")).await {
            Ok(reply) => {
                println!("{name}: {}", told(&reply));
                combined.extend(text_of(&reply));
            }
            Err(error) => println!("{name}: no answer: {error}"),
        }
    }
    println!("combined: {}", combined.join(" "));

    let frames = runtime.chain("optimist")?.stream(completion("Will it work?")).await?;
    let words: Vec<_> = frames.filter_map(async |frame| delta_of(&frame.ok()?)).collect().await;
    println!("streamed: {}", words.join(" | "));

    println!("shut down in order: {}", runtime.shutdown(Duration::from_secs(5)).await.is_clean());
    Ok(())
}

fn told(reply: &Reply) -> String {
    let attempts = reply.story.attempts();
    let plural = if attempts == 1 { "" } else { "s" };
    let text = text_of(reply).unwrap_or_default();
    format!("{text:?} ({}, {attempts} attempt{plural})", reply.story.provider)
}
