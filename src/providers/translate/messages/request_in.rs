//! A messages request, as its caller wrote it.

use serde_json::value::RawValue;

use crate::providers::translate::{
    json::{Fault, Object, Text, needed},
    loss::{Loss, Notes, dropped, refused},
    words::{Ask, Call, Choice, Image, Input, Outcome, Part, Pdf, Role, Tool},
};

/// Members of the request that only this dialect has.
pub(crate) const REQUEST: &[Loss] = &[
    dropped("cache_control", &[]),
    refused("container", &[]),
    dropped("context_management", &[]),
    dropped("diagnostics", &[]),
    // Whoever names a region must not be answered from another.
    refused("inference_geo", &[]),
    refused("mcp_servers", &["[]"]),
    refused("output_format", &[]),
    dropped("service_tier", &[r#""auto""#]),
    dropped("speed", &[r#""standard""#]),
    dropped("thinking", &[r#"{"type":"disabled"}"#, r#"{"type": "disabled"}"#]),
    dropped("top_k", &[]),
    dropped("user_profile_id", &[]),
    dropped("workspace_id", &[]),
];

/// The same of a content block, a tool or the output's settings.
pub(crate) const PARTS: &[Loss] = &[
    dropped("allowed_callers", &[r#"["direct"]"#]),
    dropped("cache_control", &[]),
    dropped("caller", &[]),
    dropped("citations", &["[]", r#"{"enabled":false}"#, r#"{"enabled": false}"#]),
    dropped("context", &[]),
    dropped("defer_loading", &["false"]),
    dropped("eager_input_streaming", &[]),
    dropped("effort", &[]),
    dropped("input_examples", &["[]"]),
    dropped("strict", &["false"]),
    dropped("title", &[]),
    dropped("toolset_name", &[]),
    dropped("transformations", &["{}"]),
];

pub(crate) fn read<'a>(body: &'a [u8], notes: &mut Notes) -> Result<Ask<'a>, Fault> {
    let mut object = Object::parse(body)?;
    let mut ask = Ask::default();
    // Both are said anew for the provider.
    object.any("model");
    object.any("stream");
    let system = content(object.any("system"), notes).map_err(|fault| fault.at("system"))?;
    ask.say(Role::System, system)?;
    object.each("messages", |object| message(&mut ask, object, notes))?;
    object.each("tools", |object| tool(object, notes).map(|tool| ask.tools.push(tool)))?;
    if let Some(wish) = object.object("tool_choice")? {
        choice(&mut ask, wish, notes).map_err(|fault| fault.at("tool_choice"))?;
    }
    if let Some(config) = object.object("output_config")? {
        ask.schema = schema(config, notes).map_err(|fault| fault.at("output_config"))?;
    }
    object.each("stop_sequences", |Text(text)| {
        ask.stop.push(text);
        Ok(())
    })?;
    ask.max_tokens = Some(needed(object.whole("max_tokens")?, "max_tokens")?);
    ask.temperature = object.number("temperature")?;
    ask.top_p = object.number("top_p")?;
    if let Some(mut metadata) = object.object("metadata")? {
        ask.user = metadata.text("user_id")?;
        metadata.rest(&[], notes)?;
    }
    object.rest(REQUEST, notes)?;
    Ok(ask)
}

fn message<'a>(ask: &mut Ask<'a>, mut message: Object<'a>, notes: &mut Notes) -> Result<(), Fault> {
    let role = match &*needed(message.text("role")?, "role")? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(Fault::shape("an unknown role").at("role")),
    };
    let parts = content(message.any("content"), notes).map_err(|fault| fault.at("content"))?;
    message.rest(PARTS, notes)?;
    ask.say(role, parts)
}

fn content<'a>(value: Option<&'a RawValue>, notes: &mut Notes) -> Result<Vec<Part<'a>>, Fault> {
    Part::all(value, |object| block(object, notes))
}

fn block<'a>(mut block: Object<'a>, notes: &mut Notes) -> Result<Option<Part<'a>>, Fault> {
    let kind = needed(block.text("type")?, "type")?;
    let read = match &*kind {
        "text" => Part::Text(needed(block.text("text")?, "text")?),
        "image" => {
            Part::Image(image(needed(block.object("source")?, "source")?).map_err(|f| f.at("source"))?)
        }
        "tool_use" => call(&mut block)?,
        "tool_result" => outcome(&mut block, notes)?,
        "thinking" | "redacted_thinking" => {
            notes.lacks("thinking");
            return Ok(None);
        }
        "document" => {
            let source = needed(block.object("source")?, "source")?;
            document(&mut block, source).map_err(|fault| fault.at("source"))?
        }
        "search_result" => return Err(Fault::unsupported("a search result")),
        "container_upload" => return Err(Fault::unsupported("a file in a container")),
        "server_tool_use" => return Err(Fault::unsupported("the call of a server tool")),
        other if other.ends_with("_tool_result") => {
            return Err(Fault::unsupported("the result of a server tool"));
        }
        _ => return Err(Fault::unsupported("a content block of an unknown type")),
    };
    block.rest(PARTS, notes)?;
    Ok(Some(read))
}

fn image<'a>(mut source: Object<'a>) -> Result<Image<'a>, Fault> {
    match &*needed(source.text("type")?, "type")? {
        "url" => Ok(Image::Url(needed(source.text("url")?, "url")?)),
        "base64" => Ok(Image::Base64 {
            media_type: needed(source.text("media_type")?, "media_type")?,
            data: needed(source.text("data")?, "data")?,
        }),
        "file" => Err(Fault::unsupported("an image in the provider's file store")),
        _ => Err(Fault::unsupported("an image from a source of an unknown type")),
    }
}

