//! `[grant.clock]`: how exactly a tool may know the time. Pure.

use super::reader::{Keys, Node, Reader};
use super::values::{self, Problem};
use crate::policy::grant::{CLOCK_RESOLUTION_MS_MAX, ClockRule};

const KEYS: Keys<'static> = Keys { known: &["resolution"], later: &[] };

/// Reads the table. A mistake in it is noted; without it the grant would give the exact time.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node<'_, '_>) -> Option<ClockRule> {
    let table = reader.table(node)?;
    reader.check_keys(&table, KEYS);
    let node = reader.required(&table, "resolution")?;
    let text = reader.string(&node)?;
    let checked = values::duration_ms(text).and_then(|resolution_ms| match resolution_ms {
        1..=CLOCK_RESOLUTION_MS_MAX => Ok(ClockRule { resolution_ms }),
        _ => Err(Problem::new(
            "a clock is coarsened to 1ms at least and 24h at most",
            r#"write resolution = "1s", or leave [grant.clock] out for the exact time"#,
        )),
    });
    reader.keep(&node, checked)
}
