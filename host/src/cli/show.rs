//! Answers as text for people. Text of tools and their authors is cleaned first, and said to be theirs.

pub(super) mod authored;
pub(super) mod built;
pub(super) mod calls;
pub(super) mod diff;
pub(super) mod keys;
pub(super) mod secrets;
pub(super) mod settings;
pub(super) mod standing;
pub(super) mod state;
pub(super) mod trust;

use std::fmt::Write as _;

use comfy_table::{Cell, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use super::archive::Archived;
use super::output::Output;
use crate::api::messages::{Approved, GrantEffect, GrantList, GrantStatus};
use crate::audit::commitment::Opening;
use crate::audit::event::ApprovalRule;
use crate::database::{Added, PackageState};
use crate::doctor::{Check, Level, Report};
use crate::gateway::{AddedPackage, CallReport, Erased, GrantsChanged, ListedPackage, PackageDetails};
use crate::ids::{GrantId, PackageDigest, PackageName};
use crate::limits::{Limit, Usage};
use crate::outlets::OutletHealth;
use crate::package::{Capability, CompileCost, ComponentSize, PackageDescription};
use crate::policy::{Access, ClockRule, Evidence, FilesystemRule, GrantTerms};
use crate::sandbox::{Content, ToolAnswer};
use crate::text::{clean, clean_line};

/// How much of a description, a name or a path is shown.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// How many hex digits of a digest a table shows.
const DIGEST_HEX_SHOWN: usize = 12;

pub(super) fn packages(packages: &[ListedPackage]) -> String {
    if packages.is_empty() {
        return "no packages; register one with `portcullis package add FILE`".to_owned();
    }
    let mut table = table(["PACKAGE", "VERSION", "STATE", "SIGNED BY", "BYTES", "DIGEST", "ADDED"]);
    for ListedPackage { package, trust } in packages {
        table.add_row([
            package.name.to_string(),
            package.version.to_string(),
            standing::state(package),
            trust::signers(trust),
            grouped(package.bytes),
            short(package.digest),
            moment(package.added_at),
        ]);
    }
    render(&table)
}

pub(super) fn added(added: &AddedPackage) -> String {
    let AddedPackage { package, version, digest, added, description, about, trust, upgrade, approved_by } =
        added;
    let mut text = match added {
        Added::New => format!("added {package} {version}\n"),
        Added::Already(now) => format!("{package} {version} was there before, {}\n", state(*now)),
    };
    push(&mut text, format_args!("digest        {digest}"));
    trust::lines(&mut text, trust);
    asks(&mut text, description);
    authored::manifest(&mut text, about);
    if let Some(upgrade) = upgrade {
        trust::upgrade(&mut text, upgrade);
    }
    if let Some(ApprovalRule::SameOrNarrower) = approved_by {
        push(
            &mut text,
            format_args!(
                "\nIt asks for no more than the version before it, so the trust policy's rule approved it;"
            ),
        );
        push(&mut text, format_args!("grants of that version are bound to it."));
        return text;
    }
    match added {
        Added::New | Added::Already(PackageState::Pending | PackageState::Superseded) => push(
            &mut text,
            format_args!("\nIt has no power and does not run before `portcullis package approve {package}`."),
        ),
        Added::Already(PackageState::Approved) => {}
    }
    text
}

pub(super) fn details(details: &[PackageDetails]) -> String {
    let mut text = String::new();
    for (index, PackageDetails { package, description, about, trust, upgrade }) in details.iter().enumerate()
    {
        if index > 0 {
            text.push('\n');
        }
        push(&mut text, format_args!("{} {} — {}", package.name, package.version, standing::state(package)));
        if let Some(quarantine) = &package.quarantine {
            push(&mut text, format_args!("quarantine    {}", standing::quarantine(quarantine)));
        }
        push(&mut text, format_args!("digest        {}", package.digest));
        push(&mut text, format_args!("added         {}", moment(package.added_at)));
        if let Some(approved_at) = package.approved_at {
            push(&mut text, format_args!("approved      {}", moment(approved_at)));
        }
        trust::lines(&mut text, trust);
        asks(&mut text, description);
        authored::manifest(&mut text, about);
        authored::origin(&mut text, about);
        size(&mut text, &description.size);
        compile(&mut text, description.compile);
        tools(&mut text, description);
        if let Some(upgrade) = upgrade {
            trust::upgrade(&mut text, upgrade);
        }
    }
    text
}

/// What was shown before it was approved.
pub(super) fn approval(approved: &Approved) -> String {
    let mut text = format!("approved {} {}\n", approved.package, approved.digest);
    after_approval(&mut text, approved);
    text
}

pub(super) fn approved(approved: &Approved) -> String {
    let Approved { package, digest, description, about, trust, upgrade, grants_without_effect: _ } = approved;
    let mut text = format!("approved {package}\n");
    push(&mut text, format_args!("digest        {digest}"));
    trust::lines(&mut text, trust);
    asks(&mut text, description);
    if let Some(upgrade) = upgrade {
        trust::upgrade(&mut text, upgrade);
    }
    authored::manifest(&mut text, about);
    text.push('\n');
    after_approval(&mut text, approved);
    text
}

fn after_approval(text: &mut String, approved: &Approved) {
    let grants_without_effect = &approved.grants_without_effect;
    if !grants_without_effect.is_empty() {
        push(
            text,
            format_args!(
                "Grants {} were made for other bytes and give nothing any more; apply them again.",
                ids(grants_without_effect)
            ),
        );
    }
    text.push_str("Only these bytes run under this name, and only for agents that a grant names.");
}

/// Capabilities, imports and tools, one line each.
fn asks(text: &mut String, description: &PackageDescription) {
    let capabilities: Vec<String> = description.capabilities.iter().map(capability).collect();
    push(text, format_args!("asks for      {}", or_nothing(&capabilities.join(", "))));
    let imports: Vec<String> = description.imports.iter().map(|import| one_line(import)).collect();
    push(text, format_args!("imports       {}", or_nothing(&imports.join("\n              "))));
    let names: Vec<&str> = description.tools.iter().map(|tool| tool.name.as_str()).collect();
    push(text, format_args!("tools         {}", or_nothing(&names.join(", "))));
    for left_out in &description.left_out {
        push(text, format_args!("left out      {}", one_line(left_out)));
    }
}

fn size(text: &mut String, size: &ComponentSize) {
    let ComponentSize { bytes, functions, types, imports, modules, instances } = size;
    push(
        text,
        format_args!(
            "size          {} bytes, {functions} functions, {types} types, {imports} imports, {modules} modules, {instances} instances",
            grouped(*bytes)
        ),
    );
}

fn compile(text: &mut String, cost: Option<CompileCost>) {
    let Some(CompileCost { time_ms, memory_peak }) = cost else { return };
    let memory =
        memory_peak.map_or_else(String::new, |peak| format!(", at most {} bytes held", grouped(peak)));
    push(text, format_args!("compiled      in {} ms{memory}", grouped(time_ms)));
}

fn tools(text: &mut String, description: &PackageDescription) {
    for tool in &description.tools {
        push(text, format_args!("\n  {}", tool.name));
        // By the author, whom nobody trusts: shown as a quotation.
        for line in clean(&tool.description, TEXT_BYTES_MAX).lines() {
            push(text, format_args!("    │ {line}"));
        }
        push(text, format_args!("    takes {}", schema(&tool.input_schema)));
        if let Some(output) = &tool.output_schema {
            push(text, format_args!("    gives {}", schema(output)));
        }
    }
}

fn schema(schema: &serde_json::Value) -> String {
    let json = serde_json::to_string_pretty(schema).expect("a JSON value always serialises");
    clean(&json, 16 * TEXT_BYTES_MAX).replace('\n', "\n    ")
}

pub(super) fn grants(list: &GrantList) -> String {
    if list.grants.is_empty() {
        return format!(
            "no grants at revision {}; make some with `portcullis grant apply FILE`",
            list.revision
        );
    }
    let mut table = table(["ID", "PACKAGE", "AGENTS", "TOOLS", "POWERS", "LIMITS", "EXPIRES", "EFFECT"]);
    for GrantStatus { grant, effect: now } in &list.grants {
        let GrantTerms { agents, tools, names, expires, limits, filesystem, rules, evidence, clock } =
            &grant.terms;
        let called = names.iter().map(|(tool, name)| format!("{tool} as {name}"));
        let tools = tools.as_ref().map_or_else(|| "all".to_owned(), |tools| joined(tools, "\n"));
        let tools = std::iter::once(tools).chain(called).collect::<Vec<_>>().join("\n");
        let folders =
            filesystem.iter().map(|rule| format!("{} ({})", one_line(&rule.guest_path), access(rule.access)));
        let powers: Vec<String> = folders
            .chain(rules.iter().map(|rule| one_line(&rule.to_string())))
            .chain(asked(evidence))
            .collect();
        let clock = clock.iter().map(ClockRule::to_string);
        let limits: Vec<String> =
            limits.iter().map(|(limit, value)| format!("{limit} {value}")).chain(clock).collect();
        table.add_row([
            grant.id.to_string(),
            grant.package.to_string(),
            joined(agents, "\n"),
            tools,
            powers.join("\n"),
            limits.join("\n"),
            expires.map(moment).unwrap_or_default(),
            effect(*now).to_owned(),
        ]);
    }
    format!("{}\nrevision {}", render(&table), list.revision)
}

pub(super) fn grants_in_full(package: &PackageName, list: &GrantList) -> String {
    if list.grants.is_empty() {
        return format!("package {package} has no grants at revision {}", list.revision);
    }
    let mut text = format!("grants of {package} at revision {}\n", list.revision);
    for GrantStatus { grant, effect: now } in &list.grants {
        let GrantTerms { agents, tools, names, expires, limits, filesystem, rules, evidence, clock } =
            &grant.terms;
        push(&mut text, format_args!("\ngrant {} — {}", grant.id, effect(*now)));
        push(&mut text, format_args!("  bound to    {}", grant.digest));
        push(&mut text, format_args!("  agents      {}", joined(agents, ", ")));
        let tools = tools.as_ref().map_or_else(|| "all".to_owned(), |tools| joined(tools, ", "));
        push(&mut text, format_args!("  tools       {tools}"));
        for (tool, name) in names {
            push(&mut text, format_args!("  name        {tool} is called {name}"));
        }
        push(&mut text, format_args!("  expires     {}", expires.map_or_else(|| "never".to_owned(), moment)));
        for (limit, value) in limits {
            push(&mut text, format_args!("  limit       {limit} {}", measured(*limit, *value)));
        }
        for (index, rule) in filesystem.iter().enumerate() {
            push(&mut text, format_args!("  filesystem {index}  {}", folder(rule)));
        }
        for rule in rules {
            push(&mut text, format_args!("  {:<10}  {}", rule.kind(), one_line(&rule.to_string())));
        }
        for asked in asked(evidence) {
            push(&mut text, format_args!("  audit       {asked}"));
        }
        if let Some(clock) = clock {
            push(&mut text, format_args!("  clock       {clock}"));
        }
    }
    text
}

/// What was kept whole of a call.
pub(super) fn payloads(opening: &Opening) -> String {
    let mut text = String::new();
    for (name, kept) in [("arguments", &opening.arguments), ("result", &opening.result)] {
        let Some(kept) = kept else { continue };
        let redacted = if kept.redacted { " (a secret of the call was in it)" } else { "" };
        let value = serde_json::to_string_pretty(&kept.value).unwrap_or_default();
        push(&mut text, format_args!("{name}{redacted}:"));
        push(&mut text, format_args!("{}", clean(&value, usize::MAX)));
    }
    text
}

/// What came of erasing.
pub(super) fn erased(erased: &Erased) -> String {
    let Erased { principal, keys, payloads } = erased;
    let keys = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "erased what opens the calls of {principal} (key {keys}), and {payloads} payloads; the log stays as it is"
    )
}

