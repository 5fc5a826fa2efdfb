//! Several things measured in turns, so that what else the machine does falls on all of them.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::{Aim, Figures, Times};

/// Does so many pieces, and keeps how long each took.
type Work<'a> = Box<dyn FnMut(usize, &mut Times) + 'a>;

/// Something whose single pieces are timed.
struct Subject<'a> {
    name: String,
    /// How many pieces in each turn.
    pieces: usize,
    work: Work<'a>,
    times: Times,
}

/// What is to be measured in turns.
#[derive(Default)]
pub(crate) struct Rounds<'a> {
    subjects: Vec<Subject<'a>>,
}

impl<'a> Rounds<'a> {
    /// A piece of asynchronous work, `pieces` times each turn.
    pub(crate) fn add<F>(&mut self, runtime: &'a Runtime, name: &str, pieces: usize, piece: F)
    where
        F: AsyncFnMut() + 'a,
    {
        self.add_after(runtime, name, pieces, Duration::ZERO, piece);
    }

    /// The same, each piece after a pause that does not count. The thread does not sleep meanwhile, or its waking would
    /// count.
    pub(crate) fn add_after<F>(
        &mut self,
        runtime: &'a Runtime,
        name: &str,
        pieces: usize,
        pause: Duration,
        mut piece: F,
    ) where
        F: AsyncFnMut() + 'a,
    {
        self.add_turn(name, pieces, move |pieces, times| {
            runtime.block_on(async {
                for _ in 0..pieces {
                    let paused = Instant::now();
                    while paused.elapsed() < pause {
                        std::hint::spin_loop();
                    }
                    let started = Instant::now();
                    piece().await;
                    times.push(started.elapsed());
                }
            });
        });
    }

    /// A piece of work that blocks, `pieces` times each turn.
    pub(crate) fn add_blocking(&mut self, name: &str, pieces: usize, mut piece: impl FnMut() + 'a) {
        self.add_turn(name, pieces, move |pieces, times| {
            for _ in 0..pieces {
                let started = Instant::now();
                piece();
                times.push(started.elapsed());
            }
        });
    }

    fn add_turn(&mut self, name: &str, pieces: usize, work: impl FnMut(usize, &mut Times) + 'a) {
        let (name, work) = (name.to_owned(), Box::new(work));
        self.subjects.push(Subject { name, pieces, work, times: Times::default() });
    }

    /// One turn that does not count, then so many that do.
    pub(crate) fn run(mut self, turns: usize) -> Measured {
        for turn in 0..=turns {
            for subject in &mut self.subjects {
                if turn == 1 {
                    subject.times = Times::default();
                }
                (subject.work)(subject.pieces, &mut subject.times);
            }
        }
        Measured { all: self.subjects.into_iter().map(|subject| (subject.name, subject.times)).collect() }
    }
}

/// The times of all, by their names.
pub(crate) struct Measured {
    all: Vec<(String, Times)>,
}

impl Measured {
    /// None if it was not among what was measured.
    pub(crate) fn of(&self, name: &str) -> Option<&Times> {
        self.all.iter().find(|(of, _)| of == name).map(|(_, times)| times)
    }

    /// The rows of one beside a floor; none where one of them was not measured.
    pub(crate) fn rows(&self, figures: &mut Figures, name: &str, floor: Option<&str>, aim: Option<Aim>) {
        let Some(times) = self.of(name) else { return };
        match floor {
            None => figures.times(name, times, None, aim),
            Some(floor) => {
                if let Some(of_floor) = self.of(floor) {
                    figures.times(name, times, Some((floor, of_floor)), aim);
                }
            }
        }
    }
}
