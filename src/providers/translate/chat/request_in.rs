//! A chat request, as its caller wrote it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::providers::translate::{
    json::{Fault, Object, Text, each, is_text, needed, text},
    loss::{Loss, Notes, dropped, refused},
    words::{Ask, Call, Choice, Image, Input, Outcome, Part, Pdf, Role, Tool},
};

/// Members of the request that only this dialect has.
pub(crate) const REQUEST: &[Loss] = &[
    refused("audio", &[]),
    dropped("frequency_penalty", &["0", "0.0"]),
    refused("function_call", &[]),
    refused("functions", &["[]"]),
    dropped("logit_bias", &["{}"]),
    refused("logprobs", &["false"]),
    dropped("metadata", &["{}"]),
    refused("modalities", &[r#"["text"]"#]),
    dropped("moderation", &[]),
    refused("n", &["1"]),
    dropped("prediction", &[]),
    dropped("presence_penalty", &["0", "0.0"]),
    dropped("prompt_cache_key", &[]),
    dropped("prompt_cache_options", &[]),
    dropped("prompt_cache_retention", &[]),
    dropped("reasoning_effort", &[]),
    dropped("safety_identifier", &[]),
    dropped("seed", &[]),
    dropped("service_tier", &[r#""auto""#, r#""default""#]),
    dropped("store", &["false"]),
    refused("top_logprobs", &["0"]),
    dropped("verbosity", &[r#""medium""#]),
    refused("web_search_options", &[]),
];

/// The same of a message, a content part, a tool or a response format.
pub(crate) const PARTS: &[Loss] = &[
    dropped("annotations", &["[]"]),
    refused("audio", &[]),
    dropped("description", &[]),
    dropped("detail", &[r#""auto""#]),
    refused("function_call", &[]),
    dropped("name", &[]),
    dropped("prompt_cache_breakpoint", &[]),
    dropped("reasoning", &[]),
    dropped("reasoning_content", &[]),
    dropped("strict", &["false"]),
];

pub(crate) fn read<'a>(body: &'a [u8], notes: &mut Notes) -> Result<Ask<'a>, Fault> {
    let mut object = Object::parse(body)?;
    let mut ask = Ask::default();
    // Both are said anew for the provider.
    object.any("model");
    object.any("stream");
    object.each("messages", |object| message(&mut ask, object, notes))?;
    object.each("tools", |object| tool(object, notes).map(|tool| ask.tools.push(tool)))?;
    ask.choice =
        object.any("tool_choice").map(choice).transpose().map_err(|fault| fault.at("tool_choice"))?;
    ask.parallel = object.flag("parallel_tool_calls")?;
    ask.schema =
        schema(object.object("response_format")?, notes).map_err(|fault| fault.at("response_format"))?;
    ask.stop = stop(object.any("stop")).map_err(|fault| fault.at("stop"))?;
    let older = object.whole("max_tokens")?;
    ask.max_tokens = object.whole("max_completion_tokens")?.or(older);
    ask.temperature = object.number("temperature")?;
    ask.top_p = object.number("top_p")?;
    ask.user = object.text("user")?;
    if ask.user.is_none() {
        ask.user = object.text("safety_identifier")?;
    }
    if let Some(mut options) = object.object("stream_options")? {
        ask.tell_usage = options.flag("include_usage")?.unwrap_or(false);
    }
    object.rest(REQUEST, notes)?;
    Ok(ask)
}

fn message<'a>(ask: &mut Ask<'a>, mut message: Object<'a>, notes: &mut Notes) -> Result<(), Fault> {
    let role = needed(message.text("role")?, "role")?;
    let content = Part::all(message.any("content"), |object| part(object, notes).map(Some));
    let mut parts = content.map_err(|fault| fault.at("content"))?;
    let role = match &*role {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => {
            parts.extend(message.text("refusal")?.filter(|text| !text.is_empty()).map(Part::Text));
            message.each("tool_calls", |object| call(object, notes).map(|call| parts.push(call)))?;
            Role::Assistant
        }
        "tool" => {
            let id = needed(message.text("tool_call_id")?, "tool_call_id")?;
            parts = vec![Part::Outcome(Outcome { id, parts, is_error: false })];
            Role::User
        }
        "function" => return Err(Fault::unsupported("the result of a `function_call`")),
        _ => return Err(Fault::shape("an unknown role").at("role")),
    };
    message.rest(PARTS, notes)?;
    ask.say(role, parts)
}

fn part<'a>(mut part: Object<'a>, notes: &mut Notes) -> Result<Part<'a>, Fault> {
    let kind = needed(part.text("type")?, "type")?;
    let read = match &*kind {
        "text" => Part::Text(needed(part.text("text")?, "text")?),
        "refusal" => Part::Text(needed(part.text("refusal")?, "refusal")?),
        "image_url" => {
            let mut image = needed(part.object("image_url")?, "image_url")?;
            let url = needed(image.text("url")?, "url")?;
            image.rest(PARTS, notes)?;
            Part::Image(self::image(url).map_err(|fault| fault.at("image_url.url"))?)
        }
        "input_audio" => return Err(Fault::unsupported("audio")),
        "file" => {
            let mut file = needed(part.object("file")?, "file")?;
            let pdf = pdf(&mut file).map_err(|fault| fault.at("file"))?;
            file.rest(PARTS, notes)?;
            Part::Pdf(pdf)
        }
        _ => return Err(Fault::unsupported("a content part of an unknown type")),
    };
    part.rest(PARTS, notes)?;
    Ok(read)
}

fn image(url: Cow<'_, str>) -> Result<Image<'_>, Fault> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(Image::Url(url));
    }
    let (media_type, data) = data_url(url).ok_or_else(|| {
        Fault::unsupported("an image that is neither at an http(s) address nor base64 data")
    })?;
    Ok(Image::Base64 { media_type: media_type.into(), data })
}

/// The dialect takes PDFs only.
fn pdf<'a>(file: &mut Object<'a>) -> Result<Pdf<'a>, Fault> {
    if file.any("file_id").is_some() {
        return Err(Fault::unsupported("a file in the provider's file store").at("file_id"));
    }
    let name = file.text("filename")?.filter(|name| !name.is_empty());
    let url = needed(file.text("file_data")?, "file_data")?;
    match data_url(url) {
        Some((media_type, data)) if media_type == "application/pdf" => Ok(Pdf { name, data }),
        _ => Err(Fault::unsupported("a file that is no PDF in a base64 data URL").at("file_data")),
    }
}

