//! Orders to a running gateway, over its admin API.
//!
//! Where that is stands in the gateway's configuration, of which only `[admin]` is read. What an order does is the
//! gateway's business.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Limited};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::Stopped;
use crate::{
    Config,
    config::AdminConfig,
    providers::{HttpClient, check_address, http_client},
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
    http: HttpClient,
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
            segments.pop_if_empty().push("admin").extend(path);
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

/// Prints what came of it; whoever reads that may have closed it.
pub(super) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// What another process says is shown without what would move the terminal's cursor.
pub(super) fn said(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}
