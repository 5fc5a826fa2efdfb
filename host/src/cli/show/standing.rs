//! Freeze, quarantines, principals and the host's state as text.

use super::{ids, joined, moment, one_line, push, render, short, table};
use crate::api::messages::PrincipalDetails;
use crate::database::Package;
use crate::gateway::{
    FreezeChanged, HostStatus, PrincipalChanged, PrincipalStatus, QuarantineChanged, QuotaStatus, QuotaUse,
    QuotasChanged, RunningCall, Taken,
};
use crate::ids::CallId;
use crate::policy::{Freeze, Quarantine, Quotas};

/// The state of a component, with whether it may not run whatever that is.
pub(super) fn state(package: &Package) -> String {
    let state = super::state(package.state);
    if package.quarantine.is_some() { format!("{state}, quarantined") } else { state.to_owned() }
}

pub(super) fn quarantine(quarantine: &Quarantine) -> String {
    let Quarantine { package, digest, because, by, since } = quarantine;
    let what = digest.map_or_else(|| format!("all of {package}"), |digest| format!("{package} {digest}"));
    format!("{what}, since {} by {by}: {}", moment(*since), one_line(because.as_str()))
}

/// What a freeze means, in one line.
pub(in crate::cli) fn freeze_line(frozen: &Freeze) -> String {
    let Freeze { because, by, since } = frozen;
    format!(
        "the host is FROZEN since {} by {by}: {}; no call runs until `portcullis thaw`",
        moment(*since),
        one_line(because.as_str())
    )
}

pub(super) fn stopped(text: &mut String, stopped: &[CallId]) {
    if !stopped.is_empty() {
        push(text, format_args!("stopped   {}", joined(stopped, ", ")));
    }
}

/// The head line, then the revision and what ended.
pub(super) fn taken(head: &str, taken: &Taken) -> String {
    let mut text = format!("{head}\n");
    if taken.changed {
        push(&mut text, format_args!("revision  {}", taken.revision));
    }
    stopped(&mut text, &taken.stopped);
    text
}

pub(in crate::cli) fn frozen(changed: &FreezeChanged) -> String {
    let line = changed.frozen.as_ref().map(freeze_line).unwrap_or_default();
    if changed.taken.changed { taken(&line, &changed.taken) } else { format!("nothing changed: {line}") }
}

pub(in crate::cli) fn thawed(changed: &FreezeChanged) -> String {
    match (&changed.frozen, changed.taken.changed) {
        (Some(frozen), _) => freeze_line(frozen),
        (None, true) => taken("the host is thawed; calls may begin again", &changed.taken),
        (None, false) => "nothing changed: the host is not frozen".to_owned(),
    }
}

pub(in crate::cli) fn quarantined(changed: &QuarantineChanged) -> String {
    let line = changed.quarantine.as_ref().map(quarantine).unwrap_or_default();
    if changed.taken.changed {
        let head =
            format!("quarantined {line}\nIt is not called or approved until `portcullis package release`.");
        taken(&head, &changed.taken)
    } else {
        format!("nothing changed: quarantined already, {line}")
    }
}

pub(in crate::cli) fn released(changed: &QuarantineChanged) -> String {
    let QuarantineChanged { taken: result, package, digest, quarantine: left } = changed;
    let what = digest.map_or_else(|| package.to_string(), |digest| format!("{package} {digest}"));
    let mut text = if result.changed {
        taken(&format!("released {what}; what was approved may run again"), result)
    } else {
        format!("nothing changed: {what} is not quarantined\n")
    };
    if let Some(left) = left {
        push(&mut text, format_args!("It still may not run: quarantined is {}", quarantine(left)));
    }
    text
}

pub(in crate::cli) fn principal_added(changed: &PrincipalChanged) -> String {
    let PrincipalChanged { taken: result, principal } = changed;
    let role = principal.known.as_ref().map(|known| known.role.name()).unwrap_or_default();
    let name = &principal.name;
    if !result.changed {
        return format!("nothing changed: {name} is known already, as {role}");
    }
    taken(&format!("added {name} as {role}; {}", named_by(principal)), result)
}

pub(in crate::cli) fn principal_removed(changed: &PrincipalChanged) -> String {
    let PrincipalChanged { taken: result, principal } = changed;
    let name = &principal.name;
    if !result.changed {
        return format!("nothing changed: {name} was removed already");
    }
    let mut head = format!("removed {name}: it may call nothing until it is added again");
    if !principal.grants.is_empty() {
        head.push_str(&format!("\nGrants {} name it, and give it nothing.", ids(&principal.grants)));
    }
    taken(&head, result)
}

fn named_by(principal: &PrincipalStatus) -> String {
    if principal.grants.is_empty() {
        "no grant names it yet".to_owned()
    } else {
        format!("grants {} name it", ids(&principal.grants))
    }
}

