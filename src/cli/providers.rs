//! `mainstay providers`: orders to a running gateway, over its admin API.
//!
//! Where that is stands in the gateway's configuration, of which only `[admin]` is read. What an order does is the
//! gateway's business.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::timeout;
use url::Url;

use super::Stopped;
use crate::{
    Config,
    config::{AdminConfig, duration},
    providers::{HttpClient, check_address, http_client},
};

/// Reaching this machine takes no time, and another one not much.
const CONNECT: Duration = Duration::from_secs(5);
/// Larger than what is told of a hundred providers.
const MAX_ANSWER: usize = 4 << 20;
/// Longer than an order may take there.
const ANSWER: Duration = Duration::from_secs(10);

/// Which gateway, and what of it.
#[derive(Clone, Debug, Args)]
pub(super) struct ProvidersArgs {
    #[command(subcommand)]
    order: Option<Order>,
    /// The gateway's admin API, in place of the configured one.
    #[arg(long, env = "MAINSTAY_ADMIN", value_name = "URL", global = true)]
    admin: Option<String>,
    /// The gateway's configuration file, to read [admin] of it. The token may also stand in MAINSTAY_ADMIN_TOKEN.
    #[arg(long, env = "MAINSTAY_CONFIG", value_name = "PATH", global = true)]
    config: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Order {
    /// Show all of them (the default).
    List,
    /// Take one out: calls go to the others.
    Isolate {
        /// The provider.
        name: String,
        /// For how long, such as 10m or 2h; without it, until it is closed.
        #[arg(long = "for", value_name = "TIME", value_parser = whole_seconds)]
        time: Option<u64>,
        /// Who does it and why, for everybody who sees that it is out.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Only this model of it.
        #[arg(long)]
        model: Option<String>,
    },
    /// Let one back in at once, with all of its models.
    Close {
        /// The provider.
        name: String,
    },
}

fn whole_seconds(text: &str) -> Result<u64, String> {
    let time = duration(text).filter(|time| time.subsec_nanos() == 0 && !time.is_zero());
    time.map(|time| time.as_secs()).ok_or_else(|| "give a time such as 30s, 10m or 2h".into())
}

pub(super) async fn run(args: ProvidersArgs) -> Result<(), Stopped> {
    let ProvidersArgs { order, admin, config } = args;
    let admin = Admin::find(admin, config)?;
    let providers = match order.unwrap_or(Order::List) {
        Order::List => admin.ask(Method::GET, &[], None).await?["providers"].take(),
        Order::Isolate { name, time, reason, model } => {
            let body = json!({ "seconds": time, "reason": reason, "model": model });
            json!([admin.ask(Method::POST, &[&name, "isolate"], Some(body)).await?])
        }
        Order::Close { name } => json!([admin.ask(Method::POST, &[&name, "close"], None).await?]),
    };
    // Whoever reads this may have closed it.
    let _ = io::stdout().write_all(table(providers.as_array().map_or(&[], Vec::as_slice)).as_bytes());
    Ok(())
}

/// The admin API of a running gateway.
struct Admin {
    http: HttpClient,
    url: Url,
    token: Option<SecretString>,
}

impl Admin {
    fn find(url: Option<String>, config: Option<PathBuf>) -> Result<Self, Stopped> {
        let wrong = |problem: String| Stopped::new(Stopped::CONFIG, problem);
        let configured = config.map(Config::admin_from_path).transpose();
        let configured = configured.map_err(|error| wrong(error.to_string()))?;
        let off = || wrong("the gateway has no admin API: `admin` is false in its configuration".into());
        let AdminConfig { listen, token } = match (configured, &url) {
            (Some(None), None) => return Err(off()),
            (configured, _) => configured.flatten().unwrap_or_default(),
        };
        let token = token.or_else(|| std::env::var("MAINSTAY_ADMIN_TOKEN").ok().map(SecretString::from));
        let url = url.unwrap_or_else(|| format!("http://{listen}"));
        check_address(&url, token.is_some()).map_err(|bad| wrong(format!("{url}: {bad}")))?;
        let url = Url::parse(&url).map_err(|error| wrong(format!("{url}: {error}")))?;
        let http = http_client(CONNECT).map_err(|bad| Stopped::new(Stopped::FAILED, bad))?;
        Ok(Self { http, url, token })
    }

