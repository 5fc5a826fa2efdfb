//! Adding a package as a stream: progress while it is compiled, then what came of it.
//!
//! Keeps no bytes after the end, and says something at least once a second.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Interval, interval};

use super::http::{line, lines};
use super::messages::{AddLine, AddStage};
use super::problem::{ErrorKind, Problem};
use crate::gateway::{AddProgress, AddedPackage, Blame, Host, HostError, NewComponent, Registration};

/// A client that hears nothing for some of these may take it that the host is gone.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Registers a component; its place is given back at the end.
pub(super) fn add(host: Arc<Host>, component: NewComponent, registration: Registration) -> Response {
    // At most one message for each stage.
    let (sender, stages) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let progress = move |progress| {
            // Nobody listens any more: nothing to do.
            let _ = sender.send(stage(progress));
        };
        host.add_component(registration, component, progress).await
    });
    let adding = Adding {
        stages,
        task,
        ticks: interval(HEARTBEAT),
        stage: AddStage::Measuring,
        started: Instant::now(),
        ended: false,
    };
    lines(stream::unfold(adding, |mut adding| async move {
        let line = adding.next().await?;
        Some((Ok::<_, Infallible>(line), adding))
    }))
}

struct Adding {
    stages: mpsc::UnboundedReceiver<AddStage>,
    task: JoinHandle<Result<AddedPackage, HostError>>,
    ticks: Interval,
    stage: AddStage,
    started: Instant,
    ended: bool,
}

impl Adding {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        tokio::select! {
            biased;
            Some(stage) = self.stages.recv() => self.stage = stage,
            result = &mut self.task => {
                self.ended = true;
                return Some(line(&match result {
                    Ok(Ok(added)) => AddLine::Result(Box::new(added)),
                    Ok(Err(error)) => AddLine::Error(Box::new(error.into())),
                    Err(error) => {
                        let detail = format!("the registration was not made to its end: {error}");
                        AddLine::Error(Box::new(Problem::new(ErrorKind::HostFault, detail, Blame::Host)))
                    }
                }));
            }
            _ = self.ticks.tick() => {}
        }
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Some(line(&AddLine::Progress { stage: self.stage, elapsed_ms }))
    }
}

/// The client went away. What is being written down is written to its end; what is before that stops, the
/// compiler's process included.
impl Drop for Adding {
    fn drop(&mut self) {
        while let Ok(stage) = self.stages.try_recv() {
            self.stage = stage;
        }
        if self.stage < AddStage::Storing {
            self.task.abort();
        }
    }
}

fn stage(progress: AddProgress) -> AddStage {
    match progress {
        AddProgress::Compiling => AddStage::Compiling,
        AddProgress::ListingTools => AddStage::ListingTools,
        AddProgress::Storing => AddStage::Storing,
    }
}
