//! Host traits and types that wasmtime generates from `wit/`.
//!
//! Every function is async, those included that need no waiting for what they do: a guest whose records
//! come faster than the log can take them waits at the gate, instead of filling memory. All are traced, so that tests can compare wasmtime's own count of host calls with the
//! records of the gate.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "portcullis:tool/host",
    imports: { default: async | trappable | tracing },
    trappable_error_type: {
        "wasi:io/streams.stream-error" => wasmtime_wasi::p2::StreamError,
        "wasi:filesystem/types.error-code" => crate::sandbox::capabilities::filesystem::FileError,
    },
    with: {
        "wasi:http/types": wasmtime_wasi_http::p2::bindings::http::types,
        "wasi:io/poll.pollable": wasmtime_wasi::p2::DynPollable,
        "wasi:io/streams.input-stream": wasmtime_wasi::p2::DynInputStream,
        "wasi:io/streams.output-stream": wasmtime_wasi::p2::DynOutputStream,
        "wasi:io/error.error": wasmtime_wasi::p2::IoError,
        "wasi:filesystem/types.descriptor": crate::sandbox::capabilities::filesystem::Descriptor,
        "wasi:filesystem/types.directory-entry-stream": crate::sandbox::capabilities::filesystem::Entries,
        "wasi:sockets/network.network": crate::sandbox::capabilities::sockets::Network,
        "wasi:sockets/tcp.tcp-socket": crate::sandbox::capabilities::sockets::TcpSocket,
        "wasi:sockets/udp.udp-socket": crate::sandbox::capabilities::sockets::UdpSocket,
        "wasi:sockets/udp.incoming-datagram-stream": crate::sandbox::capabilities::sockets::IncomingDatagrams,
        "wasi:sockets/udp.outgoing-datagram-stream": crate::sandbox::capabilities::sockets::OutgoingDatagrams,
        "wasi:sockets/ip-name-lookup.resolve-address-stream": crate::sandbox::capabilities::sockets::FoundAddresses,
        "wasi:keyvalue/store.bucket": crate::sandbox::capabilities::keyvalue::Bucket,
    },
    require_store_data_send: true,
});

/// The exports of the world `tool`.
pub mod tool {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "portcullis:tool/tool",
        exports: { default: async },
        require_store_data_send: true,
    });
}
