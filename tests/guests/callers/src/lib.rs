//! Calls other tools, tells its progress, and sees that it is cancelled.

mod bindings {
    wit_bindgen::generate!({
        world: "test:callers/callers",
        path: ["../../../wit", "wit"],
        generate_all,
    });
}

use std::hint::black_box;
use std::thread::sleep;
use std::time::Duration;

use bindings::exports::test::callers::calls::Guest;
use bindings::portcullis::tool::invoke::{self, InvokeError};
use bindings::portcullis::tool::progress::{self, Step};

struct Callers;

fn call(package: &str, tool: &str, arguments: &str) -> Result<String, String> {
    match invoke::call(package, tool, arguments) {
        Ok(answer) => Ok(answer.structured.unwrap_or(answer.content)),
        Err(error) => {
            let (case, text) = match error {
                InvokeError::Denied(text) => ("denied", text),
                InvokeError::NotFound(text) => ("not-found", text),
                InvokeError::InvalidArguments(text) => ("invalid-arguments", text),
                InvokeError::Refused(text) => ("refused", text),
                InvokeError::LimitReached(text) => ("limit-reached", text),
                InvokeError::Failed(text) => ("failed", text),
            };
            Err(format!("{case}: {text}"))
        }
    }
}

impl Guest for Callers {
    fn call(package: String, tool: String, arguments: String) -> Result<String, String> {
        call(&package, &tool, &arguments)
    }

    fn call_times(package: String, tool: String, arguments: String, times: u32) -> (u32, Option<String>) {
        let (mut answers, mut last) = (0, None);
        for _ in 0..times {
            match call(&package, &tool, &arguments) {
                Ok(_) => answers += 1,
                Err(error) => last = Some(error),
            }
        }
        (answers, last)
    }

    fn spin(rounds: u64) -> u64 {
        (0..rounds).fold(0, |sum, round| black_box(sum ^ round))
    }

    fn report(steps: u32) {
        for done in 1..=steps {
            let message = format!("step {done}\u{1b}[31m\nof many");
            progress::report(&Step { done: done.into(), total: Some(steps.into()), message });
        }
    }

    fn until_cancelled() -> u32 {
        let mut looks = 1;
        while !progress::is_cancelled() {
            looks += 1;
            sleep(Duration::from_millis(5));
        }
        looks
    }

    fn never_looks() {
        loop {
            sleep(Duration::from_millis(5));
        }
    }
}

bindings::export!(Callers with_types_in bindings);
