//! What a caller asks of the cache, as far as its headers say so (CA13).
//!
//! `Cache-Control` is that of RFC 9111: directives that are not known here are ignored, as it wants. What is known and
//! makes no sense is refused, unlike a [deadline](super::waiting): whoever believes that nothing is kept, or that
//! nothing old is given, must not be mistaken. What the cache makes of it is not known here.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::http::{HeaderMap, StatusCode};
use mainstay_actors::cache::control::{CacheControl, LONGEST, Level, Levels};

use super::answer::Refusal;

const CACHE_CONTROL: &str = "cache-control";

/// How long the answer stays fresh, in seconds; it also says that a sampled answer may be kept.
const TTL: &str = "x-mainstay-cache-ttl";

/// The drawer to look in and to keep the answer in.
const NAMESPACE: &str = "x-mainstay-cache-namespace";

/// What the answer depends on, with commas between.
const TAGS: &str = "x-mainstay-cache-tags";

/// The tiers to use, with commas between.
const LEVELS: &str = "x-mainstay-cache-levels";

const LONGEST_NAMESPACE: usize = 64;
const MOST_TAGS: usize = 16;
const LONGEST_TAG: usize = 128;

/// What is asked for, or what cannot be understood of it.
pub(super) fn wishes(headers: &HeaderMap) -> Result<CacheControl, Refusal> {
    let own = CacheControl {
        ttl: ttl(headers)?,
        namespace: namespace(headers)?,
        tags: tags(headers)?,
        levels: levels(headers)?,
        ..CacheControl::default()
    };
    members(headers, CACHE_CONTROL)?.into_iter().try_fold(own, obey)
}

fn obey(asked: CacheControl, directive: &str) -> Result<CacheControl, Refusal> {
    let (name, value) = match directive.split_once('=') {
        Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
        None => (directive, None),
    };
    // Of two that differ the stricter one holds.
    let least = |before: Option<Duration>| {
        let now = seconds(name, value)?;
        Ok(Some(before.map_or(now, |before| before.min(now))))
    };
    Ok(match name.to_ascii_lowercase().as_str() {
        "no-cache" => CacheControl { no_cache: flag(name, value)?, ..asked },
        "no-store" => CacheControl { no_store: flag(name, value)?, ..asked },
        "only-if-cached" => CacheControl { only_if_cached: flag(name, value)?, ..asked },
        "max-age" => CacheControl { max_age: least(asked.max_age)?, ..asked },
        "stale-if-error" => CacheControl { stale_if_error: least(asked.stale_if_error)?, ..asked },
        _ => asked,
    })
}

fn flag(name: &str, value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        None => Ok(true),
        Some(_) => Err(bad(CACHE_CONTROL, format!("`{name}` takes no value"))),
    }
}

/// A number that is too large for anything stands for the longest time there is (RFC 9111, 1.2.2).
fn seconds(name: &str, value: Option<&str>) -> Result<Duration, Refusal> {
    let value = value.unwrap_or_default();
    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    match is_number(digits) {
        true => Ok(digits.parse().map_or(LONGEST, |n| Duration::from_secs(n).min(LONGEST))),
        false => Err(bad(CACHE_CONTROL, format!("`{name}` needs whole seconds, as in `{name}=60`"))),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn ttl(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(text) = single(headers, TTL)? else { return Ok(None) };
    let seconds = is_number(text).then(|| text.parse().ok()).flatten();
    match seconds.filter(|n| (1..=LONGEST.as_secs()).contains(n)) {
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(bad(TTL, format!("it must be whole seconds, 1 to {}", LONGEST.as_secs()))),
    }
}

fn namespace(headers: &HeaderMap) -> Result<Option<Arc<str>>, Refusal> {
    let Some(name) = single(headers, NAMESPACE)? else { return Ok(None) };
    match is_namespace(name) {
        true => Ok(Some(name.into())),
        false => Err(bad(
            NAMESPACE,
            format!("it must be 1 to {LONGEST_NAMESPACE} letters, digits, `_`, `-` or `.`"),
        )),
    }
}

/// Can anything be kept under this name?
pub(super) fn is_namespace(name: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=LONGEST_NAMESPACE).contains(&name.len()) && name.bytes().all(is_good)
}

fn tags(headers: &HeaderMap) -> Result<Vec<Arc<str>>, Refusal> {
    let tags: BTreeSet<_> = members(headers, TAGS)?.into_iter().collect();
    match tags.len() <= MOST_TAGS && tags.iter().all(|tag| is_tag(tag)) {
        true => Ok(tags.into_iter().map(Arc::from).collect()),
        false => Err(bad(
            TAGS,
            format!("it must be up to {MOST_TAGS} tags of 1 to {LONGEST_TAG} visible ASCII characters"),
        )),
    }
}

/// Can any answer have this tag?
pub(super) fn is_tag(tag: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_graphic() && b != b',';
    (1..=LONGEST_TAG).contains(&tag.len()) && tag.bytes().all(is_good)
}

fn levels(headers: &HeaderMap) -> Result<Option<Levels>, Refusal> {
    if !headers.contains_key(LEVELS) {
        return Ok(None);
    }
    let level = |name: &str| Level::ALL.into_iter().find(|level| level.name() == name);
    let levels: Option<Vec<_>> = members(headers, LEVELS)?.into_iter().map(level).collect();
    match levels.filter(|levels| !levels.is_empty()) {
        Some(levels) => Ok(Some(levels.into_iter().collect())),
        None => Err(bad(LEVELS, "it must be some of `memory`, `disk` and `redis`".into())),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let lines = lines(headers, name)?;
    match lines[..] {
        [] => Ok(None),
        [line] => Ok(Some(line)),
        _ => Err(bad(name, "it may stand there once".into())),
    }
}

/// All members of a list, whatever lines they stand in.
fn members<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Vec<&'a str>, Refusal> {
    Ok(lines(headers, name)?.into_iter().flat_map(parted).filter(|member| !member.is_empty()).collect())
}

fn lines<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Vec<&'a str>, Refusal> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().ok().map(str::trim));
    lines.collect::<Option<_>>().ok_or_else(|| bad(name, "it must be visible ASCII characters".into()))
}