    async fn ask(&self, method: Method, path: &[&str], body: Option<Value>) -> Result<Value, Stopped> {
        let failed = |problem: String| Stopped::new(Stopped::FAILED, problem);
        let request = self.request(method, path, body).map_err(failed)?;
        let answer = timeout(ANSWER, self.exchange(request)).await;
        let (status, body) = answer.unwrap_or_else(|_| Err(self.broken("too slow"))).map_err(failed)?;
        match status {
            StatusCode::OK if body.is_object() => Ok(body),
            status => Err(failed(match body["detail"].as_str() {
                Some(detail) => detail.into(),
                None => format!("{} is no admin API of Mainstay: it answered with {status}", self.url),
            })),
        }
    }

    fn request(&self, method: Method, path: &[&str], body: Option<Value>) -> Result<Request<Bytes>, String> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["admin", "providers"]).extend(path);
        }
        let mut request = Request::builder().method(method).uri(url.as_str());
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
            let wrong = |_| "the admin token holds characters that no header can carry".to_string();
            request = request.header(AUTHORIZATION, value.map_err(wrong)?);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| body.to_string().into()).unwrap_or_default();
        request.body(body).map_err(|_| format!("{} cannot be asked: name another address", self.url))
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<(StatusCode, Value), String> {
        let answer = self.http.send(request).await.map_err(|error| match error.is_connect() {
            true => self.nobody(),
            false => self.broken("broken off"),
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
        Ok((status, body.unwrap_or_default()))
    }

    fn nobody(&self) -> String {
        let Self { url, .. } = self;
        format!(
            "nobody listens at {url}: start the gateway, or name its admin API with --admin URL or --config PATH"
        )
    }

    fn broken(&self, why: &str) -> String {
        format!("no answer from {} ({why}): try again", self.url)
    }
}

/// A line per provider, and one per model that is not closed.
fn table(providers: &[Value]) -> String {
    let mut text = row(["PROVIDER", "CIRCUIT", "SINCE", "UNTIL", "RUNNING"], "WHY");
    for provider in providers {
        let running = match (&provider["in_flight"], &provider["max_concurrent"]) {
            (running, Value::Null) => running.to_string(),
            (running, most) => format!("{running}/{most}"),
        };
        text += &circuit(&said(&provider["name"]), provider, &running);
        let models = provider["models"].as_array().map_or(&[][..], Vec::as_slice);
        for model in models.iter().filter(|model| model["circuit"] != "closed") {
            text += &circuit(&format!("  {}", said(&model["model"])), model, "");
        }
    }
    text
}

fn circuit(name: &str, circuit: &Value, running: &str) -> String {
    let (since, until) = (time(&circuit["since_unix_ms"]), time(&circuit["until_unix_ms"]));
    row([name, &said(&circuit["circuit"]), &since, &until, running], &said(&circuit["reason"]))
}

fn row(cells: [&str; 5], why: &str) -> String {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip([24, 10, 21, 21, 9]) {
        let _ = write!(line, "{cell:<width$} ");
    }
    format!("{}\n", (line + why).trim_end())
}

/// What another process says is shown without what would move the terminal's cursor.
fn said(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

fn time(unix_ms: &Value) -> String {
    let time = unix_ms.as_i64().and_then(|ms| Timestamp::from_second(ms / 1000).ok());
    time.map_or_else(|| "-".into(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_are_a_time() {
        assert_eq!(whole_seconds("10m"), Ok(600));
        for wrong in ["", "0s", "500ms", "10", "-1s", "soon"] {
            assert!(whole_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_provider_is_a_line_and_what_is_out_of_it_another() {
        let shown = table(&[json!({
            "name": "a", "circuit": "isolated", "since_unix_ms": 0, "reason": "by \u{1b}[31mAda", "in_flight": 2,
            "max_concurrent": 20, "models": [{"model": "m", "circuit": "open"}, {"model": "n", "circuit": "closed"}],
        })]);
        let lines: Vec<_> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[1], ["a", "isolated", "1970-01-01T00:00:00Z", "-", "2/20", "by", "[31mAda"]);
        assert_eq!((lines.len(), &lines[2][..2]), (3, &["m", "open"][..]));
    }
}
