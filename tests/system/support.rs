//! A gateway over two scripted providers, and a client that looks at every part of an answer.

use std::{future::Future, time::Duration};

use mainstay::{
    Config, Mode, Runtime,
    providers::scripted::{Fault, Script, Scripted},
    server::{GatewayLimits, admin::AdminAccess},
};
use serde_json::{Value, json};

/// How long anything in these tests may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(20);

/// In which dialect a world asks and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    OpenAi,
    Anthropic,
}

impl Speaks {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1/chat/completions",
            Self::Anthropic => "/v1/messages",
        }
    }

    /// How many events of a stream come before its first word.
    pub(crate) fn before(self) -> usize {
        match self {
            Self::OpenAi => 1,
            Self::Anthropic => 3,
        }
    }
}

/// Two providers, `a` before `b`, in one chain `chat`; timeouts and open times are short.
pub(crate) struct World {
    pub(crate) speaks: Speaks,
    pub(crate) a: Scripted,
    pub(crate) b: Scripted,
    pub(crate) runtime: Runtime,
    pub(crate) url: String,
    /// Where the admin API is.
    pub(crate) admin: String,
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

/// A socket at any free port, and its address.
pub(crate) async fn listening() -> (tokio::net::TcpListener, String) {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

pub(crate) fn http() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true).build().unwrap()
}

/// Timeouts that make a story short.
const SHORT: &str = r#"connect = "250ms", first_token = "250ms", idle = "250ms", total = "1s""#;

fn config(providers: [Speaks; 2], [a, b]: [&str; 2], timeouts: &str, keeps: Keeps<'_>) -> Config {
    let provider = |name: &str, speaks: Speaks, url: &str| {
        let kind = speaks.kind();
        format!(
            r#"
            [provider.{name}]
            kind = "{kind}"
            base_url = "{url}"
            timeouts = {{ {timeouts} }}
            breaker = {{ failures = 5, open_min = "300ms", open_max = "600ms", probes = 2, ramp = "50ms" }}
            "#
        )
    };
    let chain = "[chain.chat]\ntargets = [\"a/model-a\", \"b/model-b\"]\nretries = 0\n";
    let text = provider("a", providers[0], a) + &provider("b", providers[1], b) + chain + keeps.section;
    Config::from_toml(&text, "test.toml", &|name| keeps.env(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// What a world keeps of answers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Keeps<'a> {
    /// Sections of the configuration.
    pub(crate) section: &'a str,
    /// What they find in the environment under `REDIS_URL`.
    pub(crate) redis_url: &'a str,
}

impl Keeps<'_> {
    fn env(&self, name: &str) -> Option<String> {
        (name == "REDIS_URL" && !self.redis_url.is_empty()).then(|| self.redis_url.into())
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_limits(GatewayLimits::default()).await
    }

    pub(crate) async fn with_limits(limits: GatewayLimits) -> Self {
        Self::with(Speaks::OpenAi, limits, SHORT).await
    }

    pub(crate) async fn speaking(speaks: Speaks) -> Self {
        Self::with(speaks, GatewayLimits::default(), SHORT).await
    }

    /// Asks in one dialect, of providers that speak these.
    pub(crate) async fn asking(speaks: Speaks, providers: [Speaks; 2]) -> Self {
        Self::build(speaks, providers, GatewayLimits::default(), SHORT, Keeps::default()).await
    }

    pub(crate) async fn with(speaks: Speaks, limits: GatewayLimits, timeouts: &str) -> Self {
        Self::build(speaks, [speaks; 2], limits, timeouts, Keeps::default()).await
    }

    /// Patient with its providers, and keeping answers as it is told.
    pub(crate) async fn keeping(speaks: Speaks, keeps: Keeps<'_>) -> Self {
        Self::build(speaks, [speaks; 2], GatewayLimits::default(), "", keeps).await
    }

    async fn build(
        speaks: Speaks,
        providers: [Speaks; 2],
        limits: GatewayLimits,
        timeouts: &str,
        keeps: Keeps<'_>,
    ) -> Self {
        let (a, b) = (scripted("a").await, scripted("b").await);
        let ((socket, url), (admin_socket, admin)) = (listening().await, listening().await);
        let config = config(providers, [&a.base_url(), &b.base_url()], timeouts, keeps);
        let builder = Runtime::builder().config(config).gateway(socket, limits, None);
        let builder = builder.admin(admin_socket, AdminAccess::default());
        let runtime = builder.start().await.unwrap();
        Self { speaks, a, b, runtime, url, admin, http: http() }
    }

    pub(crate) async fn ask(&self, prompt: &str) -> Answer {
        self.chat(&self.body(prompt, false)).await
    }

    pub(crate) async fn ask_streaming(&self, prompt: &str) -> Answer {
        self.chat(&self.body(prompt, true)).await
    }

    /// What asks this world's providers.
    pub(crate) fn body(&self, prompt: &str, stream: bool) -> Value {
        let messages = json!([{"role": "user", "content": prompt}]);
        let mut body = json!({"model": "chat", "stream": stream, "messages": messages});
        if self.speaks == Speaks::Anthropic {
            body["max_tokens"] = json!(100);
        }
        body
    }

    pub(crate) async fn chat(&self, body: &Value) -> Answer {
        self.post(body.to_string()).await
    }

    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.http.post(format!("{}{}", self.url, self.speaks.path()));
        answered(request.header("content-type", "application/json").body(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answered(self.http.get(format!("{}{path}", self.url))).await
    }

    /// An operator asks.
    pub(crate) async fn see(&self, path: &str) -> Answer {
        answered(self.http.get(format!("{}{path}", self.admin))).await
    }

    /// An operator gives an order.
    pub(crate) async fn order(&self, path: &str, body: &str) -> Answer {
        answered(self.http.post(format!("{}{path}", self.admin)).body(body.to_string())).await
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
        let answer = self.json();
        let text = answer["choices"][0]["message"]["content"].as_str();
        text.or(answer["content"][0]["text"].as_str()).unwrap_or_default().into()
    }

    /// The payloads of a streamed answer.
    pub(crate) fn events(&self) -> Vec<&str> {
        let data = |event: &'_ str| event.find("data: ").map(|at| at + "data: ".len());
        self.text.split("\n\n").filter_map(|event| Some(&event[data(event)?..])).collect()
    }

    /// The last payload of a streamed answer.
    pub(crate) fn last_event(&self) -> Value {
        let last = self.events().last().copied().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The text of a streamed answer.
    pub(crate) fn streamed(&self) -> String {
        let chunk = |data: &&str| serde_json::from_str::<Value>(data).ok();
        let words = self.events().iter().filter_map(chunk).collect::<Vec<_>>();
        let text = |chunk: &'_ Value| {
            let chat = chunk["choices"][0]["delta"]["content"].as_str();
            chat.or(chunk["delta"]["text"].as_str()).map(String::from)
        };
        words.iter().filter_map(text).collect()
    }

    /// Does it hold the sign that the dialect ends a complete stream with?
    pub(crate) fn is_signed_off(&self) -> bool {
        self.text.contains("[DONE]") || self.text.contains("message_stop")
    }
}
