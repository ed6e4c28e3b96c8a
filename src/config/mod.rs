//! What the user wrote, checked into what each part needs.
//!
//! [`section`] walks the TOML and knows places; [`check`] knows the settings, their ranges and their defaults;
//! [`units`] reads durations and sizes. All problems of a file are told at once, each with its line and
//! column. Keys are never in a file: it names the environment variable that holds one.

mod cache;
mod check;
mod policy;
mod section;
#[cfg(test)]
mod tests;
mod units;

use std::{
    fmt, fs,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mainstay_actors::{
    chain::{Lane, policy::ChainPolicy},
    provider::{budget::BudgetPolicy, policy::ProviderPolicy},
};
use secrecy::SecretString;

use crate::providers::openai::Auth;
pub use cache::{CacheConfig, RedisConfig};

#[cfg(feature = "server")]
pub(crate) use {check::admin_listen, units::duration};

/// Reads an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A file larger than this is no configuration.
const LARGEST_FILE: u64 = 1 << 20;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateway's listener.
    pub server: ServerConfig,
    /// The admin API's listener; nothing: there is none.
    pub admin: Option<AdminConfig>,
    /// What is kept of answers; nothing: none is.
    pub cache: Option<CacheConfig>,
    /// What the command logs, and how.
    pub log: LogConfig,
    /// Where everything is kept that outlives the process; without it nothing does.
    pub data_dir: Option<PathBuf>,
    /// What is connected to before providers that are silent at once are blamed; nothing: they are blamed.
    pub egress: Vec<SocketAddr>,
    /// What all providers together may be asked again; nothing: as often as the budget of each of them allows.
    pub retry_budget: Option<BudgetPolicy>,
    /// The providers, in the order of the file.
    pub providers: Vec<ProviderConfig>,
    /// The chains, in the order of the file.
    pub chains: Vec<ChainConfig>,
}

/// The gateway's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens. Default 127.0.0.1:8080. Clients are not authenticated, so it must be a loopback
    /// address.
    pub listen: SocketAddr,
    /// Connections at once, 1 to 100 000; further ones wait. Default 1024.
    pub max_connections: usize,
    /// Largest request body in bytes, 1 KiB to 64 MiB; a larger one is refused with 413. Default 8 MiB.
    pub max_body: usize,
    /// How long running requests may go on after a signal to stop, up to 10 minutes. Default 20 s.
    pub drain: Duration,
    /// How long requests are still taken on after a signal to stop, while `/readyz` says that it is not ready, up
    /// to 10 minutes. Default 0 s.
    pub drain_delay: Duration,
}

/// The admin API's listener.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it listens. Default 127.0.0.1:8081.
    pub listen: SocketAddr,
    /// What every request must bring as its bearer token, 16 to 512 visible characters. Without one the address must
    /// be a loopback one.
    pub token: Option<SecretString>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Text for people or JSON for machines. Default text.
    pub format: LogFormat,
    /// Which lines, in the syntax of `RUST_LOG`. Default `info,ractor=warn`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// One provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Its name, in lower case.
    pub name: String,
    /// What it is.
    pub kind: ProviderKind,
    /// How it is protected.
    pub policy: ProviderPolicy,
}

/// What a provider is.
#[derive(Clone, Debug)]
pub enum ProviderKind {
    /// Anything that speaks the OpenAI dialect.
    OpenAi {
        /// Up to and with `/v1`.
        base_url: String,
        /// Sent as `auth` says.
        key: Option<SecretString>,
        /// Where the server looks for the key.
        auth: Auth,
    },
    /// Anything that speaks the Anthropic dialect.
    Anthropic {
        /// Up to and with `/v1`.
        base_url: String,
        /// Sent as `x-api-key`.
        key: Option<SecretString>,
    },
    /// A scripted provider in this process, which speaks both.
    Scripted {
        /// How many requests of each round fail.
        fail_first: u32,
        /// How many requests a round has.
        of_every: u32,
    },
}

/// One chain.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// Its name: what clients ask for as `model`.
    pub name: String,
    /// Whom it asks, in order.
    pub targets: Vec<TargetConfig>,
    /// How far a call goes.
    pub policy: ChainPolicy,
}