/// What a grant asks of the log.
fn asked(evidence: &Evidence) -> impl Iterator<Item = String> + use<> {
    let Evidence { durability, fold_reads, payloads } = *evidence;
    let durability = durability.map(|level| format!("durability {level}"));
    durability
        .into_iter()
        .chain(fold_reads.then(|| "repeated reads folded".to_owned()))
        .chain(payloads.then(|| "payloads kept".to_owned()))
}

fn folder(rule: &FilesystemRule) -> String {
    let FilesystemRule { host_path, guest_path, access: may, quota_bytes, quota_files } = rule;
    let (host, guest) = (one_line(&host_path.to_string_lossy()), one_line(guest_path));
    let quota = match may {
        Access::Read => String::new(),
        Access::ReadWrite => {
            format!(", at most {} bytes and {} entries", grouped(*quota_bytes), grouped(*quota_files))
        }
    };
    format!("{guest} is {host}, {}{quota}", access(*may))
}

pub(super) fn changed(changed: &GrantsChanged) -> String {
    let GrantsChanged { revision, granted, revoked, changed, stopped, diff } = changed;
    if !changed {
        return format!("nothing changed; revision {revision} stays in force");
    }
    let mut text = String::new();
    for (what, grants) in [("granted", granted), ("revoked", revoked)] {
        if !grants.is_empty() {
            push(&mut text, format_args!("{what}   {}", ids(grants)));
        }
    }
    push(&mut text, format_args!("revision  {revision}"));
    standing::stopped(&mut text, stopped);
    if let Some(diff) = diff {
        text.push_str(&diff::agents(diff));
    }
    text
}

