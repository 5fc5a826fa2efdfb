//! Looks for a call's secrets in all that it gives to whoever called it: the answer or the error, what it
//! printed and logged, what it told of its progress.
//!
//! A text is redacted, or withheld with the call's answer where a grant says so. What can't be redacted
//! without becoming something else (a number, a picture) is withheld.

use serde_json::Value;

use super::capabilities::gate::Gate;
use super::invocation::{Content, InvokeError, ToolAnswer};
use crate::audit::event::{LeakAction, LeakPlace};
use crate::ids::SecretName;
use crate::policy::OnLeak;
use crate::secrets::{Ending, Leak};
use crate::text::CUT;

/// Stands in the place of a text that is withheld.
const WITHHELD: &str = "[withheld]";

/// A text that must not leave, and for which secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Withheld(SecretName);

/// A text without secrets.
///
/// # Errors
/// If it has one whose leak is refused. Both are recorded.
pub(crate) fn text(gate: &mut Gate, place: LeakPlace, text: String) -> Result<String, Withheld> {
    let (inside, mark) = match text.strip_suffix(CUT) {
        Some(inside) => (inside, CUT),
        None => (&*text, ""),
    };
    let ending = if mark.is_empty() { Ending::Whole } else { Ending::Cut };
    let Some((clean, leaks)) = gate.secrets().patterns().redact(inside.as_bytes(), ending) else {
        return Ok(text);
    };
    refuse(gate, place, &leaks)?;
    for leak in &leaks {
        gate.leaked(place, leak, LeakAction::Redacted);
    }
    Ok(format!("{}{mark}", String::from_utf8_lossy(&clean)))
}

/// What a call gives, without secrets. A leak that is refused takes the place of its result.
pub(super) fn outgoing(gate: &mut Gate, outgoing: Outgoing) -> Outgoing {
    if gate.secrets().patterns().is_empty() {
        return outgoing;
    }
    let Outgoing { result, stdout, stderr, log } = outgoing;
    let mut refused = None;
    let mut printed = |gate: &mut Gate, place, printed: String| {
        text(gate, place, printed).unwrap_or_else(|withheld| {
            refused.get_or_insert(withheld);
            WITHHELD.to_owned()
        })
    };
    let stdout = printed(gate, LeakPlace::Stdout, stdout);
    let stderr = printed(gate, LeakPlace::Stderr, stderr);
    let log = printed(gate, LeakPlace::Log, log);
    let result = match result {
        Ok(answer) => self::answer(gate, answer).map_err(InvokeError::from),
        Err(error) => Err(self::error(gate, error).unwrap_or_else(InvokeError::from)),
    };
    let result = match refused {
        Some(withheld) => Err(withheld.into()),
        None => result,
    };
    Outgoing { result, stdout, stderr, log }
}

/// What a call gives.
pub(super) struct Outgoing {
    pub(super) result: Result<ToolAnswer, InvokeError>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) log: String,
}

impl From<Withheld> for InvokeError {
    fn from(Withheld(secret): Withheld) -> Self {
        InvokeError::Withheld { secret }
    }
}

fn answer(gate: &mut Gate, answer: ToolAnswer) -> Result<ToolAnswer, Withheld> {
    let ToolAnswer { content, structured } = answer;
    let content = content.into_iter().map(|part| self::content(gate, part)).collect::<Result<_, _>>()?;
    let structured = structured.map(|value| self::value(gate, LeakPlace::Result, value)).transpose()?;
    Ok(ToolAnswer { content, structured })
}

fn content(gate: &mut Gate, content: Content) -> Result<Content, Withheld> {
    let mut shown = |shown| text(gate, LeakPlace::Result, shown);
    Ok(match content {
        Content::Text { text } => Content::Text { text: shown(text)? },
        Content::Image { data, mime_type } => {
            let mime_type = shown(mime_type)?;
            Content::Image { data: whole(gate, LeakPlace::Result, data)?, mime_type }
        }
        Content::Audio { data, mime_type } => {
            let mime_type = shown(mime_type)?;
            Content::Audio { data: whole(gate, LeakPlace::Result, data)?, mime_type }
        }
        Content::Resource { uri, mime_type, text, blob } => {
            let (uri, mime_type) = (shown(uri)?, mime_type.map(&mut shown).transpose()?);
            let text = text.map(shown).transpose()?;
            let blob = blob.map(|blob| whole(gate, LeakPlace::Result, blob)).transpose()?;
            Content::Resource { uri, mime_type, text, blob }
        }
    })
}

/// The strings of a value, its keys too; as deep as the reader of JSON or the types of WIT let it be.
fn value(gate: &mut Gate, place: LeakPlace, value: Value) -> Result<Value, Withheld> {
    Ok(match value {
        Value::String(string) => Value::String(text(gate, place, string)?),
        Value::Number(number) => {
            whole(gate, place, number.to_string())?;
            Value::Number(number)
        }
        Value::Array(items) => Value::Array(
            items.into_iter().map(|item| self::value(gate, place, item)).collect::<Result<_, _>>()?,
        ),
        Value::Object(members) => {
            let member = |(key, member)| Ok((text(gate, place, key)?, self::value(gate, place, member)?));
            Value::Object(members.into_iter().map(member).collect::<Result<_, Withheld>>()?)
        }
        Value::Null | Value::Bool(_) => value,
    })
}

fn error(gate: &mut Gate, error: InvokeError) -> Result<InvokeError, Withheld> {
    let place = LeakPlace::Error;
    Ok(match error {
        InvokeError::Tool { message, data } => {
            let message = text(gate, place, message)?;
            InvokeError::Tool { message, data: data.map(|data| value(gate, place, data)).transpose()? }
        }
        InvokeError::Crashed(message) => InvokeError::Crashed(text(gate, place, message)?),
        InvokeError::Arguments(message) => InvokeError::Arguments(text(gate, place, message)?),
        InvokeError::Grant(message) => InvokeError::Grant(text(gate, place, message)?),
        InvokeError::Host(message) => InvokeError::Host(text(gate, place, message)?),
        InvokeError::LimitReached(_)
        | InvokeError::Stopped(_)
        | InvokeError::Cancelled
        | InvokeError::Busy
        | InvokeError::Withheld { .. }
        | InvokeError::Log(_) => error,
    })
}

/// A text that can't be redacted.
fn whole(gate: &mut Gate, place: LeakPlace, text: String) -> Result<String, Withheld> {
    match gate.secrets().patterns().find(text.as_bytes()) {
        None => Ok(text),
        Some(leak) => {
            gate.leaked(place, &leak, LeakAction::Refused);
            Err(Withheld(leak.secret))
        }
    }
}

/// If a leak is refused, all of them are: nothing leaves.
fn refuse(gate: &mut Gate, place: LeakPlace, leaks: &[Leak]) -> Result<(), Withheld> {
    let Some(first) = leaks.iter().find(|leak| leak.on_leak == OnLeak::Refuse) else { return Ok(()) };
    for leak in leaks {
        gate.leaked(place, leak, LeakAction::Refused);
    }
    Err(Withheld(first.secret.clone()))
}
