//! Every setting, with its range and its default.
//!
//! A setting that is wrong keeps its default until all problems are told; a configuration with a problem is
//! never used.

use std::{net::SocketAddr, ops::RangeInclusive, path::Path, time::Duration};

use mainstay_actors::chain::Lane;
use secrecy::{ExposeSecret, SecretString};
use toml::de::DeTable;

use super::{
    AdminConfig, ChainConfig, Config, ConfigError, Env, LogConfig, LogFormat, ProviderConfig, ProviderKind,
    ServerConfig, TargetConfig, cache, policy,
    section::{Section, Source, did_you_mean},
};
use crate::providers::{check_address, openai::Auth};

pub(super) const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com/v1";

const HOUR: Duration = Duration::from_secs(3600);
/// More than these are no better proof.
const MAX_EGRESS: usize = 16;
/// Longer than anybody guesses, and short enough for a header.
const TOKEN_LENGTH: RangeInclusive<usize> = 16..=512;
const KINDS: [&str; 3] = ["openai", "anthropic", "scripted"];

pub(super) fn config(text: &str, file: &str, env: Env<'_>) -> Result<Config, ConfigError> {
    read(text, file, |file, source| whole(file, env, source))
}

/// The admin listener of a file of which nothing else is looked at.
pub(super) fn admin_alone(text: &str, file: &str, env: Env<'_>) -> Result<Option<AdminConfig>, ConfigError> {
    read(text, file, |mut file, source| admin(&mut file, env, source))
}

fn read<T>(
    text: &str,
    file: &str,
    checked: impl FnOnce(Section<'_>, &mut Source<'_>) -> T,
) -> Result<T, ConfigError> {
    let mut source = Source::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        source.wrong(error.span().map_or(0, |span| span.start), error.message());
    }
    if !errors.is_empty() {
        return Err(ConfigError { problems: source.into_problems() });
    }
    let read = checked(Section::new(String::new(), 0, table.get_ref()), &mut source);
    match source.into_problems() {
        problems if problems.is_empty() => Ok(read),
        problems => Err(ConfigError { problems }),
    }
}

fn whole(mut file: Section<'_>, env: Env<'_>, source: &mut Source<'_>) -> Config {
    let data_dir = file.text("data_dir", source).map(Into::into);
    let egress = egress(&mut file, source);
    let retry_budget = policy::retry_budget(&mut file, source);
    let server = file.section("server", source).map(|section| server(section, source));
    let admin = admin(&mut file, env, source);
    let cache = cache::cache(&mut file, env, source);
    let log = file.section("log", source).map(|section| log(section, source));
    let providers = file.section("provider", source).map(|section| section.named(source)).unwrap_or_default();
    let providers =
        providers.into_iter().map(|(name, section)| provider(name, section, env, source)).collect();
    let chains = file.section("chain", source).map(|section| section.named(source)).unwrap_or_default();
    let chains = chains.into_iter().map(|(name, section)| chain(name, section, source)).collect();
    file.finish(source);
    let (server, log) = (server.unwrap_or_default(), log.unwrap_or_default());
    Config { server, admin, cache, log, data_dir, egress, retry_budget, providers, chains }
}

/// Addresses, not names: who looks a name up asks somebody else first.
fn egress(file: &mut Section<'_>, source: &mut Source<'_>) -> Vec<SocketAddr> {
    let texts = file.texts("egress", source);
    if let Some((_, at)) = texts.get(MAX_EGRESS) {
        source.wrong(*at, format!("`egress` may hold at most {MAX_EGRESS} addresses"));
    }
    let mut address = |(text, at): (&str, usize)| {
        let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
        if address.is_none() {
            source.wrong(at, "an `egress` target is an IP address with its port, such as \"1.1.1.1:443\"");
        }
        address
    };
    texts.into_iter().filter_map(&mut address).collect()
}

fn server(mut section: Section<'_>, source: &mut Source<'_>) -> ServerConfig {
    let default = ServerConfig::default();
    let at = section.place_of("listen");
    let server = ServerConfig {
        listen: section.parsed("listen", "an address such as \"127.0.0.1:8080\"", default.listen, source),
        max_connections: section.number("max_connections", 1..=100_000, 1024, source) as usize,
        max_body: section.size("max_body", 1 << 10..=64 << 20, default.max_body as u64, source) as usize,
        drain: section.duration("drain", Duration::ZERO..=HOUR / 6, default.drain, source),
        drain_delay: section.duration("drain_delay", Duration::ZERO..=HOUR / 6, default.drain_delay, source),
    };
    if let Err(problem) = listen(server.listen) {
        source.wrong(at, problem);
    }
    section.finish(source);
    server
}