/// Plain text is text, whatever it is called; of the rest the other dialect takes PDFs only, and these whole.
fn document<'a>(block: &mut Object<'a>, mut source: Object<'a>) -> Result<Part<'a>, Fault> {
    let data = source.text("data")?;
    match &*needed(source.text("type")?, "type")? {
        "text" => Ok(Part::Text(needed(data, "data")?)),
        "base64" if source.text("media_type")?.as_deref() == Some("application/pdf") => {
            let name = block.text("title")?.filter(|name| !name.is_empty());
            Ok(Part::Pdf(Pdf { name, data: needed(data, "data")? }))
        }
        "base64" => Err(Fault::unsupported("a document that is no PDF")),
        "url" => Err(Fault::unsupported("a document at an address")),
        "file" => Err(Fault::unsupported("a document in the provider's file store")),
        "content" => Err(Fault::unsupported("a document made of blocks")),
        _ => Err(Fault::unsupported("a document from a source of an unknown type")),
    }
}

fn call<'a>(block: &mut Object<'a>) -> Result<Part<'a>, Fault> {
    let id = needed(block.text("id")?, "id")?;
    let name = needed(block.text("name")?, "name")?;
    let input = Input::new(needed(block.any("input"), "input")?);
    let input = input.ok_or_else(|| Fault::shape("expected an object").at("input"))?;
    Ok(Part::Call(Call { id, name, input }))
}

fn outcome<'a>(block: &mut Object<'a>, notes: &mut Notes) -> Result<Part<'a>, Fault> {
    let id = needed(block.text("tool_use_id")?, "tool_use_id")?;
    let is_error = block.flag("is_error")?.unwrap_or(false);
    let parts = content(block.any("content"), notes).map_err(|fault| fault.at("content"))?;
    if parts.iter().any(|part| matches!(part, Part::Call(_) | Part::Outcome(_))) {
        return Err(Fault::shape("expected texts, images and documents").at("content"));
    }
    Ok(Part::Outcome(Outcome { id, parts, is_error }))
}

fn tool<'a>(mut tool: Object<'a>, notes: &mut Notes) -> Result<Tool<'a>, Fault> {
    match tool.text("type")?.as_deref() {
        None | Some("custom") => {}
        Some(_) => return Err(Fault::unsupported("a tool that the provider defines")),
    }
    let name = needed(tool.text("name")?, "name")?;
    let description = tool.text("description")?;
    let schema = tool.any("input_schema");
    tool.rest(PARTS, notes)?;
    Ok(Tool { name, description, schema })
}

fn choice<'a>(ask: &mut Ask<'a>, mut wish: Object<'a>, notes: &mut Notes) -> Result<(), Fault> {
    ask.choice = Some(match &*needed(wish.text("type")?, "type")? {
        "auto" => Choice::Auto,
        "none" => Choice::Never,
        "any" => Choice::Any,
        "tool" => Choice::One(needed(wish.text("name")?, "name")?),
        _ => return Err(Fault::unsupported("a choice of an unknown type")),
    });
    ask.parallel = wish.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    wish.rest(&[], notes)
}

fn schema<'a>(mut config: Object<'a>, notes: &mut Notes) -> Result<Option<&'a RawValue>, Fault> {
    let format = config.object("format")?;
    config.rest(PARTS, notes)?;
    let Some(mut format) = format else { return Ok(None) };
    match &*needed(format.text("type")?, "type")? {
        "json_schema" => needed(format.any("schema"), "schema").map(Some),
        _ => Err(Fault::unsupported("a format of an unknown type")),
    }
}
