//! What must hold of SBOMs and provenance for any bytes: shared by the fuzz target and by a test, which gives them bytes
//! from a seed.

use portcullis::ids::PackageDigest;
use portcullis::registry::oci::{Attachment, AttachmentError, SBOM_COMPONENTS_MAX, Said};

/// Reads bytes as whatever they say that they are.
pub(crate) fn holds(data: &[u8]) {
    let digest = PackageDigest::of(b"component");
    let Ok(attachment) = Attachment::read(data.to_vec().into()) else { return };
    let about = attachment.check_subject(digest);
    match attachment.said_of(digest) {
        Ok(Said::Sbom(sbom)) => {
            assert!(attachment.kind.is_sbom() && about.is_ok());
            assert!(sbom.components <= SBOM_COMPONENTS_MAX && sbom.crates.len() <= sbom.components * 64);
            assert!(serde_json::to_string(&sbom).is_ok());
        }
        Ok(Said::Statement(statement)) => {
            assert!(!attachment.kind.is_sbom() && about.is_ok());
            // Only the digest's own digits can have said so.
            assert!(statement.subjects > 0 && statement.sources.len() <= 8);
            let told = serde_json::to_string(&statement).expect("it serialises");
            assert!(!told.contains("\\u001b"));
        }
        Err(error) => {
            assert!(error != AttachmentError::Unknown || !attachment.kind.is_sbom());
            assert!(attachment.kind.is_sbom() || about.is_err());
        }
    }
}