pub(super) fn listen(address: SocketAddr) -> Result<(), String> {
    match address.ip().is_loopback() {
        true => Ok(()),
        false => Err(format!(
            "cannot listen on {address}: clients are not authenticated, so only a loopback address such as \
             127.0.0.1 is allowed"
        )),
    }
}

fn admin(file: &mut Section<'_>, env: Env<'_>, source: &mut Source<'_>) -> Option<AdminConfig> {
    if file.is_off("admin") {
        return None;
    }
    let Some(mut section) = file.section("admin", source) else { return Some(AdminConfig::default()) };
    let at = section.place_of("listen");
    let default = AdminConfig::default().listen;
    let listen = section.parsed("listen", "an address such as \"127.0.0.1:8081\"", default, source);
    no_secret(&section, "token_env", source);
    let token = token(&mut section, env, source);
    if let Err(problem) = admin_listen(listen, token.is_some()) {
        source.wrong(at, problem);
    }
    section.finish(source);
    Some(AdminConfig { listen, token })
}

pub(crate) fn admin_listen(address: SocketAddr, with_token: bool) -> Result<(), String> {
    match address.ip().is_loopback() || with_token {
        true => Ok(()),
        false => Err(format!(
            "cannot serve the admin API on {address} without a token, because other machines reach it: name one with \
             `token_env` or `token_file`, or listen on 127.0.0.1"
        )),
    }
}

fn token(section: &mut Section<'_>, env: Env<'_>, source: &mut Source<'_>) -> Option<SecretString> {
    let at = section.at;
    let from_env = match section.is_off("token_env") {
        true => None,
        false => variable("token_env", "MAINSTAY_ADMIN_TOKEN", section, env, source),
    };
    let from_file = if section.is_off("token_file") { None } else { token_file(section, source) };
    if from_env.is_some() && from_file.is_some() {
        source.wrong(at, "`token_env` and `token_file` both name a token: keep one of them");
    }
    let token = from_env.or(from_file)?;
    let text = token.expose_secret();
    let fits = TOKEN_LENGTH.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        let (least, most) = (TOKEN_LENGTH.start(), TOKEN_LENGTH.end());
        source.wrong(at, format!("the admin token must have {least} to {most} visible ASCII characters"));
    }
    Some(token)
}

/// The file's only line.
fn token_file(section: &mut Section<'_>, source: &mut Source<'_>) -> Option<SecretString> {
    let at = section.place_of("token_file");
    let path = section.text("token_file", source)?;
    match super::read(Path::new(path)) {
        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).into()),
        Err(problem) => {
            source.wrong(at, format!("`token_file` {path} {problem}"));
            None
        }
    }
}

fn log(mut section: Section<'_>, source: &mut Source<'_>) -> LogConfig {
    let default = LogConfig::default();
    let at = section.place_of("format");
    let format = match section.text("format", source) {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(_) => {
            source.wrong(at, "`format` must be \"text\" or \"json\"");
            LogFormat::Text
        }
    };
    let at = section.place_of("filter");
    let filter = section.text("filter", source).map_or(default.filter, Into::into);
    if let Some(problem) = wrong_filter(&filter) {
        source.wrong(at, problem);
    }
    section.finish(source);
    LogConfig { format, filter }
}

#[cfg(feature = "server")]
fn wrong_filter(text: &str) -> Option<String> {
    crate::telemetry::logs::filter(text).err().map(|problem| problem.to_string())
}

/// Without the command nobody here logs.
#[cfg(not(feature = "server"))]
fn wrong_filter(_: &str) -> Option<String> {
    None
}

fn provider(name: &str, mut section: Section<'_>, env: Env<'_>, source: &mut Source<'_>) -> ProviderConfig {
    check_name(name, section.at, source);
    no_secret(&section, "key_env", source);
    let kind = kind(&mut section, env, source);
    let policy = policy::provider(&mut section, source);
    section.finish(source);
    ProviderConfig { name: name.into(), kind, policy }
}

fn no_secret(section: &Section<'_>, instead: &str, source: &mut Source<'_>) {
    for forbidden in ["key", "api_key", "apikey", "token", "secret"] {
        if section.has(forbidden) {
            let message = format!(
                "a key does not belong into a file: put it into the environment and name the variable with \
                 `{instead}`"
            );
            source.wrong(section.place_of(forbidden), message);
        }
    }
}

