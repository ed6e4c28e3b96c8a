//! A server of the OpenAI dialect, as a provider.

use std::fmt;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Uri, header::AUTHORIZATION};
use mainstay_actors::{
    call::{Api, ProviderReply},
    error::ProviderError,
    ports::{Provider, ProviderCall},
};
use secrecy::SecretString;

use super::{chat::Chat, embeddings::Embeddings, responses::Responses};
use crate::providers::{
    address::{self, route},
    client::HttpClient,
    dialect::unsupported,
    upstream::Upstream,
    wire::BadProvider,
};

const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Where a server of the OpenAI dialect looks for the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// In `authorization`, as a bearer token: OpenAI itself, and most others.
    #[default]
    Bearer,
    /// In `api-key`: Azure, for keys.
    ApiKey,
}

/// A server of the OpenAI dialect.
pub struct OpenAi {
    upstream: Upstream,
    chat: Uri,
    responses: Uri,
    embeddings: Uri,
    models: Uri,
}

impl OpenAi {
    /// A server at `base_url` (with its `/v1`), asked with `key`.
    ///
    /// A key is never sent unencrypted to another machine: with one, `http` goes to loopback addresses only.
    pub fn new(http: HttpClient, base_url: &str, key: Option<SecretString>) -> Result<Self, BadProvider> {
        Self::authorized(http, base_url, key, Auth::default())
    }

    /// The same for a server that looks elsewhere for its key.
    pub fn authorized(
        http: HttpClient,
        base_url: &str,
        key: Option<SecretString>,
        auth: Auth,
    ) -> Result<Self, BadProvider> {
        let base = address::base(base_url, key.is_some())?;
        let mut upstream = Upstream::new(http);
        if let Some(key) = key {
            let (name, prefix) = match auth {
                Auth::Bearer => (AUTHORIZATION, "Bearer "),
                Auth::ApiKey => (API_KEY, ""),
            };
            upstream = upstream.key(name, prefix, key)?;
        }
        Ok(Self {
            upstream,
            chat: route(&base, "chat/completions")?,
            responses: route(&base, "responses")?,
            embeddings: route(&base, "embeddings")?,
            models: route(&base, "models")?,
        })
    }

    async fn ask(&self, call: ProviderCall<'_>) -> Result<ProviderReply, ProviderError> {
        let (upstream, more) = (&self.upstream, HeaderMap::new());
        match call.request.api {
            Api::Chat => upstream.ask::<Chat>(&self.chat, more, call).await,
            Api::Responses => upstream.ask::<Responses>(&self.responses, more, call).await,
            Api::Embeddings if !call.request.stream => {
                upstream.ask::<Embeddings>(&self.embeddings, more, call).await
            }
            other => Err(unsupported(other, call.request.stream)),
        }
    }
}

impl Provider for OpenAi {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        Box::pin(self.ask(call))
    }

    /// Asks for the list of models, which costs nothing.
    fn probe(&self) -> Option<BoxFuture<'_, Result<(), ProviderError>>> {
        Some(Box::pin(self.upstream.probe(&self.models, HeaderMap::new())))
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi").field("chat", &self.chat).finish_non_exhaustive()
    }
}
