//! Which requests are not kept, API by API.

use bytes::Bytes;
use mainstay_actors::{
    cache::key::Scope,
    call::{
        Api::{self, Chat, Embeddings, Messages, Responses},
        Request,
    },
    ports::{
        CacheRules,
        NotKept::{self, Sampled, SideEffects, Unreadable},
    },
};

use super::Rules;

/// What is said of a request with these members and a model.
fn verdict(api: Api, members: &str, sampled: bool) -> Result<(), NotKept> {
    let body = format!(r#"{{"model":"m"{}{members}}}"#, if members.is_empty() { "" } else { "," });
    let request = Request::new(Bytes::from(body), 9..12, false).api(api);
    Rules.key(&request, &Scope::default(), "p/m", sampled).map(drop)
}

#[test]
fn an_answer_is_kept_without_a_word_only_if_chance_had_no_part_in_it() {
    let table = [
        ("", Err(Sampled)),
        (r#""temperature":0"#, Ok(())),
        (r#""temperature":-0.0"#, Ok(())),
        (r#""temper\u0061ture":0e3"#, Ok(())),
        (r#""temperature":0,"n":3"#, Ok(())),
        (r#""temperature":0,"seed":7"#, Ok(())),
        (r#""temperature":0.7"#, Err(Sampled)),
        (r#""temperature":1e-400"#, Err(Sampled)),
        (r#""temperature":null"#, Err(Sampled)),
        (r#""temperature":"0""#, Err(Sampled)),
        (r#""temperature":[]"#, Err(Sampled)),
        (r#""temperature":false"#, Err(Sampled)),
        (r#""seed":7"#, Err(Sampled)),
        (r#""top_p":0"#, Err(Sampled)),
        (r#""options":{"temperature":0}"#, Err(Sampled)),
    ];
    for (members, expected) in table {
        for (api, more) in [(Chat, ""), (Messages, ""), (Responses, r#""store":false"#)] {
            let comma = if more.is_empty() || members.is_empty() { "" } else { "," };
            let members = format!("{members}{comma}{more}");
            assert_eq!(verdict(api, &members, false), expected, "{api:?} {members}");
            assert_eq!(verdict(api, &members, true), Ok(()), "{api:?} {members}");
        }
    }
    assert_eq!(verdict(Embeddings, r#""input":"x""#, false), Ok(()));
}

#[test]
fn an_answer_is_not_kept_if_the_provider_does_more_than_answer() {
    let table: &[(Api, &[&str], &[&str])] = &[
        (
            Chat,
            &[
                "",
                r#""store":null"#,
                r#""store":false"#,
                r#""tools":null"#,
                r#""tools":[]"#,
                r#""tools":[{"type":"function","function":{"name":"f"}},{"custom":{"name":"g"},"type":"custom"}]"#,
                r#""functions":[{"name":"f"}]"#,
                r#""modalities":null"#,
                r#""modalities":["text"]"#,
                r#""web_search_options":null"#,
                r#""metadata":{"store":"true","type":"web_search"}"#,
            ],
            &[
                r#""store":true"#,
                r#""\u0073tore":true"#,
                r#""store":1"#,
                r#""store":"false""#,
                r#""tools":[{"type":"function"},{"type":"web_search"}]"#,
                r#""tools":[{"type":"openrouter:web_search"}]"#,
                r#""tools":[{"function":{"name":"f"}}]"#,
                r#""tools":["function"]"#,
                r#""tools":{"type":"function"}"#,
                r#""tools":true"#,
                r#""modalities":["text","audio"]"#,
                r#""modalities":"text""#,
                r#""web_search_options":{}"#,
                r#""search_parameters":{"mode":"auto"}"#,
                r#""data_sources":[{"type":"azure_search"}]"#,
                r#""plugins":[{"id":"web"}]"#,
            ],
        ),
        (
            Messages,
            &[
                "",
                r#""tools":[{"name":"f","input_schema":{"type":"object"}},{"type":"custom","name":"g"}]"#,
                r#""tools":[{"type":null,"name":"f"}]"#,
                r#""mcp_servers":[]"#,
                r#""mcp_servers":null"#,
                r#""container":null"#,
                r#""store":true"#,
            ],
            &[
                r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
                r#""tools":[{"type":"code_execution_20250825","name":"code_execution"}]"#,
                r#""tools":[{"type":"bash_20250124","name":"bash"}]"#,
                r#""tools":["f"]"#,
                r#""mcp_servers":[{"type":"url"}]"#,
                r#""mcp_servers":{}"#,
                r#""container":"c1""#,
                r#""container":{"skills":[]}"#,
            ],
        ),
        (
            Responses,
            &[
                r#""store":false"#,
                r#""store":false,"background":false,"previous_response_id":null,"conversation":null,"prompt":null"#,
                r#""store":false,"tools":[{"type":"function","name":"f"},{"type":"custom","name":"g"}]"#,
            ],
            &[
                "",
                r#""store":true"#,
                r#""store":null"#,
                r#""store":false,"background":true"#,
                r#""store":false,"previous_response_id":"resp_1""#,
                r#""store":false,"conversation":"conv_1""#,
                r#""store":false,"conversation":{"id":"conv_1"}"#,
                r#""store":false,"prompt":{"id":"pmpt_1"}"#,
                r#""store":false,"tools":[{"type":"mcp"}]"#,
                r#""store":false,"tools":[{"type":"function"},{"type":"code_interpreter"}]"#,
            ],
        ),
        (Embeddings, &["", r#""input":"x","store":true"#], &[]),
    ];
    for (api, kept, not_kept) in table {
        for members in *kept {
            assert_eq!(verdict(*api, members, true), Ok(()), "{api:?} {members}");
        }
        for members in *not_kept {
            // Not even where sampled answers are.
            assert_eq!(verdict(*api, members, true), Err(SideEffects), "{api:?} {members}");
            let comma = if members.is_empty() { "" } else { "," };
            let cold = format!(r#"{members}{comma}"temperature":0"#);
            assert_eq!(verdict(*api, &cold, false), Err(SideEffects), "{api:?} {cold}");
        }
    }
}

#[test]
fn what_is_no_clear_object_is_not_kept() {
    let table = [
        r#""a":1,"a":1"#,
        r#""a":1,"\u0061":1"#,
        r#""temperature":0,"temperature":1"#,
        r#""model":"n""#,
        r#""a":[{"b":[{"c":0,"d":1,"c":0}]}]"#,
        r#""a":"\ud800""#,
        r#""a":"\udc00\ud800""#,
        "\"a\":\"\n\"",
        r#""a":01"#,
        r#""a":1e99999999999999999999"#,
        r#""a":NaN"#,
        r#""a":1,"#,
        r#"1"#,
        r#""a":1}"#,
        r#"// hi"#,
    ];
    for members in table {
        assert_eq!(verdict(Chat, members, true), Err(Unreadable), "{members}");
    }
    for body in ["", "[]", "null", "\"x\"", "{}{}", "\u{feff}{}", "{\"a\":1", "{'a':1}"] {
        let request = Request::new(Bytes::from(body), 0..0, false);
        let found = Rules.key(&request, &Scope::default(), "p/m", true);
        assert_eq!(found, Err(Unreadable), "{body}");
    }
    let request = Request::new(Bytes::from_static(b"{\"a\":\"\xff\"}"), 0..0, false);
    assert_eq!(Rules.key(&request, &Scope::default(), "p/m", true), Err(Unreadable));
}