fn kind(section: &mut Section<'_>, env: Env<'_>, source: &mut Source<'_>) -> ProviderKind {
    let at = section.place_of("kind");
    match section.text("kind", source) {
        Some("scripted") => ProviderKind::Scripted {
            fail_first: section.number("fail_first", 0..=1_000_000, 0, source) as u32,
            of_every: section.number("of_every", 0..=1_000_000, 0, source) as u32,
        },
        Some("openai") => openai(section, env, source),
        Some("anthropic") => {
            let (base_url, key) = server_of(ANTHROPIC, section, env, source);
            ProviderKind::Anthropic { base_url, key }
        }
        Some(other) => {
            source.wrong(at, format!("`kind` cannot be `{other}`{}", did_you_mean(other, &KINDS)));
            openai(section, env, source)
        }
        None => {
            source.wrong(at, "`kind` is missing: \"openai\", \"anthropic\" or \"scripted\"");
            openai(section, env, source)
        }
    }
}

fn openai(section: &mut Section<'_>, env: Env<'_>, source: &mut Source<'_>) -> ProviderKind {
    let (base_url, key) = server_of(OPENAI, section, env, source);
    let at = section.place_of("auth");
    let auth = match section.text("auth", source) {
        None | Some("authorization") => Auth::Bearer,
        Some("api-key") => Auth::ApiKey,
        Some(_) => {
            source.wrong(at, "`auth` must be \"authorization\" or \"api-key\"");
            Auth::Bearer
        }
    };
    ProviderKind::OpenAi { base_url, key, auth }
}

/// Where a provider is, and the key to it.
fn server_of(
    vendor: &str,
    section: &mut Section<'_>,
    env: Env<'_>,
    source: &mut Source<'_>,
) -> (String, Option<SecretString>) {
    let at = section.place_of("base_url");
    let base_url = section.text("base_url", source).unwrap_or(vendor).to_string();
    let key = variable("key_env", "OPENAI_API_KEY", section, env, source);
    if let Err(problem) = check_address(&base_url, key.is_some()) {
        source.wrong(at, problem.to_string());
    }
    (base_url, key)
}

/// A secret in the environment variable that the setting names.
pub(super) fn variable(
    setting: &'static str,
    example: &str,
    section: &mut Section<'_>,
    env: Env<'_>,
    source: &mut Source<'_>,
) -> Option<SecretString> {
    let at = section.place_of(setting);
    section.text(setting, source).and_then(|variable| {
        // What is no variable's name may be the key itself: it is not repeated.
        let is_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if variable.is_empty() || !variable.bytes().all(is_name) {
            source.wrong(at, format!("`{setting}` must name an environment variable, such as \"{example}\""));
            return None;
        }
        let key = env(variable).filter(|key| !key.is_empty());
        if key.is_none() {
            source.wrong(at, format!("the environment variable `{variable}` is not set: put the key there"));
        }
        key.map(SecretString::from)
    })
}

fn chain(name: &str, mut section: Section<'_>, source: &mut Source<'_>) -> ChainConfig {
    check_name(name, section.at, source);
    let at = section.place_of("targets");
    let mut targets = targets("targets", Lane::Usual, &mut section, source);
    if targets.is_empty() {
        source.wrong(at, "`targets` must name at least one \"provider/model\"");
    }
    for (key, lane) in [("when_too_long", Lane::LargerContext), ("when_filtered", Lane::Filtered)] {
        targets.extend(self::targets(key, lane, &mut section, source));
    }
    let policy = policy::chain(&mut section, source);
    section.finish(source);
    ChainConfig { name: name.into(), targets, policy }
}

fn targets(
    key: &'static str,
    lane: Lane,
    section: &mut Section<'_>,
    source: &mut Source<'_>,
) -> Vec<TargetConfig> {
    let texts = section.texts(key, source);
    texts.into_iter().map(|(text, at)| target(text, lane, at, source)).collect()
}

fn target(text: &str, lane: Lane, at: usize, source: &mut Source<'_>) -> TargetConfig {
    let target = TargetConfig::parse(text);
    if target.provider.is_empty() || target.model.is_empty() {
        source.wrong(at, "a target is a \"provider/model\"");
    }
    TargetConfig { lane, place: Some(source.place(at)), ..target }
}

fn check_name(name: &str, at: usize, source: &mut Source<'_>) {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
        source.wrong(at, "a name has 1 to 64 lower-case letters, digits, `_`, `-` or `.`");
    }
}
