//! A gateway over two scripted providers, and a client that looks at every part of an answer.

use std::{future::Future, time::Duration};

use mainstay::{
    Config, Mode, Runtime,
    providers::scripted::{Fault, Script, Scripted},
    server::GatewayLimits,
};
use serde_json::{Value, json};

/// How long anything in these tests may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two providers, `a` before `b`, in one chain `chat`; timeouts and open times are short.
pub(crate) struct World {
    pub(crate) a: Scripted,
    pub(crate) b: Scripted,
    pub(crate) runtime: Runtime,
    pub(crate) url: String,
    http: reqwest::Client,
}

/// An answer with everything that came along.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

pub(crate) async fn scripted(name: &str) -> Scripted {
    let script = Script { name: name.into(), ..Script::default() };
    Scripted::start(([127, 0, 0, 1], 0).into(), script).await.unwrap()
}

pub(crate) fn http() -> reqwest::Client {
    mainstay::providers::http_client(Duration::from_secs(5)).unwrap()
}

/// Timeouts that make a story short.
const SHORT: &str = r#"connect = "250ms", first_token = "250ms", idle = "250ms", total = "1s""#;

fn config(a: &str, b: &str, timeouts: &str) -> Config {
    let provider = |name: &str, url: &str| {
        format!(
            r#"
            [provider.{name}]
            kind = "openai"
            base_url = "{url}"
            timeouts = {{ {timeouts} }}
            breaker = {{ failures = 5, open_min = "300ms", open_max = "600ms" }}
            "#
        )
    };
    let chain = "[chain.chat]\ntargets = [\"a/model-a\", \"b/model-b\"]\nretries = 0\n";
    let text = provider("a", a) + &provider("b", b) + chain;
    Config::from_toml(&text, "test.toml", &|_| None).unwrap_or_else(|error| panic!("{error}"))
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_limits(GatewayLimits::default()).await
    }

    pub(crate) async fn with_limits(limits: GatewayLimits) -> Self {
        Self::with(limits, SHORT).await
    }

    pub(crate) async fn with(limits: GatewayLimits, timeouts: &str) -> Self {
        let (a, b) = (scripted("a").await, scripted("b").await);
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let config = config(&a.base_url(), &b.base_url(), timeouts);
        let builder = Runtime::builder().config(config).gateway(socket, limits, None);
        let runtime = builder.start().await.unwrap();
        Self { a, b, runtime, url, http: http() }
    }

    pub(crate) async fn ask(&self, prompt: &str) -> Answer {
        self.chat(&json!({"model": "chat", "messages": [{"role": "user", "content": prompt}]})).await
    }

    pub(crate) async fn ask_streaming(&self, prompt: &str) -> Answer {
        let messages = json!([{"role": "user", "content": prompt}]);
        self.chat(&json!({"model": "chat", "stream": true, "messages": messages})).await
    }

    pub(crate) async fn chat(&self, body: &Value) -> Answer {
        self.post(body.to_string()).await
    }

    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.http.post(format!("{}/v1/chat/completions", self.url));
        answered(request.header("content-type", "application/json").body(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answered(self.http.get(format!("{}{path}", self.url))).await
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn circuit(&self, provider: &str) -> &'static str {
        let desk = self.runtime.system().provider(provider).unwrap();
        desk.status(self.runtime.system().commons().now()).circuit
    }

    pub(crate) async fn until_mode(&self, mode: Mode) {
        let mut watch = self.runtime.mode().watch();
        let seen = watch.wait_for(|now| now.mode == mode);
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("never {mode}")).unwrap();
    }

    /// Calls until `a`'s circuit is open.
    pub(crate) async fn break_a(&self, fault: Fault) {
        self.a.set_default_fault(Some(fault));
        until("a's circuit opens", async || {
            self.ask("again").await;
            self.circuit("a") == "open"
        })
        .await;
    }
}

pub(crate) async fn answered(request: reqwest::RequestBuilder) -> Answer {
    let sent = tokio::time::timeout(PATIENCE, request.send());
    let response = sent.await.expect("no answer in time").expect("no answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, text }
}

/// Tries until `true`; fails with what never happened.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let trying = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, trying).await.is_ok(), "never: {what}");
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The text of a whole answer.
    pub(crate) fn said(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().into()
    }

    /// The payloads of a streamed answer.
    pub(crate) fn events(&self) -> Vec<&str> {
        self.text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
    }

    /// The text of a streamed answer.
    pub(crate) fn streamed(&self) -> String {
        let chunk = |data: &&str| serde_json::from_str::<Value>(data).ok();
        let words = self.events().iter().filter_map(chunk).collect::<Vec<_>>();
        words.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
    }
}