/// A comma within quotes parts nothing.
fn parted(line: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = line.split(move |c| {
        let parts = c == ',' && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && is_quoted && !is_escaped;
        parts
    });
    parts.map(str::trim)
}

fn bad(header: &'static str, why: String) -> Refusal {
    let message = format!("The header `{header}` cannot be understood: {why}.");
    let refusal = Refusal::new(StatusCode::BAD_REQUEST, "bad_cache_header", message);
    Refusal { param: Some(header), ..refusal }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<CacheControl, String> {
        let header = |(name, value): &(&'static str, &str)| {
            (name.parse().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        wishes(&pairs.iter().map(header).collect()).map_err(|refusal| {
            assert_eq!((refusal.status, refusal.code), (StatusCode::BAD_REQUEST, Some("bad_cache_header")));
            refusal.message
        })
    }

    fn control(line: &str) -> CacheControl {
        read(&[(CACHE_CONTROL, line)]).unwrap_or_else(|why| panic!("{line}: {why}"))
    }

    #[test]
    fn each_directive_has_its_meaning() {
        let asked = control("No-Cache, no-store ,max-age=60,stale-if-error = 5,, only-if-cached");
        assert!(asked.no_cache && asked.no_store && asked.only_if_cached); // CA13
        assert_eq!(asked.max_age, Some(Duration::from_secs(60)));
        assert_eq!(asked.stale_if_error, Some(Duration::from_secs(5)));
        assert_eq!(control("max-age=\"7\"").max_age, Some(Duration::from_secs(7)));
        let lines = read(&[(CACHE_CONTROL, "max-age=9"), (CACHE_CONTROL, "max-age=3, no-cache")]).unwrap();
        assert_eq!((lines.max_age, lines.no_cache), (Some(Duration::from_secs(3)), true));
    }

    #[test]
    fn what_is_not_known_is_ignored_with_its_value() {
        let asked = control(r#"private, max-stale=soon, x="no-cache, \"no-store", community="UCI""#);
        assert!(!asked.no_cache && !asked.no_store && asked.max_age.is_none());
        assert!(control(r#"x="a\\", no-cache"#).no_cache);
    }

    #[test]
    fn a_time_too_long_for_anything_is_the_longest() {
        assert_eq!(control("max-age=99999999999999999999999").max_age, Some(LONGEST));
    }

    #[test]
    fn our_own_headers_have_their_meaning() {
        let pairs =
            [(TTL, "90"), (NAMESPACE, "team-1.b_C"), (TAGS, "v1, doc:7,v1"), (LEVELS, "memory,redis")];
        let asked = read(&pairs).unwrap();
        assert_eq!(
            (asked.ttl, asked.namespace.as_deref()),
            (Some(Duration::from_secs(90)), Some("team-1.b_C"))
        );
        assert_eq!(asked.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["doc:7", "v1"]);
        let levels = asked.levels.unwrap();
        assert_eq!(Level::ALL.map(|level| levels.has(level)), [true, false, true]); // CA13
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let many = (0..=MOST_TAGS).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let long = "x".repeat(LONGEST_TAG + 1);
        let cases = [
            (
                CACHE_CONTROL,
                vec!["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=\"1", "max-age= 1 2"],
            ),
            (
                CACHE_CONTROL,
                vec!["no-store=1", "no-cache=\"x\"", "stale-if-error=NaN", "no-store, max-age=é"],
            ),
            (TTL, vec!["", "0", "-1", "+5", "1e3", "31536001", "99999999999999999999", "1h"]),
            (NAMESPACE, vec!["", "a b", "a/b", "ä", &long]),
            (TAGS, vec!["a b", "é", &many, &long]),
            (LEVELS, vec!["", "ram", "memory;disk", "MEMORY"]),
        ];
        for (name, values) in cases {
            for value in values {
                let refused = read(&[(name, value)]);
                assert!(
                    refused.as_ref().is_err_and(|why| why.contains(name)),
                    "{name}: {value}: {refused:?}"
                );
            }
        }
        assert!(read(&[(TTL, "5"), (TTL, "5")]).is_err());
    }
}
