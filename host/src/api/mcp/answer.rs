//! What a model is told of a call's end: the tool's own answer, or in one sentence why there is none.
//!
//! Such a sentence says what the model can do about it, and nothing of the host: no paths, no names of
//! secrets, no words of an admin. Whoever asks the log by the call's id learns more.

use rmcp::model::{CallToolResult, ContentBlock, MetaObject, Resource, ResourceContents};
use serde_json::{Value, json};

use crate::api::problem::{ErrorKind, Problem};
use crate::gateway::{Blame, CallAnswer, CallError, QuotaReached};
use crate::ids::CallId;
use crate::limits::LimitReached;
use crate::policy::Denial;
use crate::sandbox::{Content, InvokeError, ToolAnswer};

/// The most bytes of text that one answer shows a model, all its blocks together: 128 KiB, some 30,000 tokens. Clients
/// give a model the text, and a longer one pushes out what the model was about. `structuredContent` is for programs and
/// stays whole.
const TEXT_BYTES_MAX: usize = 128 << 10;

/// What a tool answered.
pub(super) fn result(answer: CallAnswer) -> CallToolResult {
    let CallAnswer { answer: ToolAnswer { mut content, structured }, report } = answer;
    let cut = cut(&mut content, TEXT_BYTES_MAX, structured.is_some());
    let mut result = CallToolResult::success(content.into_iter().map(block).collect());
    result.structured_content = structured;
    let mut meta = call_meta(report.call);
    if let Some(Cut { shown, of }) = cut {
        meta.insert("portcullis/cut".to_owned(), json!({ "shown": shown, "of": of }));
    }
    if let Some(record) = report.record {
        meta.insert("portcullis/record".to_owned(), json!(record));
    }
    result.with_meta(Some(meta))
}

/// How much of the text of an answer is shown, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    shown: usize,
    of: usize,
}

/// Cuts texts, the last ones first, to `max` bytes in all, and says in the place where the first was cut what is
/// missing. None if all of it is shown.
fn cut(content: &mut [Content], max: usize, is_structured: bool) -> Option<Cut> {
    let of = content.iter_mut().filter_map(text).map(|text| text.len()).sum();
    if of <= max {
        return None;
    }
    let (mut left, mut shown, mut is_marked) = (max, 0, false);
    for text in content.iter_mut().filter_map(text) {
        let kept = text.floor_char_boundary(left);
        let is_cut = kept < text.len();
        text.truncate(kept);
        shown += kept;
        // A piece of what follows would look like the next sentence.
        left = if is_cut { 0 } else { left - kept };
        if is_cut && !is_marked {
            is_marked = true;
            let rest = match is_structured {
                true => "`structuredContent` has all of it",
                false => "call the tool for less, or for one part at a time",
            };
            text.push_str(&format!(
                "\n[cut here: the answer has {of} bytes of text, {shown} are shown; {rest}]"
            ));
        }
    }
    Some(Cut { shown, of })
}

/// The text of a block, if it is one.
fn text(content: &mut Content) -> Option<&mut String> {
    match content {
        Content::Text { text } | Content::Resource { text: Some(text), .. } => Some(text),
        Content::Image { .. } | Content::Audio { .. } | Content::Resource { text: None, .. } => None,
    }
}

fn block(content: Content) -> ContentBlock {
    match content {
        Content::Text { text } => ContentBlock::text(text),
        Content::Image { data, mime_type } => ContentBlock::image(data, mime_type),
        Content::Audio { data, mime_type } => ContentBlock::audio(data, mime_type),
        Content::Resource { uri, mime_type, text: Some(text), blob: _ } => {
            ContentBlock::resource(ResourceContents::TextResourceContents {
                uri,
                mime_type,
                text,
                meta: None,
            })
        }
        Content::Resource { uri, mime_type, text: None, blob: Some(blob) } => {
            ContentBlock::resource(ResourceContents::BlobResourceContents {
                uri,
                mime_type,
                blob,
                meta: None,
            })
        }
        Content::Resource { uri, mime_type, text: None, blob: None } => {
            let mut link = Resource::new(uri.clone(), uri);
            link.mime_type = mime_type;
            ContentBlock::resource_link(link)
        }
    }
}

