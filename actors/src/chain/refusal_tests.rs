//! An answer that says nothing but that a content policy refuses: others answer where the chain has some for it, and
//! otherwise it passes as it came.

use futures_util::StreamExt;

use super::{
    lane_tests::{Lanes, ONCE},
    *,
};
use crate::{
    call::FrameKind,
    provider::policy::ProviderPolicy,
    testing::{Act, request, settle},
};
use FrameKind::{Content, End, Note, Refusal};
use Lane::{Filtered, LargerContext, Usual};

async fn refusing(lanes: &[Lane]) -> Lanes {
    let lanes = Lanes::start(lanes, ProviderPolicy::default(), ONCE).await;
    lanes.fakes[0].set(Act::Refuse(0));
    lanes
}

/// What a caller gets, and of whom, whole and as a stream.
async fn answers(lanes: &Lanes) -> [(Vec<u8>, Story); 2] {
    let chat = lanes.tree.system().chain("chat").unwrap();
    let whole = chat.call(request()).await.unwrap();
    let stream = chat.stream(request()).await.unwrap();
    let story = stream.story.clone();
    let frames: Vec<_> = stream.map(|frame| frame.unwrap().bytes).collect().await;
    [(whole.body.to_vec(), whole.story), (frames.concat(), story)]
}

const ANSWER: [&[u8]; 2] = [b"{}", b"role word word word finish end"];
const REFUSAL: [&[u8]; 2] = [b"refused", b"refused refused refused "];

#[tokio::test(start_paused = true)]
async fn a_refusal_is_answered_by_the_targets_that_the_chain_has_for_it() {
    let lanes = refusing(&[Usual, Usual, Filtered]).await;
    for ((body, story), expected) in answers(&lanes).await.into_iter().zip(ANSWER) {
        assert_eq!((&*body, &*story.provider), (expected, "c")); // PC4
        let failed: Vec<_> = story.failed.iter().map(|report| (&*report.provider, report.kind)).collect();
        assert_eq!((failed, story.attempts()), (vec![("a", ErrorKind::ContentFiltered)], 2));
    }
    settle().await;
    assert_eq!(lanes.asked(), [2, 0, 2]);
    let refusing = lanes.tree.system().provider("a").unwrap();
    assert!(refusing.is_usable() && refusing.in_flight() == 0, "a refusal blames nobody"); // PC4
}

#[tokio::test(start_paused = true)]
async fn without_such_targets_a_refusal_passes_byte_for_byte() {
    for lanes in [&[Usual, Usual][..], &[Usual, LargerContext]] {
        let lanes = refusing(lanes).await;
        for ((body, story), expected) in answers(&lanes).await.into_iter().zip(REFUSAL) {
            assert_eq!((&*body, &*story.provider, story.failed.len()), (expected, "a", 0)); // PC4
        }
        assert_eq!(lanes.asked(), [2, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stands_if_nobody_else_answers() {
    for then in [Act::Fail(ErrorKind::ServerError), Act::Fail(ErrorKind::BadRequest), Act::Hang] {
        let lanes = refusing(&[Usual, Filtered]).await;
        lanes.fakes[1].set(then);
        for ((body, story), expected) in answers(&lanes).await.into_iter().zip(REFUSAL) {
            assert_eq!((&*body, &*story.provider, story.attempts()), (expected, "a", 2), "{then:?}");
            assert_eq!(&*story.failed[0].provider, "b");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_those_who_answer_the_refused_is_the_answer() {
    let lanes = refusing(&[Usual, Filtered, Filtered]).await;
    lanes.fakes[1].set(Act::Refuse(0));
    for ((body, story), expected) in answers(&lanes).await.into_iter().zip(REFUSAL) {
        assert_eq!((&*body, &*story.provider), (expected, "b"));
    }
    assert_eq!(lanes.asked(), [2, 2, 0], "nobody shops around for an answer"); // PC4
}

#[tokio::test(start_paused = true)]
async fn once_content_was_handed_over_a_refusal_passes() {
    let lanes = refusing(&[Usual, Filtered]).await;
    lanes.fakes[0].set(Act::Refuse(2));
    let stream = lanes.tree.system().chain("chat").unwrap().stream(request()).await.unwrap();
    assert_eq!(&*stream.story.provider, "a");
    let kinds: Vec<_> = stream.map(|frame| frame.unwrap().kind).collect().await;
    assert_eq!(kinds, [Note, Content, Content, Refusal, End]);
    assert_eq!(lanes.asked(), [1, 0], "what was delivered cannot be taken back");
}
