//! Performs any operation of `wasi:filesystem` that it is told to, with exact flags, and says by
//! name how the host answered. It calls the interface itself: std would refuse much of it first.

mod bindings {
    wit_bindgen::generate!({
        path: [
            "../../../wit/deps/io",
            "../../../wit/deps/clocks",
            "../../../wit/deps/filesystem",
            "wit",
        ],
        world: "test:files/files-tool",
        generate_all,
    });
}
mod perform;
mod step;

use bindings::exports::test::files::interpreter::Guest;

struct Files;

impl Guest for Files {
    fn run(steps: String) -> Result<Vec<String>, String> {
        let mut handles = perform::Handles::granted();
        let answers = step::parse(&steps)?.into_iter().map(|step| match step {
            Ok(step) => match handles.perform(step) {
                Ok(None) => "ok".to_owned(),
                Ok(Some(value)) => format!("ok: {value}"),
                Err(perform::Failure::Code { name, after: None }) => format!("error: {name}"),
                Err(perform::Failure::Code { name, after: Some(count) }) => {
                    format!("error: {name} after {count}")
                }
                Err(perform::Failure::BadStep(reason)) => format!("bad step: {reason}"),
            },
            Err(reason) => format!("bad step: {reason}"),
        });
        Ok(answers.collect())
    }
}

bindings::export!(Files with_types_in bindings);
