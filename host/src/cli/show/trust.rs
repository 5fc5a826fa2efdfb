//! Signatures, the trust policy and what an upgrade changes, as text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{built, moment, one_line, standing};
use crate::gateway::{Trust, TrustChanged, TrustStatus};
use crate::ids::PackageName;
use crate::policy::{Distrusted, SignatureFact, UpgradeDiff};
use crate::text::clean;

/// In a table: who has signed.
pub(in crate::cli) fn signers(trust: &Trust) -> String {
    let signers: Vec<String> = trust.signers().iter().map(ToString::to_string).collect();
    let signers = signers.join(", ");
    match (trust.trusted, signers.is_empty(), trust.signatures.is_empty()) {
        (Some(false), true, _) => "NOT TRUSTED".to_owned(),
        (Some(false), false, _) => format!("NOT TRUSTED: {signers}"),
        (_, false, _) => signers,
        (_, true, true) => "unsigned".to_owned(),
        (_, true, false) => "unknown".to_owned(),
    }
}

/// Of one component.
pub(in crate::cli) fn lines(text: &mut String, trust: &Trust) {
    let Trust { signatures, trusted, because } = trust;
    if signatures.is_empty() {
        push(text, "signatures    none");
    }
    for (index, fact) in signatures.iter().enumerate() {
        let SignatureFact { signer, standing, comment, .. } = fact;
        let maker = one_line(&fact.maker());
        let label = if index == 0 { "signatures    " } else { "              " };
        let who = signer.as_ref().map(|signer| format!("{signer}, ")).unwrap_or_default();
        let said = comment.as_ref().map(|said| format!(" — {}", one_line(said))).unwrap_or_default();
        push(text, &format!("{label}{who}{maker}: {}{said}", standing.name()));
    }
    match (trusted, because) {
        (_, Some(because)) => push(text, &format!("trust         NOT TRUSTED: {because}")),
        (Some(_), None) => push(text, "trust         by the trust policy in force"),
        (None, None) => {
            push(text, "trust         there is no trust policy: an admin's approval is all that is asked for")
        }
    }
}

/// What is different from the component that is approved.
pub(in crate::cli) fn upgrade(text: &mut String, upgrade: &UpgradeDiff) {
    let UpgradeDiff { from, from_version, changes } = upgrade;
    push(text, &format!("\ncompared with {from_version} {from}, which is approved:"));
    if changes.is_empty() {
        push(text, "  it asks for the same, and says the same");
    }
    built::differences(text, changes);
}

pub(in crate::cli) fn status(status: &TrustStatus) -> String {
    let Some(policy) = &status.policy else {
        return "there is no trust policy: packages need an admin's approval, and no signature".to_owned();
    };
    let mut text = format!("# revision {}, {}, by {}\n", policy.since, moment(policy.at), policy.by);
    text.push_str(&clean(&policy.text, usize::MAX));
    distrusted(&mut text, &status.distrusted);
    text
}

pub(in crate::cli) fn changed(changed: &TrustChanged, what: &str) -> String {
    let TrustChanged { taken, distrusted: not_trusted } = changed;
    if !taken.changed {
        return format!("nothing changed; revision {} stays in force", taken.revision);
    }
    let mut text = format!("{what}\n");
    push(&mut text, &format!("revision  {}", taken.revision));
    standing::stopped(&mut text, &taken.stopped);
    distrusted(&mut text, not_trusted);
    text
}

fn distrusted(text: &mut String, distrusted: &BTreeMap<PackageName, Distrusted>) {
    for (package, Distrusted { digest, because }) in distrusted {
        push(text, &format!("NOT TRUSTED, and not run any more: {package} {digest}: {because}"));
    }
}

fn push(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes all");
}
