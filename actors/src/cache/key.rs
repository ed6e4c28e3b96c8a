//! Under which name an answer is kept, and in whose drawer.
//!
//! What goes into the digest is decided by the [`CacheRules`](crate::ports::CacheRules).

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A digest of all that determines an answer: equal questions have equal keys, different ones different keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub [u8; 32]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key's text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cache key has 64 hexadecimal digits: take it from the `x-mainstay-cache-key` header of an answer")]
pub struct BadKey;

impl std::str::FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let digits = |at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let is_hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let mut key = [0; 32];
        for (i, byte) in key.iter_mut().enumerate() {
            *byte = is_hex.then(|| digits(2 * i)).flatten().ok_or(BadKey)?;
        }
        Ok(Self(key))
    }
}

/// Whose entry it is. Neither half is ever shared: what one tenant or namespace keeps, no other one sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// Who asks; empty where callers are not told apart.
    pub tenant: Arc<str>,
    /// A part of the cache with a name of its own, to be purged and counted by itself.
    pub namespace: Arc<str>,
}

/// The namespace of those who name none.
pub const DEFAULT_NAMESPACE: &str = "default";

impl Default for Scope {
    fn default() -> Self {
        Self { tenant: "".into(), namespace: DEFAULT_NAMESPACE.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text() {
        let key = Key(std::array::from_fn(|i| (i * 7) as u8));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.to_string().to_uppercase().parse(), Ok(key));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "0".repeat(66);
        let wide = "é".repeat(32);
        let signed = format!("+{}", "0".repeat(63));
        for text in ["", "00", &long, &wide, &signed] {
            assert_eq!(text.parse::<Key>(), Err(BadKey), "{text}");
        }
    }
}
