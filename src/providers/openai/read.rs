//! For those who want the text and not the bytes.
//!
//! The gateway never needs this: it forwards. Only the first choice is looked at.

use mainstay_actors::call::{Frame, Reply};
use serde::Deserialize;

use crate::providers::sse;

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "delta")]
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

/// The text of a whole answer; `None` for an answer without text, such as a tool call.
pub fn text_of(reply: &Reply) -> Option<String> {
    first_content(&reply.body)
}

/// The piece of text in a frame of a stream; `None` for a frame without.
pub fn delta_of(frame: &Frame) -> Option<String> {
    first_content(&sse::fields(&frame.bytes).data?).filter(|text| !text.is_empty())
}

fn first_content(json: &[u8]) -> Option<String> {
    let answer: Answer = serde_json::from_slice(json).ok()?;
    answer.choices.into_iter().next()?.message.content
}

#[cfg(test)]
mod tests {
    use mainstay_actors::call::FrameKind;

    use super::*;

    fn delta(event: &'static str) -> Option<String> {
        delta_of(&Frame::new(event, FrameKind::Content))
    }

    #[test]
    fn a_frame_s_text_is_found() {
        assert_eq!(
            delta("data: {\"choices\":[{\"delta\":{\"content\":\"h\\ni\"}}]}\n\n").as_deref(),
            Some("h\ni")
        );
    }

    #[test]
    fn frames_without_text_have_none() {
        for event in [
            ": ping\n\n",
            "data: [DONE]\n\n",
            "data: {\"choices\":[]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}]}\n\n",
        ] {
            assert_eq!(delta(event), None, "{event}");
        }
    }
}
