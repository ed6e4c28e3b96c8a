//! A server that speaks both dialects: each call goes to it in the caller's own.

use futures_util::future::BoxFuture;
use mainstay_actors::{
    call::{Api, ProviderReply},
    error::ProviderError,
    ports::{Provider, ProviderCall},
};
use secrecy::SecretString;

use super::{anthropic::Anthropic, client::HttpClient, openai::OpenAi, wire::BadProvider};

/// A server of both dialects under one address.
#[derive(Debug)]
pub struct Bilingual {
    openai: OpenAi,
    anthropic: Anthropic,
}

impl Bilingual {
    /// A server at `base_url` (with its `/v1`), asked with `key`.
    pub fn new(http: HttpClient, base_url: &str, key: Option<SecretString>) -> Result<Self, BadProvider> {
        Ok(Self {
            openai: OpenAi::new(http.clone(), base_url, key.clone())?,
            anthropic: Anthropic::new(http, base_url, key)?,
        })
    }
}

impl Provider for Bilingual {
    fn call<'a>(&'a self, call: ProviderCall<'a>) -> BoxFuture<'a, Result<ProviderReply, ProviderError>> {
        match call.request.api {
            Api::Messages => self.anthropic.call(call),
            Api::Chat | Api::Responses | Api::Embeddings => self.openai.call(call),
        }
    }
}
