//! What the host would give: stores, configuration, secrets, other tools, a server. Without it, a helper of
//! the SDK gets the error that a tool gets without a grant.
//!
//! Each test has a thread, and each thread a host of its own, so that tests do not see each other's.

use serde_json::Value;

use crate::host::world;
use crate::http::{HttpError, Request, Response};
use crate::invoke::{Answer, InvokeError};
use crate::log::Level;

/// Grants an empty store.
pub fn store(name: &str) {
    world(|world| world.stores.insert(name.to_owned(), Default::default()));
}

/// Grants a value of the configuration.
pub fn config(key: &str, value: &str) {
    world(|world| world.config.push((key.to_owned(), value.to_owned())));
}

/// Grants a secret to be seen.
pub fn secret(name: &str, value: &[u8]) {
    world(|world| world.secrets.insert(name.to_owned(), value.to_vec()));
}

/// Grants other tools: the function answers their calls.
pub fn tools(answer: impl Fn(&str, &str, Value) -> Result<Answer, InvokeError> + 'static) {
    let tools = move |package: &str, tool: &str, arguments: &str| {
        let arguments = serde_json::from_str(arguments);
        let arguments = arguments.map_err(|error| InvokeError::InvalidArguments(error.to_string()))?;
        let Answer { content, structured } = answer(package, tool, arguments)?;
        Ok((Value::Array(content).to_string(), structured.map(|value| value.to_string())))
    };
    world(|world| world.tools = Some(Box::new(tools)));
}

/// Grants requests: the function answers them.
pub fn server(answer: impl Fn(&Request) -> Result<Response, HttpError> + 'static) {
    let server = move |request: &Request| {
        let response = answer(request)?;
        if response.body.len() > request.answer_bytes_max {
            return Err(HttpError::TooLong { bytes_max: request.answer_bytes_max });
        }
        Ok(response)
    };
    world(|world| world.server = Some(Box::new(server)));
}

/// Has the caller ask for the end of the call.
pub fn cancel() {
    world(|world| world.is_cancelled = true);
}

/// The lines that were logged so far: level, context, message.
pub fn lines() -> Vec<(Level, String, String)> {
    world(|world| world.lines.clone())
}

/// The progress that was told so far: done, total, message.
pub fn steps() -> Vec<(f64, Option<f64>, String)> {
    world(|world| world.steps.clone())
}
