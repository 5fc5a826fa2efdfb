//! What stands in for the world in a tool's test: answers of HTTP, the time of day, random numbers. Never set by a
//! host that serves.

use std::sync::Arc;
use std::time::Duration;

use crate::egress::StandIn;

/// By default none: the world is what it is.
#[derive(Clone, Debug, Default)]
pub struct StandIns {
    /// Answers what is sent by `wasi:http`, once it was judged and recorded.
    pub http: Option<Arc<dyn StandIn>>,
    /// Since 1970: the time of day stands still. The monotonic clock goes on.
    pub time_of_day: Option<Duration>,
    /// Each call gets the same numbers.
    pub random_seed: Option<u64>,
}
