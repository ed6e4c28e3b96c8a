//! What rows must withstand, and what they must give back.

use std::time::Duration;

use mainstay_actors::{
    cache::control::{CacheControl, CachePolicy},
    error::{CallError, ErrorKind},
};
use proptest::prelude::*;

use super::*;

const KEY: Key = Key([7; 32]);
const SECRET: Secret = [3; 32];
const LARGEST: usize = 1 << 20;

fn entry(answer: Kept) -> Entry {
    Entry {
        scope: Scope { tenant: "t".into(), namespace: "n".into() },
        tags: vec!["prompt-3".into(), "".into()],
        begun: 99,
        windows: Windows::new(1_800_000_000_000, &CachePolicy::default(), &CacheControl::default()),
        provider: "openai".into(),
        model: "gpt".into(),
        upstream_request_id: Some("req_1".into()),
        usage: Some(Usage { input_tokens: 5, output_tokens: u64::MAX }),
        took_ms: 1234,
        answer,
    }
}

fn stream(count: u64) -> Kept {
    let frame = |n: u64| KeptFrame {
        bytes: format!("data: {{\"delta\": {n}}}\n\n").into(),
        kind: KINDS[n as usize % KINDS.len()],
        after_ms: n * 20,
    };
    Kept::Stream((0..count).map(frame).collect())
}

fn whole(text: &str) -> Entry {
    entry(Kept::Whole(text.to_owned().into()))
}

fn sealed(entry: &Entry) -> Vec<u8> {
    seal(&KEY, entry, &SECRET).unwrap()
}

fn opened(row: &[u8]) -> Result<Entry, Corrupt> {
    open(&KEY, row, &SECRET, LARGEST)
}

/// A row that says anything at all behind a good seal.
fn forged(rest: &[u8]) -> Vec<u8> {
    let mut row = [&[VERSION][..], &[0; SEAL], rest].concat();
    let seal = seal_of(&KEY, &row, &SECRET);
    row[1..PREFIX].copy_from_slice(&seal);
    row
}

fn forged_head(change: impl Fn(&mut Head), body: &[u8]) -> Vec<u8> {
    let mut head = head(&whole(""), body.len());
    change(&mut head);
    forged(&[&postcard::to_allocvec(&head).unwrap()[..], body].concat())
}

#[test]
fn an_entry_comes_back_as_it_went() {
    let answers =
        ["", "null", "0", "[]", &"abc".repeat(9000)].map(|text| Kept::Whole(text.to_owned().into()));
    for answer in answers.into_iter().chain([stream(0), stream(1), stream(300)]) {
        let entry = entry(answer);
        // CA1, CA2
        assert_eq!(format!("{:?}", opened(&sealed(&entry)).unwrap()), format!("{entry:?}"));
    }
}

#[test]
fn any_flipped_byte_is_refused() {
    for entry in [whole(&"answer ".repeat(40)), entry(stream(8))] {
        let row = sealed(&entry);
        for at in 0..row.len() {
            for mask in [1, 0x80, 0xff] {
                let mut row = row.clone();
                row[at] ^= mask;
                assert!(opened(&row).is_err(), "{at} {mask}"); // CA10
            }
        }
        for len in 0..row.len() {
            assert!(opened(&row[..len]).is_err(), "{len}");
        }
    }
}

#[test]
fn a_row_moved_to_another_key_is_refused() {
    let row = sealed(&whole("mine"));
    assert_eq!(open(&Key([8; 32]), &row, &SECRET, LARGEST).unwrap_err(), Corrupt::Seal); // CA10, SE9
}

#[test]
fn a_row_made_with_another_secret_is_refused() {
    let planted = seal(&KEY, &whole("planted"), &[4; 32]).unwrap();
    assert_eq!(opened(&planted).unwrap_err(), Corrupt::Seal); // SE9
}

#[test]
fn a_newer_form_is_told_from_damage() {
    let mut row = sealed(&whole("x"));
    row[0] = VERSION + 1;
    let problem = opened(&row).unwrap_err();
    assert_eq!(problem, Corrupt::Newer(VERSION + 1));
    assert!(problem.to_string().contains("newer Mainstay"));
}

