//! What the cache had to do with an answer, as its headers say it (CA13).
//!
//! `Cache-Status` is that of RFC 9211, so that tools which know other caches understand this one. Whatever stands
//! there about an answer, its body is the same.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use mainstay_actors::{
    cache::{CacheStory, Lack, stats::Use},
    error::{CallError, ErrorKind},
};

const STATUS: HeaderName = HeaderName::from_static("cache-status");
const KEY: HeaderName = HeaderName::from_static("x-mainstay-cache-key");

/// Says on the answer where it comes from.
pub(super) fn tell(headers: &mut HeaderMap, story: &CacheStory) {
    put(headers, STATUS, &status(story));
    match story {
        CacheStory::Bypassed(_) => {}
        CacheStory::Missed { key, .. } => put(headers, KEY, &key.to_string()),
        CacheStory::Answered { key, age, .. } => {
            put(headers, KEY, &key.to_string());
            headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
        }
    }
}

/// The same of a call without an answer, if the cache had to do with that.
pub(super) fn tell_of(headers: &mut HeaderMap, error: &CallError) {
    match &error.cache {
        Some(story) => tell(headers, story),
        None if error.kind == ErrorKind::NotCached => put(headers, STATUS, "mainstay; detail=only-if-cached"),
        None => {}
    }
}

/// Says in plain words that the answer is an old one, because there is no other.
pub(super) fn warning(story: &CacheStory) -> Option<String> {
    let CacheStory::Answered { how: Use::IfError, age, .. } = story else { return None };
    Some(format!("nobody answers: this answer was kept and is {} old", in_words(*age)))
}

fn status(story: &CacheStory) -> String {
    match story {
        CacheStory::Bypassed(why) => format!("mainstay; fwd=bypass; detail={}", why.word()),
        CacheStory::Missed { why, joined, .. } => {
            let why = match why {
                Lack::Nothing => "miss",
                Lack::TooOld => "stale",
                Lack::Unwanted => "request",
            };
            format!("mainstay; fwd={why}{}", if *joined { "; collapsed" } else { "" })
        }
        CacheStory::Answered { level, how, fresh_for, stale_for, .. } => {
            let came = match how {
                // Somebody was asked, in vain.
                Use::IfError if stale_for.is_zero() => "fwd=request",
                Use::IfError => "fwd=stale",
                _ => "hit",
            };
            // Below zero as soon as it is stale.
            let ttl = fresh_for.as_secs() as i64 - stale_for.as_millis().div_ceil(1000) as i64;
            format!("mainstay; {came}; ttl={ttl}; detail={}", level.name())
        }
    }
}

fn in_words(age: Duration) -> String {
    let seconds = age.as_secs();
    if seconds == 1 {
        return "1 second".into();
    }
    let units = [(86_400, "days"), (3600, "hours"), (60, "minutes")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds >= 2 * unit).unwrap_or((1, "seconds"));
    format!("{} {name}", seconds / unit)
}

/// All of it is ASCII.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use mainstay_actors::{
        cache::{control::Level, key::Key},
        ports::NotKept,
    };

    use super::*;

    fn answered(how: Use, fresh: u64, stale: u64) -> CacheStory {
        let seconds = Duration::from_secs;
        let (key, level, age) = (Key([1; 32]), Level::Disk, seconds(10));
        CacheStory::Answered { key, level, how, age, fresh_for: seconds(fresh), stale_for: seconds(stale) }
    }

    #[test]
    fn each_story_has_its_words() {
        let missed = |why, joined| CacheStory::Missed { key: Key([1; 32]), why, joined };
        let table = [
            (CacheStory::Bypassed(NotKept::Sampled), "mainstay; fwd=bypass; detail=sampled"),
            (CacheStory::Bypassed(NotKept::SideEffects), "mainstay; fwd=bypass; detail=side-effects"),
            (missed(Lack::Nothing, false), "mainstay; fwd=miss"),
            (missed(Lack::Nothing, true), "mainstay; fwd=miss; collapsed"),
            (missed(Lack::TooOld, false), "mainstay; fwd=stale"),
            (missed(Lack::Unwanted, false), "mainstay; fwd=request"),
            (answered(Use::Hit, 3590, 0), "mainstay; hit; ttl=3590; detail=disk"),
            (answered(Use::Stale, 0, 30), "mainstay; hit; ttl=-30; detail=disk"),
            (answered(Use::IfError, 0, 7200), "mainstay; fwd=stale; ttl=-7200; detail=disk"),
            (answered(Use::IfError, 50, 0), "mainstay; fwd=request; ttl=50; detail=disk"),
        ];
        for (story, words) in table {
            assert_eq!(status(&story), words); // CA13
        }
    }

    #[test]
    fn a_kept_answer_has_its_age_and_every_one_that_could_be_kept_its_key() {
        let told = |story| {
            let mut headers = HeaderMap::new();
            tell(&mut headers, &story);
            headers
        };
        let hit = told(answered(Use::Hit, 1, 0));
        assert_eq!(
            (&hit[header::AGE], &hit[KEY]),
            (&"10".parse().unwrap(), &"01".repeat(32).parse().unwrap())
        );
        let missed = told(CacheStory::Missed { key: Key([1; 32]), why: Lack::Nothing, joined: false });
        assert!(missed.contains_key(KEY) && !missed.contains_key(header::AGE));
        assert!(!told(CacheStory::Bypassed(NotKept::Sampled)).contains_key(KEY));
    }

    #[test]
    fn only_an_answer_for_want_of_another_comes_with_a_warning() {
        assert_eq!(warning(&answered(Use::Hit, 1, 0)), None);
        assert_eq!(warning(&answered(Use::Stale, 0, 1)), None);
        let old = warning(&answered(Use::IfError, 0, 5)).unwrap();
        assert_eq!(old, "nobody answers: this answer was kept and is 10 seconds old"); // CA9
        let ages = [0, 1, 119, 120, 7199, 7200, 172_800].map(|age| in_words(Duration::from_secs(age)));
        assert_eq!(
            ages,
            ["0 seconds", "1 second", "119 seconds", "2 minutes", "119 minutes", "2 hours", "2 days"]
        );
    }
}