/// The type and the data of a data URL in base64.
fn data_url(url: Cow<'_, str>) -> Option<(String, Cow<'_, str>)> {
    let (media_type, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    let (media_type, data) = (media_type.split(';').next().unwrap_or_default().to_string(), data.len());
    let data = match url {
        Cow::Borrowed(url) => Cow::Borrowed(&url[url.len() - data..]),
        Cow::Owned(mut url) => Cow::Owned(url.split_off(url.len() - data)),
    };
    Some((media_type, data))
}

fn call<'a>(mut call: Object<'a>, notes: &mut Notes) -> Result<Part<'a>, Fault> {
    only_functions(&mut call)?;
    let id = needed(call.text("id")?, "id")?;
    let mut function = needed(call.object("function")?, "function")?;
    let name = needed(function.text("name")?, "name")?;
    let input = Input::parse(function.text("arguments")?.unwrap_or_default());
    let input = input.ok_or_else(|| Fault::unsupported("arguments that are no JSON object"))?;
    function.rest(PARTS, notes)?;
    call.rest(PARTS, notes)?;
    Ok(Part::Call(Call { id, name, input }))
}

fn tool<'a>(mut tool: Object<'a>, notes: &mut Notes) -> Result<Tool<'a>, Fault> {
    only_functions(&mut tool)?;
    let mut function = needed(tool.object("function")?, "function")?;
    let name = needed(function.text("name")?, "name")?;
    let description = function.text("description")?;
    let schema = function.any("parameters");
    function.rest(PARTS, notes)?;
    tool.rest(PARTS, notes)?;
    Ok(Tool { name, description, schema })
}

fn only_functions(object: &mut Object<'_>) -> Result<(), Fault> {
    match object.text("type")?.as_deref() {
        None | Some("function") => Ok(()),
        Some("custom") => Err(Fault::unsupported("a custom tool")),
        Some(_) => Err(Fault::unsupported("a tool of an unknown type")),
    }
}

fn choice(value: &RawValue) -> Result<Choice<'_>, Fault> {
    if is_text(value) {
        return match &*text(value)? {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::Never),
            "required" => Ok(Choice::Any),
            _ => Err(Fault::shape("expected `auto`, `none`, `required` or an object")),
        };
    }
    let mut named = Object::read(value)?;
    match needed(named.text("type")?, "type")?.as_ref() {
        "function" => {
            let mut function = needed(named.object("function")?, "function")?;
            Ok(Choice::One(needed(function.text("name")?, "name")?))
        }
        "allowed_tools" => Err(Fault::unsupported("a choice among some of the tools")),
        _ => Err(Fault::unsupported("a choice of an unknown type")),
    }
}

fn schema<'a>(format: Option<Object<'a>>, notes: &mut Notes) -> Result<Option<&'a RawValue>, Fault> {
    let Some(mut format) = format else { return Ok(None) };
    match &*needed(format.text("type")?, "type")? {
        "text" => Ok(None),
        "json_schema" => {
            let mut named = needed(format.object("json_schema")?, "json_schema")?;
            // The other dialect asks for no name, and always keeps strictly to the schema.
            named.any("name");
            named.any("strict");
            let schema = needed(named.any("schema"), "schema")?;
            named.rest(PARTS, notes)?;
            Ok(Some(schema))
        }
        "json_object" => Err(Fault::unsupported("JSON without a schema")),
        _ => Err(Fault::unsupported("a format of an unknown type")),
    }
}

fn stop(value: Option<&RawValue>) -> Result<Vec<Cow<'_, str>>, Fault> {
    let mut stop = Vec::new();
    match value {
        None => {}
        Some(value) if is_text(value) => stop.push(text(value)?),
        Some(list) => each(list, |Text(text)| {
            stop.push(text);
            Ok(())
        })?,
    }
    Ok(stop)
}