#[test]
fn a_verdict_on_the_request_has_no_row() {
    let refused = CallError {
        kind: ErrorKind::BadRequest,
        attempts: vec![],
        retry_after: None,
        upstream: None,
        cache: None,
    };
    assert_eq!(seal(&KEY, &entry(Kept::Refused(Arc::new(refused))), &SECRET), None);
}

#[test]
fn text_takes_less_than_it_has_and_noise_hardly_more() {
    assert!(sealed(&whole(&"the same words ".repeat(200))).len() < 500);
    let noise: Vec<u8> = (0..3000).map(|_| fastrand::u8(..)).collect();
    let row = sealed(&entry(Kept::Whole(noise.into())));
    assert!(row.len() < 3200, "{}", row.len());
}

#[test]
fn an_answer_larger_than_allowed_is_refused_before_it_is_unpacked() {
    let packed = lz4_flex::block::compress(&[b'a'; 100]);
    for size in [(LARGEST + ROOM + 1) as u64, u64::MAX] {
        let row = forged_head(|head| head.size = size, &packed);
        assert_eq!(opened(&row).unwrap_err(), Corrupt::TooLarge, "{size}");
    }
    assert_eq!(opened(&vec![VERSION; LARGEST + ROOM + 1]).unwrap_err(), Corrupt::TooLarge);
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_makes_no_sense() {
    let packed = lz4_flex::block::compress(&[b'a'; 100]);
    assert!(opened(&forged_head(|head| head.size = 100, &packed)).is_ok());
    for size in [0, 99, 101] {
        let row = forged_head(|head| head.size = size, &packed);
        assert_eq!(opened(&row).unwrap_err(), Corrupt::Senseless, "{size}");
    }
}

#[test]
fn windows_out_of_order_make_no_sense() {
    let row = forged_head(|head| head.windows = [4, 3, 2, 1], b"");
    assert_eq!(opened(&row).unwrap_err(), Corrupt::Senseless);
}

#[test]
fn frames_must_fill_the_body_exactly() {
    let body = |marks: &[FrameMark]| [&postcard::to_allocvec(marks).unwrap()[..], b"abc"].concat();
    let table: [(&[FrameMark], bool); 5] = [
        (&[(3, 2, 0)], true),
        (&[(1, 2, 0), (2, 3, 9)], true),
        (&[(2, 2, 0)], false),
        (&[(u32::MAX, 2, 0)], false),
        (&[(3, 4, 0)], false),
    ];
    for (marks, is_good) in table {
        let row = forged_head(|head| head.is_stream = true, &body(marks));
        assert_eq!(opened(&row).is_ok(), is_good, "{marks:?}");
    }
}

#[test]
fn a_glance_at_the_beginning_tells_all_but_the_answer() {
    let entry = whole(&"answer ".repeat(1000));
    let row = sealed(&entry);
    let seen = peek(&row[..row.len() - 9]).unwrap();
    assert_eq!((&seen.scope, &seen.tags, seen.begun), (&entry.scope, &entry.tags, entry.begun));
    assert_eq!(seen.windows, entry.windows);
}

#[test]
fn a_caller_may_have_set_the_longest_time() {
    let control = CacheControl { ttl: Some(Duration::MAX), ..CacheControl::default() };
    let mut entry = whole("x");
    entry.windows = Windows::new(1, &CachePolicy::default(), &control);
    assert_eq!(opened(&sealed(&entry)).unwrap().windows, entry.windows);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = opened(&bytes);
        let _ = peek(&bytes);
    }

    /// Whoever has the secret may lie too.
    #[test]
    fn no_sealed_bytes_make_it_panic(rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = opened(&forged(&rest));
    }

    #[test]
    fn no_sealed_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..300), size in 0..2000u64, is_stream: bool) {
        let _ = opened(&forged_head(|head| (head.size, head.is_stream) = (size, is_stream), &body));
    }
}
