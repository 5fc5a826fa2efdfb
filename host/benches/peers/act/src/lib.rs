//! The jobs as tools of ACT.

use act_sdk::prelude::*;

#[act_component]
mod component {
    use super::*;

    /// Gives JSON back.
    #[act_tool(description = "Gives JSON back", read_only)]
    fn echo(text: String) -> ActResult<String> {
        Ok(jobs::run("echo", &text))
    }

    /// Hashes a text.
    #[act_tool(description = "Hashes a text", read_only)]
    fn hash(text: String) -> ActResult<String> {
        Ok(jobs::run("hash", &text))
    }

    /// Counts what is in JSON.
    #[act_tool(description = "Counts what is in JSON", read_only)]
    fn parse(text: String) -> ActResult<String> {
        Ok(jobs::run("parse", &text))
    }

    /// Computes for ever.
    #[act_tool(description = "Computes for ever", read_only)]
    fn endless(text: String) -> ActResult<String> {
        Ok(jobs::run("endless", &text))
    }

    /// Takes memory as long as there is some.
    #[act_tool(description = "Takes memory", read_only)]
    fn grow(text: String) -> ActResult<String> {
        Ok(jobs::run("grow", &text))
    }
}