/// What the tool said.
pub(super) fn answer(answer: &ToolAnswer) -> String {
    let mut text = String::new();
    for content in &answer.content {
        match content {
            Content::Text { text: said } => push(&mut text, format_args!("{}", clean(said, usize::MAX))),
            Content::Image { data, mime_type } => attached(&mut text, "image", mime_type, data),
            Content::Audio { data, mime_type } => attached(&mut text, "audio", mime_type, data),
            Content::Resource { uri, mime_type, text: said, blob } => {
                let kind = mime_type.as_deref().unwrap_or("of no stated type");
                push(&mut text, format_args!("[resource {}, {}]", one_line(uri), one_line(kind)));
                if let Some(said) = said {
                    push(&mut text, format_args!("{}", clean(said, usize::MAX)));
                }
                if let Some(blob) = blob {
                    attached(&mut text, "resource", kind, blob);
                }
            }
        }
    }
    if answer.content.is_empty()
        && let Some(structured) = &answer.structured
    {
        push(&mut text, format_args!("{}", clean(&structured.to_string(), usize::MAX)));
    }
    text
}

fn attached(text: &mut String, what: &str, mime_type: &str, base64: &str) {
    let count = grouped(base64.len() as u64);
    push(
        text,
        format_args!("[{what} {}: {count} characters of base64, shown by --json]", one_line(mime_type)),
    );
}

