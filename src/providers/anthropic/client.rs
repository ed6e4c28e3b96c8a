//! A server of the Anthropic dialect, as a provider.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use mainstay_actors::{
    call::{Api, ProviderReply, Request},
    error::ProviderError,
    ports::{Provider, ProviderCall},
};
use secrecy::SecretString;
use serde::Deserialize;

use super::messages::Messages;
use crate::providers::{
    address::{self, route},
    client::HttpClient,
    dialect::unsupported,
    upstream::Upstream,
    wire::BadProvider,
};

/// The header that every client of this dialect sends.
pub(crate) const VERSION: &str = "anthropic-version";

/// The header that asks for what is not in the version yet.
pub(in crate::providers) const BETA: &str = "anthropic-beta";

/// Sent where the caller names none.
const DEFAULT_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The caller's headers that change what its body means; no other travels to the provider.
pub const TRAVELLING: [&str; 2] = [VERSION, BETA];

/// A server of the Anthropic dialect.
pub struct Anthropic {
    upstream: Upstream,
    messages: Uri,
    models: Uri,
}

impl Anthropic {
    /// A server at `base_url` (with its `/v1`), asked with `key`.
    ///
    /// A key is never sent unencrypted to another machine: with one, `http` goes to loopback addresses only.
    pub fn new(http: HttpClient, base_url: &str, key: Option<SecretString>) -> Result<Self, BadProvider> {
        let base = address::base(base_url, key.is_some())?;
        let mut upstream = Upstream::new(http);
        if let Some(key) = key {
            upstream = upstream.key(HeaderName::from_static("x-api-key"), "", key)?;
        }
        Ok(Self { upstream, messages: route(&base, "messages")?, models: route(&base, "models")? })
    }

    async fn ask(&self, call: ProviderCall<'_>) -> Result<ProviderReply, ProviderError> {
        match call.request.api {
            Api::Messages => {
                let headers = travelling(call.request);
                self.upstream.ask::<Messages>(&self.messages, headers, call).await.map_err(in_own_words)
            }
            other => Err(unsupported(other, call.request.stream)),
        }
    }
}

impl Provider for Anthropic {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        Box::pin(self.ask(call))
    }

    /// Asks for the list of models, which costs nothing.
    fn probe(&self) -> Option<BoxFuture<'_, Result<(), ProviderError>>> {
        let version = HeaderMap::from_iter([(HeaderName::from_static(VERSION), DEFAULT_VERSION)]);
        Some(Box::pin(self.upstream.probe(&self.models, version)))
    }
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anthropic").field("messages", &self.messages).finish_non_exhaustive()
    }
}

fn travelling(request: &Request) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers.iter().filter(|(name, _)| TRAVELLING.contains(name)) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(*name, value);
        }
    }
    headers.entry(VERSION).or_insert(DEFAULT_VERSION);
    headers
}

/// Something before the server may answer in other words, which no client of this dialect understands.
fn in_own_words(error: ProviderError) -> ProviderError {
    #[derive(Deserialize)]
    struct Error<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let is_own = |body: &Bytes| serde_json::from_slice::<Error<'_>>(body).is_ok_and(|e| e.kind == "error");
    ProviderError { body: error.body.filter(is_own), ..error }
}
