//! Keeps keys out of everything that people and clients get to see.
//!
//! Vendors echo a wrong key, whole or masked, in their answers. What a key looks like is guessed widely here:
//! a word too many left out of an error message hurts nobody.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

/// The longest line that is kept of a vendor's message, in characters.
const LINE: usize = 300;

/// Knows the key that must not be shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor(Option<Arc<SecretString>>);

impl Redactor {
    pub(super) fn new(key: Option<SecretString>) -> Self {
        Self(key.map(Arc::new))
    }

    /// `text` as one bounded line without anything that looks like a key.
    pub(super) fn line(&self, text: &str) -> String {
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(|word| self.word(word)).collect();
        let mut line: String = words.join(" ");
        if let Some((end, _)) = line.char_indices().nth(LINE) {
            line.truncate(end);
            line.push('…');
        }
        line
    }

    /// Does `bytes` hold the key?
    pub(super) fn leaks(&self, bytes: &[u8]) -> bool {
        let key = self.key().as_bytes();
        !key.is_empty() && bytes.windows(key.len()).any(|part| part == key)
    }

    fn word<'a>(&self, word: &'a str) -> &'a str {
        if self.is_secret(word) { "[redacted]" } else { word }
    }

    fn is_secret(&self, word: &str) -> bool {
        let key = self.key();
        // A masked echo keeps the beginning: `sk-ab…`, `gsk_ab****yz`.
        let start = key.get(..6).filter(|_| key.len() > 12);
        let starts_like_a_key = |part: &str| part.starts_with("sk-") || part.starts_with("sk_");
        word.contains("**")
            || self.leaks(word.as_bytes())
            || start.is_some_and(|start| word.contains(start))
            || word.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').any(starts_like_a_key)
    }

    fn key(&self) -> &str {
        self.0.as_ref().map_or("", |key| key.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(key: &str) -> Redactor {
        Redactor::new(Some(key.into()))
    }

    #[test]
    fn echoed_keys_are_left_out_whole_and_masked() {
        let ours = redactor("gsk_0123456789abcdef");
        for echo in [
            "gsk_0123456789abcdef",
            "'gsk_0123…'",
            "abc*****xyz.",
            "sk-proj-zzz",
            "key=\"sk-zzz\",",
            "sk-zzz",
        ] {
            assert_eq!(ours.line(&format!("wrong key: {echo} given")), "wrong key: [redacted] given"); // SE4
        }
    }

    #[test]
    fn other_words_stay() {
        let text = "the task-force asked, ask-me: risk-free (disk-bound)";
        assert_eq!(redactor("gsk_0123456789abcdef").line(text), text);
        assert_eq!(Redactor::default().line(text), text);
    }

    #[test]
    fn a_message_is_one_bounded_line() {
        let line = Redactor::default().line(&"ä\n\u{1b}[31m \0".repeat(500));
        assert!(line.chars().count() <= LINE + 1 && !line.contains(char::is_control), "{line}"); // SE10
    }

    #[test]
    fn debug_shows_no_key() {
        assert!(!format!("{:?}", redactor("gsk_0123456789abcdef")).contains("0123"));
    }
}
