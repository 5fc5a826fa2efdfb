//! Calls each function that the host serves and that a guest can reach, with plausible arguments and
//! a handle from whatever gives one. A test compares the list with `wit/`.
//!
//! No driver uses the function that it is about for anything else, so that its records can be counted;
//! and nothing here uses parts of std that call the host by themselves.

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "wit"],
        world: "test:every-function/every-function",
        features: ["network-error-code", "informational-outbound-responses"],
        generate_all,
    });
}
mod answers;
mod files;
mod http;
mod rest;
mod sockets;
mod streams;

use answers::Outcome;
use bindings::exports::test::every_function::calls::{Answer, Guest};

/// A function, and how it is called.
type Driver = (&'static str, fn() -> Outcome);

struct Calls;

fn drivers() -> impl Iterator<Item = &'static Driver> {
    let sockets = [sockets::DRIVERS, sockets::TCP_DRIVERS, sockets::CONNECTED_DRIVERS, sockets::UDP_DRIVERS];
    [rest::DRIVERS, streams::DRIVERS, files::DRIVERS, http::DRIVERS].into_iter().chain(sockets).flatten()
}

impl Guest for Calls {
    fn all() -> Vec<String> {
        drivers().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn call(function: String, peer: String) -> Result<Answer, String> {
        http::set_peer(peer);
        let Some((_, call)) = drivers().find(|(name, _)| *name == function) else {
            return Err(format!("no driver for {function}"));
        };
        Ok(match call() {
            Ok(answer) => answer,
            Err(no_handle) => Answer::NoHandle(no_handle.0),
        })
    }
}

bindings::export!(Calls with_types_in bindings);
