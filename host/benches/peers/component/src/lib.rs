//! The jobs as typed exports.

mod bindings {
    wit_bindgen::generate!({ world: "jobs", path: "wit" });
}

struct Jobs;

impl bindings::exports::bench::jobs::work::Guest for Jobs {
    fn echo(text: String) -> String {
        jobs::run("echo", &text)
    }

    fn hash(text: String) -> String {
        jobs::run("hash", &text)
    }

    fn parse(text: String) -> String {
        jobs::run("parse", &text)
    }

    fn endless(text: String) -> String {
        jobs::run("endless", &text)
    }

    fn grow(text: String) -> String {
        jobs::run("grow", &text)
    }
}

bindings::export!(Jobs with_types_in bindings);
