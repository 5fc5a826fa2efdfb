//! What holds at a host, as text.

use super::{grouped, joined, push, render, table};
use crate::api::messages::{LimitSetting, LogSettings, Settings};

pub(in crate::cli) fn settings(settings: &Settings) -> String {
    let mut limits = table(["LIMIT", "DEFAULT", "CEILING", "UNIT"]);
    for LimitSetting { limit, unit, default, ceiling } in &settings.limits {
        limits.add_row([limit.name().to_owned(), grouped(*default), grouped(*ceiling), unit.clone()]);
    }
    let LogSettings { durability, segment_bytes, segment_age_ms, keep_age_ms, keep_bytes, ship, anchors } =
        &settings.audit;
    let kept = |bound: Option<u64>, unit: &str| {
        bound.map_or_else(|| "never dropped".to_owned(), |bound| format!("{} {unit}", grouped(bound)))
    };
    let mut text = format!("{}\n\n", render(&limits));
    push(&mut text, format_args!("durability   {}", durability.name()));
    push(
        &mut text,
        format_args!("segments     {} bytes, {} ms", grouped(*segment_bytes), grouped(*segment_age_ms)),
    );
    push(&mut text, format_args!("text by age  {}", kept(*keep_age_ms, "ms")));
    push(&mut text, format_args!("text by size {}", kept(*keep_bytes, "bytes")));
    push(
        &mut text,
        format_args!(
            "shipped to   {}",
            if ship.is_empty() { "nobody".to_owned() } else { joined(ship, ", ") }
        ),
    );
    push(
        &mut text,
        format_args!(
            "anchored at  {}",
            if anchors.is_empty() { "nobody".to_owned() } else { joined(anchors, ", ") }
        ),
    );
    text
}
