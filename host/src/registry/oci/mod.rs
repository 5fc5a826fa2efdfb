//! Components in OCI registries, in the layout of the CNCF's Wasm working group: one layer `application/wasm`, a config
//! `application/vnd.wasm.config.v0+json`; signatures, SBOMs and provenance beside them as referrers.
//!
//! Speaks the OCI distribution specification (1.1) over `egress/`: addresses are judged, every wait and every body is
//! bounded, bytes are hashed while they come. Runs no program, and keeps nothing but the file that it is told to write.
//!
//! | part | its one job |
//! | --- | --- |
//! | `reference` | `oci://HOST/REPOSITORY[:TAG][@DIGEST]` |
//! | `credentials` | what docker's configuration says of a registry |
//! | `attachment` | what an SBOM and a provenance are told by |
//! | `sbom`, `statement` | what they say |
//! | `transport` | one request: challenge, token, redirects |
//! | `layout` | manifests, configs and indexes as data |
//! | `upload` | one blob on its way, gone on with if it breaks off |
//! | `pull`, `push` | what is done with them |

mod attachment;
mod credentials;
mod layout;
mod pull;
mod push;
mod reference;
mod sbom;
mod statement;
#[cfg(test)]
mod tests;
mod transport;
mod upload;

pub use attachment::{ATTACHMENT_BYTES_MAX, Attachment, AttachmentError, AttachmentKind, Said};
pub use credentials::{
    Credentials, CredentialsError, DOCKER_CONFIG_BYTES_MAX, Found, from_docker_config, from_helper,
};
pub use pull::{Pulled, Pulling};
pub use push::{Pushed, Pushing};
pub use reference::{Pinned, Reference, ReferenceError};
pub use sbom::{ListedCrate, SBOM_COMPONENTS_MAX, Sbom};
pub use statement::Statement;
pub use transport::{OciError, Registry, RegistryOptions};
