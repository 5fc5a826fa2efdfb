//! Our host in this process, over a temporary folder: what a benchmark of the library asks.

#![allow(dead_code, reason = "each benchmark takes what it needs of it")]
#![allow(clippy::disallowed_methods, reason = "a benchmark writes the files that it grants")]

use std::path::Path;

use bytes::Bytes;
use portcullis::audit::AuditSettings;
use portcullis::authn::local_admin;
use portcullis::config::{DataFolder, Ownership};
use portcullis::gateway::{CallRequest, GrantsSource, Host, HostOptions};
use portcullis::policy::Durability;
use serde_json::Value;

use crate::floor::guest_bytes;

pub(crate) const AGENT: &str = "bench";
pub(crate) const FILE_BYTES: u64 = 4096;

/// A host with packages that are approved and granted to [`AGENT`], with a folder that has a file of 4 KiB.
pub(crate) struct Ours {
    pub(crate) host: Host,
    pub(crate) temporary: tempfile::TempDir,
}

impl Ours {
    /// With these guests; `more` is said of the last of them in the grants.
    pub(crate) async fn new(durability: Durability, guests: &[&str], more: &str) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        files(temporary.path());
        let host = open(&temporary.path().join("data"), durability).await;
        let mut grants = String::new();
        for name in guests {
            add(&host, name).await;
            grants += &format!("[[grant]]\npackage = \"{name}\"\nagents = [\"{AGENT}\"]\n");
        }
        grants += more;
        let source = GrantsSource { file: "bench".into(), folder: temporary.path().into(), text: grants };
        host.apply_grants(&local_admin(), &source).await.expect("granted");
        Self { host, temporary }
    }

    pub(crate) async fn call(&self, package: &str, tool: &str, arguments: Value) -> Value {
        call(&self.host, package, tool, arguments).await
    }
}

/// Makes the folder `files` with its file, for those that are granted it.
pub(crate) fn files(folder: &Path) {
    std::fs::create_dir(folder.join("files")).expect("made");
    let bytes = vec![b'x'; usize::try_from(FILE_BYTES).expect("small")];
    std::fs::write(folder.join("files/file"), bytes).expect("written");
}

/// Grants that folder.
pub(crate) const FILES: &str =
    "[[grant.filesystem]]\nhost_path = \"files\"\nguest_path = \"/data\"\naccess = \"read\"\n";

pub(crate) async fn open(data: &Path, durability: Durability) -> Host {
    let Ownership::Ours(folder) = DataFolder::take(data).expect("usable") else {
        panic!("another host has the folder");
    };
    let audit = AuditSettings { durability, ..AuditSettings::default() };
    Host::open(folder, HostOptions { audit, ..HostOptions::default() }).await.expect("it opens")
}

pub(crate) async fn add(host: &Host, guest: &str) {
    let name = || guest.parse().expect("a name");
    let bytes = Bytes::from(guest_bytes(guest));
    host.add_package(&local_admin(), bytes, Some(name()), None, |_| {}).await.expect("registered");
    host.approve(&local_admin(), &name(), None).await.expect("approved");
}

pub(crate) async fn call(host: &Host, package: &str, tool: &str, arguments: Value) -> Value {
    let request = CallRequest {
        principal: AGENT.parse().expect("a name"),
        package: package.parse().expect("a name"),
        tool: tool.parse().expect("a name"),
        argument_bytes: 32,
        arguments,
        trace: None,
        admission: Default::default(),
    };
    host.call(request).await.expect("it answers").answer.structured.unwrap_or_default()
}
