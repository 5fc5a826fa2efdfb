//! A connection that wakes itself while it is polled is polled again at once.
//!
//! hyper's connection and the handler of its request are one task. When the handler asks for the body it wakes that
//! task, and so does each piece of the body that comes: left to the runtime, the task goes to the end of a line from
//! which another thread is woken to take it, twice for each request with a body. That costs more than the request's
//! own work. Decides nothing; what a guest yields is left to the runtime after [`POLLING_TIME_MAX`].

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// The most polls in a row: a body that is there needs three.
const POLLS_MAX: u32 = 6;
/// After so long others have their turn: much less than a guest has between two ticks.
const POLLING_TIME_MAX: Duration = Duration::from_micros(200);

/// Nobody polls: whoever wakes, wakes the task.
const IDLE: u8 = 0;
/// It is polled: whoever wakes, is heard when the poll ends.
const POLLED: u8 = 1;
/// It was woken while it was polled.
const WOKEN: u8 = 2;

#[derive(Debug, Default)]
struct Waking {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let heard = self.state.compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if heard == Err(IDLE) {
            self.task.wake();
        }
    }
}

/// Does some work, and polls it again at once when it woke itself: so often and so long at most, before the runtime
/// does.
pub(super) async fn again_at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let waking = Arc::new(Waking::default());
    let waker = Waker::from(Arc::clone(&waking));
    poll_fn(|context| {
        waking.task.register(context.waker());
        let started = Instant::now();
        for polls in 1.. {
            waking.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
            if waking.state.swap(IDLE, Ordering::AcqRel) != WOKEN {
                break;
            }
            if polls >= POLLS_MAX || started.elapsed() >= POLLING_TIME_MAX {
                context.waker().wake_by_ref();
                break;
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Wakes itself so often before it ends.
    async fn waking_itself(times: u32, polls: &Cell<u32>, each: Duration) {
        let mut left = times;
        poll_fn(|context| {
            polls.set(polls.get() + 1);
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            std::thread::sleep(each);
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn what_wakes_itself_ends_in_one_poll_of_its_task() {
        let (polls, task) = (Cell::new(0), Arc::new(Counting::default()));
        // A slow machine may take longer than it is polled for: then it is polled by the task again.
        let mut work = pin!(again_at_once(waking_itself(3, &polls, Duration::ZERO)));
        let (waker, mut tasks) = (Waker::from(Arc::clone(&task)), 1);
        while work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            assert_eq!(task.0.load(Ordering::Relaxed), tasks, "who gives up wakes the task");
            tasks += 1;
        }
        assert_eq!(polls.get(), 4);
    }

    #[test]
    fn what_always_wakes_itself_lets_others_have_their_turn() {
        for (each, polls_max) in [(Duration::ZERO, POLLS_MAX), (POLLING_TIME_MAX, 1)] {
            let (polls, task) = (Cell::new(0), Arc::new(Counting::default()));
            let waker = Waker::from(Arc::clone(&task));
            let mut work = pin!(again_at_once(waking_itself(1_000, &polls, each)));
            assert!(work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert!((1..=polls_max).contains(&polls.get()), "{} polls", polls.get());
            assert_eq!(task.0.load(Ordering::Relaxed), 1, "it goes on later");
        }
    }

    #[test]
    fn who_is_woken_by_another_while_it_waits_wakes_its_task() {
        let (task, kept) = (Arc::new(Counting::default()), Cell::new(None));
        let waker = Waker::from(Arc::clone(&task));
        let waits = poll_fn(|context| {
            kept.set(Some(context.waker().clone()));
            Poll::<()>::Pending
        });
        let mut work = pin!(again_at_once(waits));
        assert!(work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(task.0.load(Ordering::Relaxed), 0);
        kept.take().expect("it was polled").wake();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }
}