/// A provider to ask, and the model to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// The provider's name.
    pub provider: String,
    /// The model's name at this provider.
    pub model: String,
    /// When it is asked.
    pub lane: Lane,
    /// Where it was written, if it was in a file.
    pub place: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one problem, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, if it is in a file.
    pub place: Option<Place>,
    /// What, and what would be right.
    pub message: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_connections: 1024,
            max_body: 8 << 20,
            drain: Duration::from_secs(20),
            drain_delay: Duration::ZERO,
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), token: None }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info,ractor=warn".into() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::default(),
            admin: Some(AdminConfig::default()),
            cache: Some(CacheConfig::default()),
            log: LogConfig::default(),
            data_dir: None,
            egress: Vec::new(),
            retry_budget: Some(BudgetPolicy::OVERALL),
            providers: Vec::new(),
            chains: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file; names of environment variables in it are looked up in this process's environment.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let (name, text) = named(path.as_ref())?;
        Self::from_toml(&text, &name, &|variable| std::env::var(variable).ok())
    }

    /// Reads the admin API's listener alone: whoever gives orders to a gateway needs none of its providers' keys.
    pub fn admin_from_path(path: impl AsRef<Path>) -> Result<Option<AdminConfig>, ConfigError> {
        let (name, text) = named(path.as_ref())?;
        check::admin_alone(&text, &name, &|variable| std::env::var(variable).ok())
    }

    /// Reads `text`; `file` is what problems call it.
    pub fn from_toml(text: &str, file: &str, env: Env<'_>) -> Result<Self, ConfigError> {
        check::config(text, file, env)
    }

    /// What is served without any file: a flaky and a steady scripted provider in one chain `chat`; with
    /// `OPENAI_API_KEY` in the environment, OpenAI (or `OPENAI_BASE_URL`) stands before them.
    pub fn demo(env: Env<'_>) -> Self {
        let scripted = |name: &str, fail_first, of_every| ProviderConfig {
            name: name.into(),
            kind: ProviderKind::Scripted { fail_first, of_every },
            policy: ProviderPolicy::default(),
        };
        let mut providers = vec![scripted("flaky", 8, 20), scripted("steady", 0, 1)];
        let mut targets: Vec<_> = ["flaky/scripted", "steady/scripted"].map(TargetConfig::parse).into();
        if let Some(key) = env("OPENAI_API_KEY").filter(|key| !key.is_empty()) {
            let base_url = env("OPENAI_BASE_URL").filter(|url| !url.is_empty());
            let base_url = base_url.unwrap_or_else(|| check::OPENAI.into());
            let kind = ProviderKind::OpenAi { base_url, key: Some(key.into()), auth: Auth::default() };
            let policy = ProviderPolicy::default();
            providers.insert(0, ProviderConfig { name: "openai".into(), kind, policy });
            targets.insert(0, TargetConfig::parse("openai/gpt-4o-mini"));
        }
        let chain = ChainConfig { name: "chat".into(), targets, policy: ChainPolicy::default() };
        Self { providers, chains: vec![chain], ..Self::default() }
    }

    /// Checks that every target's provider is defined, here or among `more`, which the host adds in code.
    pub fn check_targets(&self, more: &[&str]) -> Result<(), ConfigError> {
        let known: Vec<&str> = self.providers.iter().map(|p| &*p.name).chain(more.iter().copied()).collect();
        let targets = self.chains.iter().flat_map(|chain| &chain.targets);
        let unknown = targets.filter(|target| !known.contains(&&*target.provider));
        let problems: Vec<_> = unknown.map(|target| unknown_provider(target, &known)).collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// Checks what a gateway needs: an address of this machine only, and something to serve.
    pub fn check_gateway(&self) -> Result<(), ConfigError> {
        check::listen(self.server.listen).map_err(ConfigError::one)?;
        if let Some(AdminConfig { listen, token }) = &self.admin {
            check::admin_listen(*listen, token.is_some()).map_err(ConfigError::one)?;
        }
        match self.chains.is_empty() {
            true => Err(ConfigError::one("no chain is defined: add [chain.NAME] with its `targets`".into())),
            false => Ok(()),
        }
    }
}

fn unknown_provider(target: &TargetConfig, known: &[&str]) -> Problem {
    let hint = section::did_you_mean(&target.provider, known);
    let message = format!("provider `{}` is not defined{hint}", target.provider);
    Problem { place: target.place.clone(), message }
}

impl TargetConfig {
    /// Reads `provider/model`; the first slash parts them. Without one, the provider is asked for its
    /// `default` model.
    pub fn parse(text: &str) -> Self {
        let (provider, model) = text.split_once('/').unwrap_or((text, "default"));
        Self { provider: provider.into(), model: model.into(), lane: Lane::Usual, place: None }
    }
}

/// A file's name, as problems call it, and its text.
fn named(path: &Path) -> Result<(String, String), ConfigError> {
    let name = path.display().to_string();
    match read(path) {
        Ok(text) => Ok((name, text)),
        Err(problem) => Err(ConfigError::one(format!("{name}: {problem}"))),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let read = file.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err("is larger than 1 MiB: this is no configuration".into());
    }
    String::from_utf8(bytes).map_err(|error| format!("is not UTF-8 text: {error}"))
}

impl ConfigError {
    pub(crate) fn one(message: String) -> Self {
        Self { problems: vec![Problem { place: None, message }] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is wrong")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(Place { file, line, column }) => write!(f, "{file}:{line}:{column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}
