//! Mainstay keeps LLM applications answering while their providers fail.
//!
//! An actor-based supervision runtime: each provider and the mode manager is a supervised actor. Actors decide
//! and publish; callers act on what is published, in their own task; what happened goes back as a message. So
//! a crash of an actor delays nobody, and dropping a call drops everything that belongs to it.
//!
//! ```text
//! root                      gives up -> EMERGENCY, then an orderly stop
//! ├── mode                  first up, last down: NORMAL, DEGRADED, EMERGENCY
//! ├── providers             one for one
//! │     └── NAME            its circuit, its limits, its probe
//! └── server                one for one                          [feature "server"]
//!       ├── admin           the operators' listener
//!       └── public          the clients'
//! ```
//!
//! # Embedding
//!
//! ```
//! use std::time::Duration;
//!
//! use futures_util::StreamExt;
//! use mainstay::{Config, Runtime, completion, delta_of, text_of};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Or `Config::from_path("mainstay.toml")?`, or providers of your own with `.provider(name, yours)`.
//! let config = Config::demo(&|_| None);
//! let runtime = Runtime::builder().config(config).start().await?;
//! let chat = runtime.chain("chat")?;
//!
//! // `flaky` fails, `steady` answers: the caller does not notice.
//! let reply = chat.call(completion("hello")).await?;
//! assert_eq!(text_of(&reply).as_deref(), Some("Echo from steady: hello"));
//! assert_eq!((&*reply.story.provider, reply.story.attempts()), ("steady", 2));
//!
//! let mut frames = chat.stream(completion("hello again")).await?;
//! let mut text = String::new();
//! while let Some(frame) = frames.next().await {
//!     text.extend(delta_of(&frame?)); // an `Err` here is an answer that broke off
//! }
//! assert_eq!(text, "Echo from steady: hello again");
//!
//! println!("{}\n{}", runtime.mode().now(), runtime.tree().render());
//! assert!(runtime.shutdown(Duration::from_secs(5)).await.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! Nothing global is installed: no logger, no metrics recorder, no signal handler. The runtime speaks to both
//! through the `tracing` and `metrics` facades.
//!
//! # What is not here
//!
//! Decisions and supervision are in [`mainstay_actors`], which knows no network and no disk. This crate touches
//! the world: configuration, providers, storage, the HTTP server.

#![forbid(unsafe_code)]

pub mod caching;
#[cfg(feature = "server")]
pub mod cli;
pub mod config;
pub mod providers;
mod reach;
pub mod runtime;
#[cfg(feature = "server")]
pub mod server;
pub mod storage;
#[cfg(feature = "server")]
pub mod telemetry;
mod watchdog;

pub use config::{Config, ConfigError};
pub use mainstay_actors as actors;
pub use mainstay_actors::{
    call::{Frame, FrameKind, Reply, Request},
    chain::{Chain, policy::ChainPolicy},
    error::{CallError, ErrorKind, Interrupted, ProviderError},
    mode::{Mode, ModeChange, ModeHandle, ModeSnapshot},
    ports::{Clock, Provider, ProviderCall},
    provider::policy::ProviderPolicy,
};
pub use providers::openai::{completion, delta_of, text_of};
pub use runtime::{Builder, Error, Reloaded, Runtime};

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
