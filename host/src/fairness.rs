//! Who is served next, when several want what there is too little of: start-time fair queueing.
//!
//! Plain arithmetic, without clock, lock or task. As in Goyal, Vin and Cheng's *Start-time Fair Queueing* (1996), with
//! several served at once as in Jin, Chase and Kaur's *SFQ(D)* (2004): each flow has a start tag, the lowest is served
//! first, and what a service cost, divided by the flow's weight, is added to the flow's tag. The cost need not be
//! known before the service ends. Virtual time is the start tag of who was served last: who was idle begins there, and
//! has saved nothing up.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How much more of what is scarce one flow is given than another: 1 to 100. Default: 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

/// A number that is no weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a weight is a number from 1 to {}", Weight::MAX.0)]
pub struct WeightError;

impl Weight {
    /// The highest.
    pub const MAX: Weight = Weight(100);
}

impl schemars::JsonSchema for Weight {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Weight".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": Weight::MAX.0 })
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u32> for Weight {
    type Error = WeightError;

    fn try_from(number: u32) -> Result<Self, WeightError> {
        if (1..=Self::MAX.0).contains(&number) { Ok(Self(number)) } else { Err(WeightError) }
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl FromStr for Weight {
    type Err = WeightError;

    fn from_str(text: &str) -> Result<Self, WeightError> {
        text.parse::<u32>().map_err(|_| WeightError)?.try_into()
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Units of a tag in one unit of cost at weight 1.
const SCALE: u64 = 1_000;
/// The most that one charge counts for: about a second, where a unit is a microsecond.
pub(crate) const COST_MAX: u64 = 1_000_000;
/// The most that a flow's tag is ahead of virtual time: who is that far ahead is served after the others were given so
/// much, however much it had before.
const LEAD_MAX: u64 = 10 * COST_MAX * SCALE;
/// Tags that have come true are forgotten when there are so many, or twice as many as were left the last time.
const SWEPT_AT_LEAST: usize = 64;

/// The tags of all flows.
#[derive(Clone, Debug)]
pub(crate) struct Shares<K> {
    /// Of flows that are ahead of virtual time. All others are at it.
    tags: BTreeMap<K, u64>,
    now: u64,
    sweep_at: usize,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { tags: BTreeMap::new(), now: 0, sweep_at: SWEPT_AT_LEAST }
    }
}

impl<K: Ord + Clone> Shares<K> {
    /// Where a flow stands: of those that want something, the lowest is next.
    pub(crate) fn tag(&self, flow: &K) -> u64 {
        self.tags.get(flow).copied().unwrap_or(0).max(self.now)
    }

    /// A flow is served from now on.
    pub(crate) fn begin(&mut self, flow: &K) {
        self.now = self.tag(flow);
    }

    /// A service, or a part of it, did cost so much: at most [`COST_MAX`] of it counts.
    pub(crate) fn charge(&mut self, flow: &K, weight: Weight, cost: u64) {
        let step = cost.min(COST_MAX) * SCALE / u64::from(weight.0);
        let tag = self.tag(flow).saturating_add(step.max(1)).min(self.now.saturating_add(LEAD_MAX));
        self.tags.insert(flow.clone(), tag);
        if self.tags.len() >= self.sweep_at {
            let now = self.now;
            self.tags.retain(|_, tag| *tag > now);
            self.sweep_at = SWEPT_AT_LEAST.max(2 * self.tags.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weight(number: u32) -> Weight {
        number.try_into().expect("a weight")
    }

    /// Always has something to do: serves the lowest tag of `flows` until `rounds` services were made, `depth` of them
    /// at once, each for its own cost. Gives what each flow was given.
    fn serve(weights: &[u32], costs: &[u64], depth: usize, rounds: usize) -> Vec<u64> {
        let mut shares = Shares::default();
        let mut given = vec![0; weights.len()];
        let mut under_way = std::collections::VecDeque::new();
        for round in 0..rounds {
            if under_way.len() == depth {
                let (flow, cost): (usize, u64) = under_way.pop_front().expect("depth is not 0");
                // One unit was charged when it began.
                shares.charge(&flow, weight(weights[flow]), cost - 1);
                given[flow] += cost;
            }
            let next = (0..weights.len()).min_by_key(|flow| shares.tag(flow)).expect("there are flows");
            shares.begin(&next);
            shares.charge(&next, weight(weights[next]), 1);
            under_way.push_back((next, costs[round % costs.len()]));
        }
        given
    }

    proptest! {
        /// What two flows were given for each unit of weight differs by no more than a few of the largest services,
        /// however long they are served: the theorem of the paper, with several at once.
        #[test]
        fn each_is_given_what_its_weight_says(
            weights in prop::collection::vec(1_u32..=100, 2..6),
            costs in prop::collection::vec(1_u64..=1_000, 1..50),
            depth in 1_usize..6,
            rounds in 1_usize..3_000,
        ) {
            let given = serve(&weights, &costs, depth, rounds);
            let most = costs.iter().max().expect("not empty") * 2 * (depth as u64 + 1);
            let served: u64 = given.iter().sum();
            for (one, first) in given.iter().zip(&weights) {
                for (other, second) in given.iter().zip(&weights) {
                    let (one, other) = (one / u64::from(*first), other / u64::from(*second));
                    let apart = most / u64::from(*first) + most / u64::from(*second) + depth as u64 + 2;
                    prop_assert!(one.abs_diff(other) <= apart, "{given:?} of {served} for {weights:?}");
                }
            }
        }

        /// Nobody waits for more than so much service of the others, whatever it was given before.
        #[test]
        fn nobody_starves(
            weights in prop::collection::vec(1_u32..=100, 2..6),
            debt in 0_u64..u64::MAX / 2,
            cost in 1_u64..=COST_MAX,
        ) {
            let mut shares = Shares::default();
            for _ in 0..50 {
                shares.charge(&0, weight(weights[0]), debt);
            }
            let all: u64 = weights[1..].iter().map(|weight| u64::from(*weight)).sum();
            // Each of the others comes to the tag of the first at last, and goes beyond by one service.
            let bound = LEAD_MAX / SCALE * all + COST_MAX * weights.len() as u64;
            let mut waited = 0;
            loop {
                let next = (0..weights.len()).min_by_key(|flow| (shares.tag(flow), usize::MAX - flow)).expect("flows");
                if next == 0 {
                    break;
                }
                shares.begin(&next);
                // Large steps, so that the test ends soon.
                shares.charge(&next, weight(weights[next]), cost.max(500_000));
                waited += cost.max(500_000);
                prop_assert!(waited <= bound, "{waited} of {bound}");
            }
        }
    }

    #[test]
    fn who_was_idle_has_saved_nothing_up_and_who_comes_back_owes_what_it_had() {
        let mut shares = Shares::default();
        for _ in 0..1_000 {
            shares.begin(&"busy");
            shares.charge(&"busy", Weight::default(), 10);
        }
        let (busy, late) = (shares.tag(&"busy"), shares.tag(&"late"));
        assert_eq!(busy - late, 10 * SCALE, "one service ahead, not a thousand");
        // Going away and coming back does not pay a debt.
        shares.charge(&"busy", Weight::default(), 500);
        assert_eq!(shares.tag(&"busy") - shares.tag(&"late"), 510 * SCALE);
    }

    #[test]
    fn only_those_ahead_are_remembered() {
        let mut shares = Shares::default();
        for flow in 0..100_000_u32 {
            shares.begin(&flow);
            shares.charge(&flow, weight(100), 1);
            shares.begin(&flow);
        }
        assert!(shares.tags.len() <= 2 * SWEPT_AT_LEAST, "{}", shares.tags.len());
    }

    #[test]
    fn weights_are_from_1_to_100() {
        for (text, expected) in [("1", Some(1)), ("100", Some(100)), ("0", None), ("101", None), ("x", None)]
        {
            assert_eq!(text.parse::<Weight>().ok().map(u32::from), expected, "{text}");
        }
        assert!(serde_json::from_str::<Weight>("0").is_err());
    }
}
