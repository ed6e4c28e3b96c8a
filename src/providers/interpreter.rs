//! A provider that is asked in the other dialect too.
//!
//! Asked in its own, or for what is never translated, it is left alone: bytes pass through untouched (GW2). What
//! becomes of a request in the other dialect is decided by [`translate`].

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{TryStreamExt, future::BoxFuture};
use mainstay_actors::{
    call::{Api, FullReply, ProviderReply, Request, StreamReply},
    error::{ErrorKind, ProviderError},
    ports::{Provider, ProviderCall},
};

use super::{
    anthropic::BETA,
    body,
    translate::{self, Back, Translated},
};

/// A provider with an interpreter beside it.
#[derive(Debug)]
pub struct Interpreter<P> {
    provider: P,
    speaks: Api,
}

impl<P: Provider> Interpreter<P> {
    /// For a provider that speaks `speaks`: chat completions or messages.
    pub fn new(provider: P, speaks: Api) -> Self {
        Self { provider, speaks }
    }

    async fn interpret(&self, call: ProviderCall<'_>) -> Result<ProviderReply, ProviderError> {
        let Request { api, body, stream, .. } = call.request;
        let Translated { body, mut lacks, back } =
            translate::request((*api, self.speaks), body, call.model, *stream, unix_seconds())?;
        lacks.extend(call.request.headers.iter().map(|(name, _)| *name).filter(|name| *name == BETA));
        let asked = body::read(self.speaks, body)
            .map_err(|wrong| ProviderError::new(ErrorKind::BadRequest, wrong.message))?;
        // The caller's headers belong to the words that it has used.
        let request = Request { id: call.request.id.clone(), ..asked.request };
        let reply = self.provider.call(ProviderCall { request: &request, ..call }).await;
        reply.map_err(|error| back.error(error)).and_then(|reply| told(reply, back, lacks))
    }
}

impl<P: Provider> Provider for Interpreter<P> {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        if translate::is_possible(call.request.api, self.speaks) {
            Box::pin(self.interpret(call))
        } else {
            self.provider.call(call)
        }
    }

    fn probe(&self) -> Option<BoxFuture<'_, Result<(), ProviderError>>> {
        self.provider.probe()
    }
}

