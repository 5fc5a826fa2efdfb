//! Tells the service manager how far the program is, as `sd_notify(3)` describes it.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `state` to the socket that the service manager named, if it named one. Nothing waits for it, and
/// nothing depends on it but how soon the manager goes on.
pub(super) fn service_manager(socket: Option<OsString>, state: &str) {
    let Some(socket) = socket else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, "the service manager was not told: {state}");
    }
}

/// That the settings are read again, since when: what systemd from version 253 on waits for.
pub(super) fn reloading() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
    format!("RELOADING=1\nMONOTONIC_USEC={microseconds}")
}

fn send(socket: &OsString, state: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_told_by_path_or_by_abstract_name_or_not_at_all() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = temporary.path().join("notify");
        let name = format!("portcullis-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        let mut buffer = [0; 32];
        for (receiver, socket) in [
            (UnixDatagram::bind(&path).expect("bound"), path.as_os_str().to_owned()),
            (UnixDatagram::bind_addr(&abstract_address).expect("bound"), format!("@{name}").into()),
        ] {
            service_manager(Some(socket), "READY=1");
            let count = receiver.recv(&mut buffer).expect("received");
            assert_eq!(&buffer[..count], b"READY=1");
        }
        service_manager(None, "READY=1");
        service_manager(Some("/nowhere/notify".into()), "READY=1");
    }
}
