//! What is to come of each function, by what was granted. Only what is special is listed: any other
//! function is allowed, leaves one record and answers.

use super::served::Signature;

/// What the agent was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    /// A folder and a store, to read and write, and rules of every other kind.
    ReadWrite,
    /// A folder and a store, to read, and rules of every other kind.
    Read,
    /// Nothing of that.
    Nothing,
}

/// What is to come of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// One record: allowed. The guest gets a value.
    Allowed,
    /// An attempt before it and an outcome after it: allowed. The guest gets a value.
    Effect,
    /// One record: allowed. The guest gets this error, which has nothing to do with what is granted.
    Answers(&'static str),
    /// One record: denied. The guest gets this error of the interface.
    Denied(&'static str),
    /// No record: what gives the handle was refused, or had none.
    NoHandle,
    /// One record, and the guest ends.
    Ends,
}

/// Functions that change what lies in a granted folder.
const EFFECTS: &[&str] = &[
    "wasi:filesystem/types#[method]descriptor.create-directory-at",
    "wasi:filesystem/types#[method]descriptor.link-at",
    "wasi:filesystem/types#[method]descriptor.open-at create",
    "wasi:filesystem/types#[method]descriptor.remove-directory-at",
    "wasi:filesystem/types#[method]descriptor.rename-at",
    "wasi:filesystem/types#[method]descriptor.set-size",
    "wasi:filesystem/types#[method]descriptor.set-times",
    "wasi:filesystem/types#[method]descriptor.set-times-at",
    "wasi:filesystem/types#[method]descriptor.unlink-file-at",
    "wasi:filesystem/types#[method]descriptor.write",
];

/// Functions that change nothing yet, and need a folder that may be written.
const TO_WRITE: &[&str] = &[
    "wasi:filesystem/types#[method]descriptor.append-via-stream",
    "wasi:filesystem/types#[method]descriptor.write-via-stream",
];

/// On a stream over a file or a connection, and on a socket, these are effects; without a writable folder or
/// a rule there is no such handle.
const STREAM_EFFECTS: &[&str] = &[
    "wasi:io/streams#[method]output-stream.blocking-splice file",
    "wasi:io/streams#[method]output-stream.blocking-write-and-flush file",
    "wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush file",
    "wasi:io/streams#[method]output-stream.splice file",
    "wasi:io/streams#[method]output-stream.write file",
    "wasi:io/streams#[method]output-stream.write-zeroes file",
    "wasi:io/streams#[method]output-stream.blocking-splice socket",
    "wasi:io/streams#[method]output-stream.blocking-write-and-flush socket",
    "wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush socket",
    "wasi:io/streams#[method]output-stream.splice socket",
    "wasi:io/streams#[method]output-stream.write socket",
    "wasi:io/streams#[method]output-stream.write-zeroes socket",
    "wasi:sockets/tcp#[method]tcp-socket.shutdown",
    "wasi:sockets/tcp#[method]tcp-socket.start-connect",
    "wasi:sockets/udp#[method]outgoing-datagram-stream.send",
];

/// Functions that a rule allows, with what is to come of them then, and the error of their interface where
/// there is none.
const RULED: &[(&str, Expected, &str)] = &[
    ("wasi:http/outgoing-handler#handle", Expected::Effect, "HTTP-request-denied"),
    ("portcullis:tool/invoke#call", Expected::Effect, "denied"),
    ("portcullis:tool/secrets#get", Expected::Effect, "not-permitted"),
    ("wasi:config/store#get", Expected::Allowed, "upstream"),
    ("wasi:config/store#get-all", Expected::Allowed, "upstream"),
    ("wasi:keyvalue/store#open", Expected::Allowed, "access-denied"),
    ("wasi:sockets/ip-name-lookup#resolve-addresses", Expected::Effect, "access-denied"),
    ("wasi:sockets/tcp-create-socket#create-tcp-socket", Expected::Allowed, "access-denied"),
    ("wasi:sockets/udp-create-socket#create-udp-socket", Expected::Allowed, "access-denied"),
];

/// Functions that change what lies in a granted store.
const STORE_EFFECTS: &[&str] = &[
    "wasi:keyvalue/atomics#increment",
    "wasi:keyvalue/batch#delete-many",
    "wasi:keyvalue/batch#set-many",
    "wasi:keyvalue/store#[method]bucket.delete",
    "wasi:keyvalue/store#[method]bucket.set",
];

/// Functions that no grant allows today, with the error of their interface.
const REFUSED: &[(&str, &str)] = &[
    ("wasi:sockets/tcp#[method]tcp-socket.accept", "access-denied"),
    ("wasi:sockets/tcp#[method]tcp-socket.finish-listen", "access-denied"),
    ("wasi:sockets/tcp#[method]tcp-socket.start-bind loopback", "access-denied"),
    ("wasi:sockets/tcp#[method]tcp-socket.start-connect elsewhere", "access-denied"),
    ("wasi:sockets/tcp#[method]tcp-socket.start-listen", "access-denied"),
    ("wasi:sockets/udp#[method]outgoing-datagram-stream.send elsewhere", "access-denied"),
    ("wasi:sockets/udp#[method]udp-socket.start-bind loopback", "access-denied"),
    ("wasi:sockets/udp#[method]udp-socket.stream elsewhere", "access-denied"),
];

/// Stdin is at its end from the beginning.
const AT_THE_END: &[&str] = &[
    "wasi:io/streams#[method]input-stream.blocking-read",
    "wasi:io/streams#[method]input-stream.blocking-skip",
    "wasi:io/streams#[method]input-stream.read",
    "wasi:io/streams#[method]input-stream.skip",
    "wasi:io/streams#[method]output-stream.blocking-splice",
    "wasi:io/streams#[method]output-stream.splice",
];

/// Functions that end the guest.
const ENDS: &[&str] = &["wasi:cli/exit#exit", "wasi:cli/exit#exit-with-code"];

/// Resources that only a granted folder or a rule gives.
const GRANTED: [&str; 12] = [
    "wasi:filesystem/types.descriptor",
    "wasi:filesystem/types.directory-entry-stream",
    "wasi:http/types.future-incoming-response",
    "wasi:http/types.future-trailers",
    "wasi:http/types.incoming-body",
    "wasi:http/types.incoming-response",
    "wasi:keyvalue/store.bucket",
    "wasi:sockets/ip-name-lookup.resolve-address-stream",
    "wasi:sockets/tcp.tcp-socket",
    "wasi:sockets/udp.incoming-datagram-stream",
    "wasi:sockets/udp.outgoing-datagram-stream",
    "wasi:sockets/udp.udp-socket",
];

/// What is to come of a driver's function, whose signature is given.
pub(super) fn expected(driver: &str, signature: &Signature, granted: Granted) -> Expected {
    let over_a_file = driver.ends_with(" file");
    let needs_grant = over_a_file
        || driver.ends_with(" socket")
        || GRANTED.iter().any(|resource| signature.takes.contains(*resource));
    let writes_a_file =
        over_a_file && (driver.contains("output-stream") || driver.contains("filesystem-error-code"));
    let is_in = |list: &[&str]| list.contains(&driver);
    let ruled = RULED.iter().find(|(name, ..)| *name == driver);
    let refused = REFUSED.iter().find(|(name, _)| *name == driver);
    match granted {
        Granted::Nothing if needs_grant => Expected::NoHandle,
        Granted::Nothing if ruled.is_some() => Expected::Denied(ruled.map_or("", |(.., error)| error)),
        Granted::Read if is_in(STORE_EFFECTS) => Expected::Denied("access-denied"),
        Granted::Read if writes_a_file => Expected::NoHandle,
        Granted::Read if is_in(EFFECTS) || is_in(TO_WRITE) => Expected::Denied("not-permitted"),
        Granted::ReadWrite | Granted::Read | Granted::Nothing => match refused {
            Some((_, error)) => Expected::Denied(error),
            None if ruled.is_some() => ruled.map_or(Expected::Allowed, |(_, expected, _)| *expected),
            // Guests make no symlinks, whatever was granted.
            None if driver == "wasi:filesystem/types#[method]descriptor.symlink-at" => {
                Expected::Denied("not-permitted")
            }
            None if is_in(EFFECTS) || is_in(STREAM_EFFECTS) || is_in(STORE_EFFECTS) => Expected::Effect,
            None if is_in(AT_THE_END) => Expected::Answers("closed"),
            None if is_in(ENDS) => Expected::Ends,
            None => Expected::Allowed,
        },
    }
}

/// Every driver that is named above.
pub(super) fn named() -> impl Iterator<Item = &'static str> {
    [EFFECTS, TO_WRITE, STREAM_EFFECTS, STORE_EFFECTS, AT_THE_END, ENDS]
        .into_iter()
        .flatten()
        .copied()
        .chain(RULED.iter().map(|(name, ..)| *name))
        .chain(REFUSED.iter().map(|(name, _)| *name))
}