/// Writes what the tool printed to stderr, marked as its.
pub(super) fn printed(report: &CallReport, output: &Output) {
    let printed = [("stdout", &report.stdout), ("stderr", &report.stderr), ("log", &report.log)];
    for (stream, printed) in printed {
        for line in clean(printed, usize::MAX).lines() {
            output.aside(&format!("tool {stream} │ {line}"));
        }
    }
}

/// How a call went, in one line.
pub(super) fn summary(report: &CallReport) -> String {
    format!("call {} · {}", report.call, usage(&report.usage))
}

pub(super) fn usage(usage: &Usage) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
    let milliseconds = usage.wall_time_us as f64 / 1_000.0;
    format!("{milliseconds:.1} ms · fuel {} · host calls {}", grouped(usage.fuel), grouped(usage.host_calls))
}

pub(super) fn outlets(outlets: &[OutletHealth]) -> String {
    if outlets.is_empty() {
        return "nothing goes out: `audit.toml` of the data folder names no [[ship]] and no [[anchor]]"
            .to_owned();
    }
    let mut table = table(["NAME", "KIND", "RECORDS", "BEHIND", "STATE"]);
    for outlet in outlets {
        let state = match (&outlet.failure, outlet.alarm) {
            (Some(failure), true) => format!("ALARM: {failure}"),
            (None, true) => "ALARM: it does not answer".to_owned(),
            (Some(failure), false) => format!("fails for {} s: {failure}", outlet.lag_seconds),
            (None, false) => "works".to_owned(),
        };
        let lost = if outlet.lost > 0 { format!("; {} records lost", outlet.lost) } else { String::new() };
        table.add_row([
            outlet.name.to_string(),
            outlet.kind.name().to_owned(),
            grouped(outlet.records),
            grouped(outlet.behind),
            one_line(&format!("{state}{lost}")),
        ]);
    }
    render(&table)
}