fn told(reply: ProviderReply, back: Back, lacks: Vec<&'static str>) -> Result<ProviderReply, ProviderError> {
    match reply {
        ProviderReply::Full(full) => match back.answer(&full.body) {
            Ok(body) => Ok(ProviderReply::Full(FullReply { body, lacks, ..full })),
            Err(error) => Err(ProviderError { request_id: full.request_id, ..error }),
        },
        ProviderReply::Stream(StreamReply { frames, request_id, allowances, .. }) => {
            let frames = back.stream().frames(Box::pin(frames.map_err(move |error| back.error(error))));
            Ok(ProviderReply::Stream(StreamReply { frames, request_id, allowances, lacks }))
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use mainstay_actors::call::{Frame, Usage};
    use serde_json::{Value, json};

    use super::*;
    use crate::providers::{
        anthropic::Anthropic,
        openai::OpenAi,
        scripted::{Fault, Scripted},
        testing::{Ended, KEY, call, http, http_answer, raw, scripted, streamed, whole},
    };

    fn asked(api: Api, more: &Value) -> Request {
        let mut body = json!({"model": "chain", "messages": [{"role": "user", "content": "hi there"}]});
        if api == Api::Messages {
            body["max_tokens"] = 100.into();
        }
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body::read(api, body.to_string().into()).unwrap().request
    }

    /// Each dialect's caller, and a provider that speaks the other one.
    async fn pairs() -> [(Api, Scripted, Box<dyn Provider>); 2] {
        let (a, b) = (scripted().await, scripted().await);
        let anthropic = Anthropic::new(http(), &a.base_url(), None).unwrap();
        let openai = OpenAi::new(http(), &b.base_url(), None).unwrap();
        [
            (Api::Chat, a, Box::new(Interpreter::new(anthropic, Api::Messages))),
            (Api::Messages, b, Box::new(Interpreter::new(openai, Api::Chat))),
        ]
    }

    #[tokio::test]
    async fn a_whole_answer_comes_in_the_caller_s_words_with_what_it_lacks() {
        for (api, _server, provider) in pairs().await {
            let lacking = if api == Api::Chat { json!({"seed": 1}) } else { json!({"top_k": 1}) };
            let Ok(ProviderReply::Full(full)) = call(&*provider, &asked(api, &lacking), "m-1").await else {
                panic!("no whole answer")
            };
            let body: Value = serde_json::from_slice(&full.body).unwrap();
            let text = match api {
                Api::Chat => &body["choices"][0]["message"]["content"],
                _ => &body["content"][0]["text"],
            };
            assert_eq!((text, &body["model"]), (&json!("Echo from scripted: hi there"), &json!("m-1"))); // GW2
            assert_eq!(full.usage, Some(Usage { input_tokens: 2, output_tokens: 5 }));
            assert_eq!(full.request_id.as_deref(), Some("call-1"));
            assert_eq!(full.lacks, [if api == Api::Chat { "seed" } else { "top_k" }]);
        }
    }

    #[tokio::test]
    async fn a_stream_comes_in_the_caller_s_words_piece_by_piece() {
        for (api, _server, provider) in pairs().await {
            let request = Request { stream: true, ..asked(api, &json!({})) };
            let Ok(ProviderReply::Stream(reply)) = call(&*provider, &request, "m").await else {
                panic!("no stream")
            };
            let frames: Vec<Frame> = reply.frames.map(Result::unwrap).collect().await;
            let all: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
            let all = String::from_utf8(all).unwrap();
            let (end, piece) = match api {
                Api::Chat => ("data: [DONE]\n\n", r#""delta":{"content":"Echo "}"#),
                _ => ("data: {\"type\":\"message_stop\"}\n\n", r#""text":"Echo ""#),
            };
            assert!(all.ends_with(end) && all.contains(piece), "{all}"); // GW2
            let used = frames.iter().rev().find_map(|frame| frame.usage);
            assert_eq!(used, Some(Usage { input_tokens: 2, output_tokens: 5 }), "{api:?}"); // PC19
        }
    }

    #[tokio::test]
    async fn a_stream_that_breaks_has_no_end_in_either_dialect() {
        for (api, server, provider) in pairs().await {
            for events in 0..9 {
                for fault in [Fault::CutAfter(events), Fault::ResetAfter(events), Fault::ErrorAfter(events)] {
                    server.set_default_fault(Some(fault.clone()));
                    let (_, ended) = streamed(&*provider, &asked(api, &json!({})), "m").await;
                    assert!(matches!(ended, Ended::Short | Ended::Failed(_)), "{api:?}: {fault}: {ended:?}"); // RS6
                }
            }
        }
    }

    #[tokio::test]
    async fn an_error_is_told_in_the_caller_s_words() {
        for (api, server, provider) in pairs().await {
            server.set_default_fault("status=429; retry-after=2".parse().ok());
            let error = call(&*provider, &asked(api, &json!({})), "m").await.err().unwrap();
            assert_eq!((error.kind, error.status), (ErrorKind::RateLimited, Some(429)));
            assert_eq!(error.retry_after.map(|wait| wait.as_secs()), Some(2)); // PC13
            let body: Value = serde_json::from_slice(&error.body.unwrap()).unwrap();
            assert_eq!(body["type"] == "error", api == Api::Messages, "{body}"); // GW4
            assert_eq!(body["error"]["type"], "rate_limit_error");
        }
    }

    #[tokio::test]
    async fn a_translation_that_is_refused_is_no_verdict_on_the_caller_s_own_words() {
        for (api, server, provider) in pairs().await {
            server.set_default_fault(Some(Fault::status(400)));
            assert_eq!(
                whole(&*provider, &asked(api, &json!({})), "m").await,
                Ended::Failed(ErrorKind::Unsupported)
            );
        }
    }

    #[tokio::test]
    async fn what_cannot_be_translated_is_not_sent() {
        for (api, server, provider) in pairs().await {
            let wish = if api == Api::Chat { json!({"n": 2}) } else { json!({"container": "c"}) };
            let error = call(&*provider, &asked(api, &wish), "m").await.err().unwrap();
            assert_eq!((error.kind, server.requests()), (ErrorKind::Unsupported, 0));
        }
    }

    #[tokio::test]
    async fn a_beta_that_the_caller_asks_for_is_named() {
        let [_, (api, _server, provider)] = pairs().await;
        let request = asked(api, &json!({})).header(BETA, "b").header("anthropic-version", "2023-06-01");
        let Ok(ProviderReply::Full(full)) = call(&*provider, &request, "m").await else {
            panic!("no answer")
        };
        assert_eq!(full.lacks, [BETA]);
    }

    #[tokio::test]
    async fn a_probe_asks_for_the_list_of_models_and_tells_who_cannot_be_reached() {
        for (_, server, provider) in pairs().await {
            assert!(provider.probe().unwrap().await.is_ok());
            assert_eq!(server.requests(), 0, "a probe asks no model");
            server.stop().await;
            assert_eq!(provider.probe().unwrap().await.unwrap_err().kind, ErrorKind::Connect); // PC21
        }
        let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        let key = || Some(KEY.to_string().into());
        let (base_url, heard) = raw(refusal).await;
        let openai = Interpreter::new(OpenAi::new(http(), &base_url, key()).unwrap(), Api::Chat);
        assert_eq!(openai.probe().unwrap().await.unwrap_err().kind, ErrorKind::Auth);
        let heard = heard.await;
        assert!(heard.starts_with("GET /v1/models HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains(&format!("authorization: Bearer {KEY}\r\n")), "{heard}");
        let (base_url, heard) = raw(refusal).await;
        let anthropic = Interpreter::new(Anthropic::new(http(), &base_url, key()).unwrap(), Api::Messages);
        assert_eq!(anthropic.probe().unwrap().await.unwrap_err().kind, ErrorKind::Auth);
        let heard = heard.await;
        assert!(heard.starts_with("GET /v1/models HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains(&format!("x-api-key: {KEY}\r\n")) && heard.contains("anthropic-version: "));
    }

    #[tokio::test]
    async fn its_own_dialect_passes_through_byte_for_byte() {
        let body = r#"{"model":"m","max_tokens":1e0,"odd" :[ 1e999,"\u00e9" ],"stream" :STREAM ,"messages":[{"new":1}]}"#;
        let chunks = concat!(
            ": odd\r\n\r\n",
            "data: { \"odd\" :[1e999],\"choices\":[{\"delta\":{\"odd\":\"\\u00e9\"},\"finish_reason\":\"odd\"}]}\n\n",
            "data:  [DONE]\n\n",
        );
        let events = concat!(
            "event: odd\r\ndata: {\"type\":\"odd\", \"x\":1e999}\r\n\r\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"odd\":1,\"delta\":{\"stop_reason\":\"odd\"}}\n\n",
            "event: message_stop\ndata: { \"type\" :\"message_stop\",\"odd\":\"\\u00e9\"}\n\n",
        );
        for (api, stream, answer) in [
            (Api::Chat, false, r#"{ "choices" : [ ],"odd":[1e999,"\u00e9"]}"#),
            (Api::Chat, true, chunks),
            (Api::Messages, false, r#"{ "content" : [ ],"odd":[1e999,"\u00e9"]}"#),
            (Api::Messages, true, events),
        ] {
            let kind = if stream { "text/event-stream" } else { "application/json" };
            let (base_url, heard) = raw(http_answer(&format!("content-type: {kind}"), answer)).await;
            let provider: Box<dyn Provider> = match api {
                Api::Chat => Box::new(Interpreter::new(OpenAi::new(http(), &base_url, None).unwrap(), api)),
                _ => Box::new(Interpreter::new(Anthropic::new(http(), &base_url, None).unwrap(), api)),
            };
            let body = body.replace("STREAM", &stream.to_string());
            let request = body::read(api, body.clone().into()).unwrap().request;
            let (got, lacks) = match call(&*provider, &request, "m").await.unwrap() {
                ProviderReply::Full(full) => (full.body.to_vec(), full.lacks),
                ProviderReply::Stream(reply) => {
                    let frames: Vec<Frame> = reply.frames.map(Result::unwrap).collect().await;
                    (frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect(), reply.lacks)
                }
            };
            assert_eq!((String::from_utf8(got).unwrap().as_str(), lacks.len()), (answer, 0), "{api:?}"); // GW2
            let heard = heard.await;
            assert!(heard.ends_with(&format!("\r\n\r\n{body}")), "{heard}"); // GW2
        }
    }
}
