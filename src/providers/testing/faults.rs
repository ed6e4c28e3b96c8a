//! Every fault of the scripted provider, and what each API's client must make of it.

use futures_util::future::join_all;
use mainstay_actors::{
    call::Request,
    error::ErrorKind::{self, *},
    ports::Provider,
};

use super::{
    Ended::{self, Failed, Short, Silent, Whole},
    streamed, whole,
};

/// How many words the scripted provider echoes when it is asked for `one two`.
const WORDS: usize = 5;

/// An API as the scripted provider speaks it.
pub(in crate::providers) struct Scene<'a> {
    pub(in crate::providers) provider: &'a dyn Provider,
    /// Asks for `one two`.
    pub(in crate::providers) request: &'a Request,
    /// The events before the first word, and those after the last one.
    pub(in crate::providers) around: (usize, usize),
}

impl Scene<'_> {
    /// How an answer ends under each fault, whole and as a stream with so many words.
    fn table(&self) -> Vec<(String, Ended, (usize, Ended))> {
        let two_words = self.around.0 + 2;
        let refused =
            |(status, kind): (&str, ErrorKind)| (format!("status={status}"), Failed(kind), (0, Failed(kind)));
        let statuses = [
            ("400", BadRequest),
            ("401", Auth),
            ("402", QuotaExhausted),
            ("403", PermissionDenied),
            ("404", NotFound),
            ("413", TooLarge),
            ("429; retry-after=2", RateLimited),
            ("500", ServerError),
            ("503", Overloaded),
            ("529", Overloaded),
        ];
        let others = [
            ("slow=20".into(), Whole, (WORDS, Whole)),
            ("hang".into(), Silent, (0, Silent)),
            ("hang-after=0".into(), Silent, (0, Silent)),
            (format!("hang-after={two_words}"), Silent, (2, Silent)),
            ("cut-after=0".into(), Failed(Malformed), (0, Short)),
            (format!("cut-after={two_words}"), Failed(Malformed), (2, Short)),
            ("reset".into(), Failed(Reset), (0, Failed(Reset))),
            ("reset-after=0".into(), Failed(Reset), (0, Failed(Reset))),
            (format!("reset-after={two_words}"), Failed(Reset), (2, Failed(Reset))),
            ("malformed".into(), Failed(Malformed), (0, Failed(Malformed))),
            ("no-done".into(), Whole, (WORDS, Short)),
            ("error-after=0".into(), Failed(ServerError), (0, Failed(ServerError))),
            (format!("error-after={two_words}"), Failed(ServerError), (2, Failed(ServerError))),
            ("pings".into(), Silent, (0, Silent)),
            ("empty".into(), Failed(Malformed), (0, Short)),
        ];
        statuses.into_iter().map(refused).chain(others).collect()
    }

    pub(in crate::providers) async fn every_fault_has_its_outcome(&self, streams: bool) {
        let outcomes = self.table().into_iter().map(|(fault, ended, expected)| async move {
            let model = format!("fault:{fault}");
            assert_eq!(whole(self.provider, self.request, &model).await, ended, "{fault}"); // PC12, RS5
            if streams {
                assert_eq!(streamed(self.provider, self.request, &model).await, expected, "{fault}"); // RS6
            }
        });
        join_all(outcomes).await;
    }

    pub(in crate::providers) async fn a_broken_stream_is_never_complete(&self) {
        let (before, after) = self.around;
        let events = before + WORDS + after;
        for cut in 0..=events {
            let contents = cut.saturating_sub(before).min(WORDS);
            for (fault, broken) in [("cut", Short), ("reset", Failed(Reset))] {
                let model = format!("fault:{fault}-after={cut}");
                let expected = (contents, if cut == events { Whole } else { broken });
                assert_eq!(streamed(self.provider, self.request, &model).await, expected, "{model}"); // RS6
            }
        }
    }
}
