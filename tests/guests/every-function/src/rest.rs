//! The interfaces that need no handle, or hardly one: cli, clocks, random, config, key-value
//! stores, logging, and our own.

use crate::Driver;
use crate::answers::{NoHandle, fallible, needed, plain, silent};
use crate::bindings::portcullis::tool::{invoke, progress, secrets};
use crate::bindings::wasi::cli::{
    environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout,
};
use crate::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use crate::bindings::wasi::config::store as config;
use crate::bindings::wasi::keyvalue::store::{self as keyvalue, Bucket};
use crate::bindings::wasi::keyvalue::{atomics, batch};
use crate::bindings::wasi::logging::logging;
use crate::bindings::wasi::random::{insecure, insecure_seed, random};
use crate::bindings::wasi::sockets::instance_network::instance_network;
use crate::bindings::wasi::sockets::network::network_error_code;
use crate::streams::http_error;

/// The granted store.
fn bucket() -> Result<Bucket, NoHandle> {
    needed(keyvalue::open("store"))
}

pub(crate) const DRIVERS: &[Driver] = &[
    ("wasi:cli/environment#get-environment", || plain(environment::get_environment())),
    ("wasi:cli/environment#get-arguments", || plain(environment::get_arguments())),
    ("wasi:cli/environment#initial-cwd", || plain(environment::initial_cwd())),
    ("wasi:cli/exit#exit", || silent(|| exit::exit(Ok(())))),
    ("wasi:cli/exit#exit-with-code", || silent(|| exit::exit_with_code(3))),
    ("wasi:cli/stdin#get-stdin", || plain(stdin::get_stdin())),
    ("wasi:cli/stdout#get-stdout", || plain(stdout::get_stdout())),
    ("wasi:cli/stderr#get-stderr", || plain(stderr::get_stderr())),
    ("wasi:cli/terminal-stdin#get-terminal-stdin", || plain(terminal_stdin::get_terminal_stdin())),
    ("wasi:cli/terminal-stdout#get-terminal-stdout", || plain(terminal_stdout::get_terminal_stdout())),
    ("wasi:cli/terminal-stderr#get-terminal-stderr", || plain(terminal_stderr::get_terminal_stderr())),
    ("wasi:clocks/wall-clock#now", || plain(wall_clock::now())),
    ("wasi:clocks/wall-clock#resolution", || plain(wall_clock::resolution())),
    ("wasi:clocks/monotonic-clock#now", || plain(monotonic_clock::now())),
    ("wasi:clocks/monotonic-clock#resolution", || plain(monotonic_clock::resolution())),
    ("wasi:clocks/monotonic-clock#subscribe-instant", || plain(monotonic_clock::subscribe_instant(1))),
    ("wasi:clocks/monotonic-clock#subscribe-duration", || plain(monotonic_clock::subscribe_duration(1))),
    ("wasi:random/random#get-random-bytes", || plain(random::get_random_bytes(4).len())),
    ("wasi:random/random#get-random-u64", || plain(random::get_random_u64())),
    ("wasi:random/insecure#get-insecure-random-bytes", || {
        plain(insecure::get_insecure_random_bytes(4).len())
    }),
    ("wasi:random/insecure#get-insecure-random-u64", || plain(insecure::get_insecure_random_u64())),
    ("wasi:random/insecure-seed#insecure-seed", || plain(insecure_seed::insecure_seed())),
    ("wasi:sockets/network#network-error-code", || plain(network_error_code(&http_error()?))),
    ("wasi:sockets/instance-network#instance-network", || plain(instance_network())),
    ("wasi:config/store#get", || fallible(config::get("key"))),
    ("wasi:config/store#get-all", || fallible(config::get_all())),
    ("wasi:keyvalue/store#open", || fallible(keyvalue::open("store").map(drop))),
    ("wasi:keyvalue/store#[method]bucket.get", || fallible(bucket()?.get("key"))),
    ("wasi:keyvalue/store#[method]bucket.set", || fallible(bucket()?.set("key", b"value"))),
    ("wasi:keyvalue/store#[method]bucket.delete", || fallible(bucket()?.delete("key"))),
    ("wasi:keyvalue/store#[method]bucket.exists", || fallible(bucket()?.exists("key"))),
    ("wasi:keyvalue/store#[method]bucket.list-keys", || {
        fallible(bucket()?.list_keys(None).map(|page| page.keys))
    }),
    ("wasi:keyvalue/atomics#increment", || fallible(atomics::increment(&bucket()?, "number", 1))),
    ("wasi:keyvalue/batch#get-many", || fallible(batch::get_many(&bucket()?, &["key".to_owned()]))),
    ("wasi:keyvalue/batch#set-many", || {
        fallible(batch::set_many(&bucket()?, &[("key".to_owned(), b"value".to_vec())]))
    }),
    ("wasi:keyvalue/batch#delete-many", || fallible(batch::delete_many(&bucket()?, &["key".to_owned()]))),
    ("wasi:logging/logging#log", || {
        silent(|| logging::log(logging::Level::Info, "context", "a line of the log"))
    }),
    ("portcullis:tool/progress#report", || {
        silent(|| progress::report(&progress::Step { done: 1.0, total: None, message: "begun".to_owned() }))
    }),
    ("portcullis:tool/progress#is-cancelled", || plain(progress::is_cancelled())),
    ("portcullis:tool/secrets#get", || fallible(secrets::get("token"))),
    ("portcullis:tool/invoke#call", || fallible(invoke::call("polite", "answer", "{}"))),
];