pub(in crate::cli) fn principals(principals: &[PrincipalStatus]) -> String {
    if principals.is_empty() {
        return "no principals: none was added, and no grant names any".to_owned();
    }
    let mut table = table(["NAME", "ROLE", "STATE", "SINCE", "GRANTS", "NOTE"]);
    for principal in principals {
        let known = principal.known.as_ref();
        let state = match known {
            None => "named by grants",
            Some(_) if principal.is_removed() => "removed",
            Some(_) => "added",
        };
        table.add_row([
            principal.name.to_string(),
            known.map_or("agent", |known| known.role.name()).to_owned(),
            state.to_owned(),
            known.map(|known| moment(known.since)).unwrap_or_default(),
            ids(&principal.grants),
            known
                .and_then(|known| known.note.as_ref())
                .map(|note| one_line(note.as_str()))
                .unwrap_or_default(),
        ]);
    }
    render(&table)
}

/// What was said, in one line.
pub(in crate::cli) fn quotas_text(quotas: &Quotas) -> String {
    let Quotas { weight, concurrency, calls_per_minute, fuel_per_hour, egress_per_day } = quotas;
    let said = [
        ("weight", weight.map(|weight| u64::from(u32::from(weight)))),
        ("concurrency", *concurrency),
        ("calls_per_minute", *calls_per_minute),
        ("fuel_per_hour", *fuel_per_hour),
        ("egress_per_day", *egress_per_day),
    ];
    let said: Vec<String> =
        said.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}"))).collect();
    if said.is_empty() { "as the host's limits say".to_owned() } else { said.join(", ") }
}

pub(in crate::cli) fn quota_status(status: &QuotaStatus) -> String {
    let QuotaStatus { subject, quotas, running, waiting, used } = status;
    let waiting = waiting.map(|waiting| format!(", {waiting} wait")).unwrap_or_default();
    let mut text = format!("{subject}: {}\n{running} calls run{waiting}\n", quotas_text(quotas));
    let mut table = table(["QUOTA", "USED", "HELD BY CALLS", "MAX"]);
    for QuotaUse { limit, used, held, max } in used {
        table.add_row([limit.to_string(), used.to_string(), held.to_string(), max.to_string()]);
    }
    text.push_str(&render(&table));
    text
}

pub(in crate::cli) fn quotas_set(changed: &QuotasChanged) -> String {
    let QuotasChanged { taken: result, status } = changed;
    let head = if result.changed { "set" } else { "nothing changed" };
    format!("{}{}", taken(head, result), quota_status(status))
}

pub(in crate::cli) fn principal(details: &PrincipalDetails) -> String {
    let PrincipalDetails { principal, quotas } = details;
    format!("{}\n\n{}", principals(std::slice::from_ref(principal)), quota_status(quotas))
}

pub(in crate::cli) fn status(status: &HostStatus) -> String {
    let HostStatus { version, pid, revision, frozen, quarantines, running, waiting } = status;
    let mut text = format!("version {version}, process {pid}, revision {revision}\n");
    match frozen {
        Some(frozen) => push(&mut text, format_args!("{}", freeze_line(frozen))),
        None => push(&mut text, format_args!("not frozen")),
    }
    for found in quarantines {
        push(&mut text, format_args!("quarantined: {}", quarantine(found)));
    }
    if *waiting > 0 {
        push(&mut text, format_args!("{waiting} calls wait for a place"));
    }
    if running.is_empty() {
        push(&mut text, format_args!("nothing runs now"));
        return text;
    }
    let mut table = table(["CALL", "AGENT", "PACKAGE", "TOOL", "BYTES", "GRANTS", "SINCE"]);
    for RunningCall { context, grants, since } in running {
        table.add_row([
            context.call.to_string(),
            context.principal.to_string(),
            context.package.to_string(),
            context.tool.to_string(),
            short(context.digest),
            ids(grants),
            moment(*since),
        ]);
    }
    push(&mut text, format_args!("{}", render(&table)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_is_told_with_who_when_and_why_and_when_it_was_so_already() {
        let frozen = Freeze {
            because: "looking into it".parse().expect("a remark"),
            by: "local-admin".parse().expect("a name"),
            since: "2026-01-02T03:04:05Z".parse().expect("a moment"),
        };
        let call = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        let shown = |changed, stopped| {
            let taken = Taken { revision: crate::ids::Revision(7), changed, stopped };
            super::frozen(&FreezeChanged { taken, frozen: Some(frozen.clone()) })
        };
        insta::assert_snapshot!(shown(true, vec![call]), @r"
        the host is FROZEN since 2026-01-02 03:04:05Z by local-admin: looking into it; no call runs until `portcullis thaw`
        revision  7
        stopped   01890a5d-ac96-774b-bcce-b302099a8057
        ");
        insta::assert_snapshot!(shown(false, Vec::new()), @"nothing changed: the host is FROZEN since 2026-01-02 03:04:05Z by local-admin: looking into it; no call runs until `portcullis thaw`");
    }
}