pub(super) fn backed_up(archived: &Archived) -> String {
    let Archived { file, bytes, components, record, revision, .. } = archived;
    format!(
        "wrote {}: {} bytes, {components} components, the log up to record {record}, grants at revision {revision}; read back and whole",
        one_line(&file.to_string_lossy()),
        grouped(*bytes)
    )
}

pub(super) fn restored(archived: &Archived) -> String {
    let Archived { data_dir, made_at, components, revision, .. } = archived;
    let data_dir = data_dir.as_ref().map(|folder| one_line(&folder.to_string_lossy())).unwrap_or_default();
    format!(
        "restored into {data_dir}: {components} components, grants at revision {revision}, as of {}. What was \
         granted or revoked since then is not in it.",
        moment(*made_at)
    )
}

pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    for Check { name, level, found, advice } in &report.checks {
        push(&mut text, format_args!("{:<5} {name:<12} {}", word(level), one_line(found)));
        if let Some(advice) = advice {
            push(&mut text, format_args!("{:<18} do: {}", "", one_line(advice)));
        }
    }
    let count = |level| report.checks.iter().filter(|check| check.level == level).count();
    let (fails, warns) = (count(Level::Fail), count(Level::Warn));
    let folder = one_line(&report.data_dir.to_string_lossy());
    push(
        &mut text,
        format_args!("\n{folder}: {fails} fail, {warns} warn, of {} checks", report.checks.len()),
    );
    text
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(Cell::new));
    table
}

fn render(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes all");
    text.push('\n');
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}

fn ids(grants: &[GrantId]) -> String {
    joined(grants, ", ")
}

fn one_line(text: &str) -> String {
    clean_line(text, TEXT_BYTES_MAX)
}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn short(digest: PackageDigest) -> String {
    let hex = digest.hex();
    format!("sha256:{}…", hex.get(..DIGEST_HEX_SHOWN).unwrap_or(&hex))
}

fn moment(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn measured(limit: Limit, value: u64) -> String {
    format!("{} {}", grouped(value), limit.row().unit)
}

/// With a comma between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn state(state: PackageState) -> &'static str {
    match state {
        PackageState::Pending => "pending",
        PackageState::Approved => "approved",
        PackageState::Superseded => "superseded",
    }
}

fn effect(effect: GrantEffect) -> &'static str {
    match effect {
        GrantEffect::InForce => "in force",
        GrantEffect::OtherBytes => "none: made for other bytes",
        GrantEffect::Expired => "none: expired",
        GrantEffect::Quarantined => "none: quarantined",
    }
}

fn access(access: Access) -> String {
    word(&access)
}

fn capability(capability: &Capability) -> String {
    word(capability)
}

/// A unit variant by its name in JSON.
fn word(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("a unit variant always serialises");
    json.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 12, 123, 1_234, 123_456, 1_234_567].map(grouped).join(" ");
        assert_eq!(shown, "0 12 123 1,234 123,456 1,234,567");
    }

    /// Threat 69: what a tool says can't act on the terminal of whoever called it.
    #[test]
    fn an_answer_is_shown_without_what_acts_on_a_terminal() {
        let content = vec![
            Content::Text { text: "\u{1b}]52;c;aGk=\u{7}\u{1b}[2Jhello\u{202e}".to_owned() },
            Content::Image { data: "AAAA".to_owned(), mime_type: "image/\u{1b}[31mpng".to_owned() },
        ];
        let shown = answer(&ToolAnswer { content, structured: None });
        assert_eq!(shown, "hello\n[image image/png: 4 characters of base64, shown by --json]\n");
    }
}