/// Why a call gave no answer, for the model. None if the tool is one that the agent is not to know of.
pub(super) fn error(error: &CallError) -> Option<CallToolResult> {
    let (kind, sentence) = match error {
        CallError::NotFound(_) => return None,
        CallError::Denied { denial, .. } => (ErrorKind::Denied, denied(denial)?),
        CallError::Busy(why) if why.is_callers_own() => (ErrorKind::TooManyRequests, busy(Some(why.reached))),
        CallError::Busy(why) => (ErrorKind::Busy, busy(Some(why.reached))),
        CallError::Quota(quota) => (ErrorKind::TooManyRequests, used_up(quota)),
        CallError::Failed { error, .. } => failed(error),
        CallError::Log(_) => (ErrorKind::LogUnavailable, UNAVAILABLE.to_owned()),
        CallError::DiskLow(_) => (ErrorKind::DiskLow, UNAVAILABLE.to_owned()),
        CallError::Host(_) => (ErrorKind::HostFault, UNAVAILABLE.to_owned()),
    };
    let call = match error {
        CallError::Denied { call, .. } => Some(*call),
        CallError::Failed { report, .. } => Some(report.call),
        CallError::NotFound(_)
        | CallError::Busy(_)
        | CallError::Quota(_)
        | CallError::Log(_)
        | CallError::DiskLow(_)
        | CallError::Host(_) => None,
    };
    Some(told(kind, error.blame(), sentence, call))
}

/// The answer to each call of an agent that can call nothing now.
pub(super) fn barred(denial: &Denial) -> CallToolResult {
    let sentence = denied(denial).unwrap_or_else(|| UNAVAILABLE.to_owned());
    told(ErrorKind::Denied, Blame::Admin, sentence, None)
}

/// What the API tells of a call without an answer, as a result.
pub(super) fn problem(problem: Problem) -> CallToolResult {
    told(problem.kind, problem.blame, problem.detail, problem.call)
}

fn told(kind: ErrorKind, blame: Blame, sentence: String, call: Option<CallId>) -> CallToolResult {
    let mut meta = call.map_or_else(MetaObject::new, call_meta);
    meta.insert("portcullis/error".to_owned(), json!(kind));
    meta.insert("portcullis/blame".to_owned(), json!(blame));
    CallToolResult::error(vec![ContentBlock::text(sentence)]).with_meta(Some(meta))
}

fn call_meta(call: CallId) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.insert("portcullis/call".to_owned(), Value::String(call.to_string()));
    meta
}

const UNAVAILABLE: &str = "The host can't run tools now. This is not the fault of the call; tell the user that an \
     admin of the host must look into it, and don't try again at once.";

/// None where the answer would tell that there is such a tool.
fn denied(denial: &Denial) -> Option<String> {
    let sentence = match denial {
        Denial::Quarantined { .. }
        | Denial::Untrusted { .. }
        | Denial::NotApproved { .. }
        | Denial::NotGranted { .. }
        | Denial::ToolNotGranted { .. } => return None,
        Denial::Frozen { .. } => {
            "Denied: an admin of the host has stopped all calls for now. Trying again will not help until that is lifted."
        }
        Denial::PrincipalRemoved { .. } | Denial::NotAnAgent { .. } => {
            "Denied: this agent may call no tools on this host. Only an admin of the host can change that."
        }
        Denial::OtherBytes { .. } => {
            "Denied: the tool was updated, and an admin of the host has not granted the new version to this agent yet."
        }
        Denial::Expired { .. } => {
            "Denied: this agent's permission for the tool has expired. Only an admin of the host can renew it."
        }
    };
    Some(sentence.to_owned())
}

