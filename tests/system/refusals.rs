//! What a provider says beside its answer, from the wire to the caller: that a content policy refuses, and whether to
//! try again.

use mainstay::{Config, Runtime, providers::scripted::Scripted, server::GatewayLimits};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Answer, Speaks, answered, http, scripted};

const WHOLE_CHAT: &str =
    r#"{ "choices" : [{"index":0,"message":{"content":""},"finish_reason":"content_filter"}] }"#;
const WHOLE_MESSAGE: &str = r#"{ "type":"message", "content" : [], "stop_reason":"refusal" }"#;
const CHAT: &str = concat!(
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n",
    "data: [DONE]\n\n",
);
const MESSAGE: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

/// Each form of a refusal: who speaks so, as a stream or not.
const REFUSALS: [(Speaks, bool, &str); 4] = [
    (Speaks::OpenAi, false, WHOLE_CHAT),
    (Speaks::OpenAi, true, CHAT),
    (Speaks::Anthropic, false, WHOLE_MESSAGE),
    (Speaks::Anthropic, true, MESSAGE),
];

fn exactly(answer: &str) -> String {
    let kind = if answer.starts_with('{') { "application/json" } else { "text/event-stream" };
    format!("exact=200; content-type={kind}; body={answer}")
}

struct World {
    strict: Scripted,
    lenient: Scripted,
    _runtime: Runtime,
    url: String,
}

impl World {
    async fn start(speaks: Speaks, fault: &str, more: &str) -> Self {
        let (strict, lenient) = (scripted("strict").await, scripted("lenient").await);
        strict.set_default_fault(Some(fault.parse().unwrap()));
        let provider = |name, url: &str| {
            format!("[provider.{name}]\nkind = \"{}\"\nbase_url = \"{url}\"\n", speaks.kind())
        };
        let providers = provider("strict", &strict.base_url()) + &provider("lenient", &lenient.base_url());
        let text = format!("{providers}[chain.chat]\ntargets = [\"strict/m\"]\n{more}");
        let config = Config::from_toml(&text, "test.toml", &|_| None).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{}", socket.local_addr().unwrap(), speaks.path());
        let builder = Runtime::builder().config(config).gateway(socket, GatewayLimits::default(), None);
        Self { strict, lenient, _runtime: builder.start().await.unwrap(), url }
    }

    async fn ask(&self, stream: bool) -> Answer {
        let messages = json!([{"role": "user", "content": "hi there"}]);
        let body = json!({"model": "chat", "max_tokens": 9, "stream": stream, "messages": messages});
        answered(http().post(&self.url).header("content-type", "application/json").body(body.to_string()))
            .await
    }
}

#[tokio::test]
async fn a_refusal_is_answered_by_those_whom_the_chain_has_for_it() {
    for (speaks, stream, refusal) in REFUSALS {
        let world = World::start(speaks, &exactly(refusal), "when_filtered = [\"lenient/m\"]").await;
        let answer = world.ask(stream).await;
        let said = if stream { answer.streamed() } else { answer.text.clone() };
        assert!(said.contains("Echo from lenient: hi there"), "{speaks:?}, {stream}: {answer:?}"); // PC4
        assert_eq!(answer.header("x-mainstay-provider"), "lenient");
        assert_eq!(answer.header("x-mainstay-attempts"), "2");
    }
}

#[tokio::test]
async fn without_them_a_refusal_passes_byte_for_byte() {
    for (speaks, stream, refusal) in REFUSALS {
        let world = World::start(speaks, &exactly(refusal), "when_too_long = [\"lenient/m\"]").await;
        let answer = world.ask(stream).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, refusal), "{speaks:?}, {stream}"); // PC4, GW2
        assert_eq!((answer.header("x-mainstay-attempts"), world.lenient.requests()), ("1", 0));
    }
}

#[tokio::test]
async fn whether_a_call_is_tried_again_is_what_its_provider_says() {
    let table = [
        ("400", "true", "3"),
        ("413", "true", "3"),
        ("400", "false", "1"),
        ("503", "false", "1"),
        ("503", "true", "3"),
    ];
    for speaks in [Speaks::OpenAi, Speaks::Anthropic] {
        for (status, says, attempts) in table {
            let fault = format!("status={status}; x-should-retry={says}");
            let world =
                World::start(speaks, &fault, "retries = 2\nbackoff_min = \"1ms\"\nbackoff_max = \"2ms\"")
                    .await;
            let answer = world.ask(false).await;
            assert_eq!(answer.status.to_string(), status, "{speaks:?}, {fault}: {answer:?}");
            assert_eq!(answer.header("x-mainstay-attempts"), attempts, "{speaks:?}, {fault}"); // PC13
            assert_eq!(world.strict.requests().to_string(), attempts);
        }
    }
}
