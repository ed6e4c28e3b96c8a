//! What the answers of the embeddings API mean. They never stream.

use mainstay_actors::{call::Finish, error::ProviderError};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::chat::ChatUsage;
use crate::providers::{
    dialect::{self, Dialect, Meaning, Whole, malformed},
    errors,
    redact::Redactor,
};

/// Looks at whole answers only.
#[derive(Debug, Default)]
pub(in crate::providers) struct Embeddings;

impl Dialect for Embeddings {
    fn whole(body: &[u8], secrets: &Redactor) -> Result<Whole, ProviderError> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            data: Option<Vec<IgnoredAny>>,
            error: Option<IgnoredAny>,
            #[serde(borrow)]
            usage: Option<&'a RawValue>,
        }
        match dialect::answer(body) {
            Some(Answer { error: Some(_), .. }) => Err(errors::inside(body, secrets)),
            Some(Answer { data: Some(_), usage, .. }) => {
                Ok(Whole { usage: dialect::usage::<ChatUsage>(usage), finish: Some(Finish::Complete) })
            }
            _ => Err(malformed("the answer is not a JSON object with `data`")),
        }
    }

    fn event(&mut self, _: &[u8], _: &Redactor) -> Result<Meaning, ProviderError> {
        Err(malformed("embeddings came as a stream"))
    }
}

#[cfg(test)]
mod tests {
    use mainstay_actors::{call::Usage, error::ErrorKind};

    use super::*;

    #[test]
    fn an_answer_tells_its_usage_and_an_error_is_none() {
        let whole = |body: &str| match Embeddings::whole(body.as_bytes(), &Redactor::default()) {
            Ok(whole) => Ok(whole.usage),
            Err(error) => Err(error.kind),
        };
        let told = r#"{"data":[{}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
        assert_eq!(whole(told), Ok(Some(Usage { input_tokens: 8, output_tokens: 0 }))); // PC19
        assert_eq!(whole(r#"{"data":[]}"#), Ok(None));
        assert_eq!(whole(r#"{"error":{"code":"server_error"}}"#), Err(ErrorKind::ServerError)); // PC12
        assert_eq!(whole("{}"), Err(ErrorKind::Malformed));
    }
}