fn busy(reached: Option<LimitReached>) -> String {
    let limit = reached.map(|reached| format!(" ({})", reached.limit)).unwrap_or_default();
    format!("The host runs as many calls as it may{limit}. Nothing was done; try again in a few seconds.")
}

fn used_up(QuotaReached { reached: LimitReached { limit, max, .. }, retry_after }: &QuotaReached) -> String {
    format!(
        "Nothing was done: the quota {limit} of {max} {unit} is used up. Try again in {seconds} s, and call less often \
         or for less.",
        unit = limit.row().unit,
        seconds = retry_after.as_secs().max(1),
    )
}

fn failed(error: &InvokeError) -> (ErrorKind, String) {
    match error {
        InvokeError::Arguments(reason) => {
            (ErrorKind::BadInput, format!("Nothing was done: {reason}. Correct the arguments and try again."))
        }
        InvokeError::LimitReached(reached) => (
            ErrorKind::LimitReached,
            format!("The call was ended ({reached}). What it did until then is done; ask for less, or in smaller steps."),
        ),
        // The tool's own words, as its answer would have been.
        InvokeError::Tool { message, .. } => (ErrorKind::ToolError, message.clone()),
        InvokeError::Crashed(_) => (
            ErrorKind::ToolError,
            "The tool crashed. What it did until then is done; the same call will likely crash again.".to_owned(),
        ),
        InvokeError::Stopped(_) => (
            ErrorKind::Stopped,
            "The call was stopped, because an admin of the host took away what it needs. What it did until then is done."
                .to_owned(),
        ),
        InvokeError::Cancelled => (
            ErrorKind::Cancelled,
            "The call was cancelled. What it did until then is done.".to_owned(),
        ),
        InvokeError::Withheld { .. } => (
            ErrorKind::Withheld,
            "The answer was withheld, because it would have given away a secret. What the call did is done.".to_owned(),
        ),
        InvokeError::Busy => (ErrorKind::Busy, busy(None)),
        InvokeError::Grant(_) => (
            ErrorKind::GrantUnusable,
            "Nothing was done: something that is granted to the tool can't be used now. Only an admin of the host can mend that."
                .to_owned(),
        ),
        InvokeError::Log(_) => (ErrorKind::LogUnavailable, UNAVAILABLE.to_owned()),
        InvokeError::Host(_) => (ErrorKind::HostFault, UNAVAILABLE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content: &mut [Content]) -> String {
        content.iter_mut().filter_map(text).map(|text| text.as_str()).collect()
    }

    fn blocks() -> Vec<Content> {
        let said = |text: &str| Content::Text { text: text.to_owned() };
        let document = Content::Resource {
            uri: "test://document".to_owned(),
            mime_type: None,
            text: Some("ééé".to_owned()),
            blob: None,
        };
        vec![said("four"), document, said("last")]
    }

    #[test]
    fn an_answer_that_is_just_short_enough_is_whole() {
        let mut content = blocks();
        assert_eq!(cut(&mut content, 14, false), None);
        assert_eq!(content, blocks());
    }

    #[test]
    fn one_that_is_longer_is_cut_once_between_characters_and_says_so() {
        for (max, structured) in [(13, true), (9, false), (4, false), (0, true)] {
            let mut content = blocks();
            let told = cut(&mut content, max, structured).expect("it is too long");
            let all = texts(&mut content);
            assert_eq!(all.matches("[cut here").count(), 1, "{max}: {all}");
            assert_eq!(all.contains("structuredContent"), structured, "{max}: {all}");
            assert!(all.contains(&format!("14 bytes of text, {} are shown", told.shown)), "{max}: {all}");
            let (before, after) = all.split_once("\n[cut here").expect("a mark");
            assert_eq!(before.len(), told.shown, "{max}");
            assert!("fourééélast".starts_with(before), "{max}: {before}");
            assert!(after.ends_with(']'), "nothing follows the mark: {after}");
            assert!(told.shown <= max && told.of == 14, "{max}: {told:?}");
        }
    }
}
