//! The inputs of a seed: the same in each run, and each can be made again by its number.

use super::mutate::mutate;
use crate::harness::generator::Generator;
use crate::harness::random::Random;
use crate::harness::{built_guests, guest, wat, wat_guests};

/// Larger guests are damaged in a soak only, and seldom: each takes the compiler most of a minute.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// A text in which a test has yet to fill something in.
const TEMPLATE: &str = "listed";
/// Of so many cases, the first few are made by the generator.
const ROUND: u64 = 10;
const GENERATED: u64 = 4;

/// One input.
pub(super) struct Case {
    /// What it was made from.
    pub(super) from: String,
    pub(super) bytes: Vec<u8>,
}

/// All inputs of a seed, in order.
pub(super) struct Cases {
    seed: u64,
    generator: Generator,
    small: Vec<(String, Vec<u8>)>,
    large: Vec<(String, Vec<u8>)>,
}

impl Cases {
    /// From one on. `long`: with the large guests too.
    pub(super) fn new(seed: u64, from: u64, long: bool) -> Self {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        let texts = wat_guests().into_iter().filter(|name| name != TEMPLATE);
        small.extend(texts.map(|name| (name.clone(), wat(&name))));
        for name in built_guests() {
            let bytes = guest(&name);
            if bytes.len() <= SMALL_BYTES_MAX { &mut small } else { &mut large }.push((name, bytes));
        }
        if !long {
            large.clear();
        }
        assert!(small.len() > 10, "{} guests", small.len());
        // Those before it that were generated.
        let generated = from / ROUND * GENERATED + (from % ROUND).min(GENERATED);
        Self { seed, generator: Generator::start(seed, generated), small, large }
    }

    /// The next: `index` must be the one that follows.
    pub(super) fn make(&mut self, index: u64) -> Case {
        if index % ROUND < GENERATED {
            return Case { from: "generator".into(), bytes: self.generator.next() };
        }
        let mut random = Random::of_case(self.seed, index);
        let large = !self.large.is_empty() && random.below(500) == 0;
        let (name, source) = random.pick(if large { &self.large } else { &self.small });
        let (_, other) = random.pick(&self.small);
        Case { from: name.clone(), bytes: mutate(source, other, &mut random) }
    }
}
