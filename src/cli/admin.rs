//! Orders to a running gateway, over its admin API.
//!
//! Where that is stands in the gateway's configuration, of which only `[admin]` is read. What an order does is the
//! gateway's business.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use http_body_util::{BodyExt, Limited};
use reqwest::{Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::Stopped;
use crate::{
    Config,
    config::AdminConfig,
    providers::{check_address, http_client},
};

/// Reaching this machine takes no time, and another one not much.
const CONNECT: Duration = Duration::from_secs(5);
/// Larger than what is told of a hundred providers, or a thousand namespaces.
const MAX_ANSWER: usize = 4 << 20;
/// Longer than an order may take there.
const ANSWER: Duration = Duration::from_secs(10);

/// Which gateway.
#[derive(Clone, Debug, Args)]
pub(super) struct AdminArgs {
    /// The gateway's admin API, in place of the configured one.
    #[arg(long, env = "MAINSTAY_ADMIN", value_name = "URL", global = true)]
    admin: Option<String>,
    /// The gateway's configuration file, to read [admin] of it. The token may also stand in MAINSTAY_ADMIN_TOKEN.
    #[arg(long, env = "MAINSTAY_CONFIG", value_name = "PATH", global = true)]
    config: Option<PathBuf>,
}

/// The admin API of a running gateway.
pub(super) struct Admin {
    http: Client,
    url: Url,
    token: Option<SecretString>,
}

impl Admin {
    pub(super) fn find(args: AdminArgs) -> Result<Self, Stopped> {
        let AdminArgs { admin: url, config } = args;
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

    /// What stands below `/admin/`.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
    ) -> Result<Value, Stopped> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("admin").extend(path);
        }
        let mut request = self.http.request(method, url).timeout(ANSWER);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let failed = |problem: String| Stopped::new(Stopped::FAILED, problem);
        let answer = request.send().await.map_err(|error| failed(self.unreachable(&error)))?;
        let status = answer.status();
        let body = Limited::new(reqwest::Body::from(answer), MAX_ANSWER).collect().await;
        let body = body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
        let body: Value = body.unwrap_or_default();
        match status {
            StatusCode::OK if body.is_object() => Ok(body),
            status => Err(failed(match body["detail"].as_str() {
                Some(detail) => detail.into(),
                None => format!("{} is no admin API of Mainstay: it answered with {status}", self.url),
            })),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> String {
        let Self { url, .. } = self;
        match error.is_connect() {
            true => format!(
                "nobody listens at {url}: start the gateway, or name its admin API with --admin URL or \
                 --config PATH"
            ),
            false => format!(
                "no answer from {url} ({}): try again",
                if error.is_timeout() { "too slow" } else { "broken off" }
            ),
        }
    }
}

/// Prints what came of it; whoever reads that may have closed it.
pub(super) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// What another process says is shown without what would move the terminal's cursor.
pub(super) fn said(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}
