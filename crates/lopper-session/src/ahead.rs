//! Batches fetched while the model computes.

use crate::Stop;
use lopper_core::{Batch, Dataset, Error, Result, Split};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Batches that wait for the model; decoded audio takes memory.
const WAITING: usize = 2;
/// How long to wait for a batch before looking whether the run was asked to stop.
const SLICE: Duration = Duration::from_millis(50);

/// Batches in the order in which they were asked for, fetched by a thread of their own.
pub(crate) struct Ahead {
    batches: Receiver<(Vec<usize>, Fetched)>,
    stop: Stop,
}

/// A batch, an error of the dataset, or its panic.
type Fetched = Result<Result<Batch>, Box<dyn Any + Send>>;

impl Ahead {
    /// The next batch and the examples in it; `None` after the last.
    ///
    /// # Errors
    /// Those of the dataset; nothing comes after one. [`Error::Interrupted`] when a stop is requested while there is no batch:
    /// where there is one, it is the caller's to look.
    ///
    /// # Panics
    /// Where the dataset did, with its message, so that whoever guards this call names it.
    pub(crate) fn next(&mut self) -> Result<Option<(Vec<usize>, Batch)>> {
        let (indices, fetched) = loop {
            match self.batches.recv_timeout(SLICE) {
                Ok(next) => break next,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => self.stop.check("waiting for a batch")?,
            }
        };
        match fetched {
            Ok(batch) => Ok(Some((indices, batch?))),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// The next batch of an endless sequence and the examples in it.
    ///
    /// # Errors
    /// Those of the dataset.
    ///
    /// # Panics
    /// As [`next`](Self::next).
    pub(crate) fn expect_next(&mut self) -> Result<(Vec<usize>, Batch)> {
        self.next()?.ok_or_else(|| Error::Other("the training batches ended early".into()))
    }
}

/// Fetches the batches that `order` lists from `split`, some of them ahead, while `work` takes one after another. When
/// `work` returns, nothing more is fetched; the batch that is being fetched then is waited for.
///
/// # Errors
/// Those of `work`, which meets the dataset's as it takes batches.
///
/// # Panics
/// As `work` does, which meets the dataset's panics as it takes batches.
pub(crate) fn fetch_ahead<T>(
    dataset: &dyn Dataset,
    split: &Split,
    order: impl Iterator<Item = Vec<usize>> + Send,
    stop: &Stop,
    work: impl FnOnce(&mut Ahead) -> Result<T>,
) -> Result<T> {
    let (sender, batches) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for indices in order {
                let batch = catch_unwind(AssertUnwindSafe(|| dataset.batch(split, &indices)));
                let last = !matches!(batch, Ok(Ok(_)));
                // Nobody takes any more batches: the work is done, or has failed.
                if sender.send((indices, batch)).is_err() || last {
                    break;
                }
            }
        });
        let mut ahead = Ahead { batches, stop: stop.clone() };
        let done = work(&mut ahead);
        // The thread may wait for room in the channel, and the scope for the thread.
        drop(ahead);
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lopper_core::{Evaluation, Predictions, Task};
    use lopper_testkit::{ToyData, ToyDataset};

    struct Fragile(ToyDataset);

    impl lopper_core::Dataset for Fragile {
        fn len(&self, split: &Split) -> usize {
            self.0.len(split)
        }
        fn cost(&self, split: &Split, index: usize) -> u32 {
            self.0.cost(split, index)
        }
        fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch> {
            assert_ne!(indices, [2], "an example that breaks");
            if indices == [1] {
                Err(Error::Other("an example that fails".into()))
            } else {
                self.0.batch(split, indices)
            }
        }
        fn task(&self) -> &Task {
            self.0.task()
        }
        fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Evaluation> {
            self.0.evaluate(split, outputs)
        }
        fn identity(&self, split: &Split) -> String {
            self.0.identity(split)
        }
    }

    fn taken(order: Vec<Vec<usize>>, most: usize) -> (Vec<Vec<usize>>, Option<String>) {
        let dataset = Fragile(ToyDataset::new(&ToyData::default()).unwrap());
        let mut taken = Vec::new();
        let done = fetch_ahead(&dataset, &Split::TRAIN, order.into_iter(), &Stop::default(), |ahead| {
            while taken.len() < most {
                let Some((indices, batch)) = lopper_torch::guarded("plugin `p`", || ahead.next())? else { break };
                assert_eq!(batch.len, indices.len());
                taken.push(indices);
            }
            Ok(())
        });
        (taken, done.err().map(|e| e.to_string()))
    }

    #[test]
    fn batches_come_in_order_and_end() {
        let order: Vec<Vec<usize>> = (3..20).map(|i| vec![i, 0]).collect();
        assert_eq!(taken(order.clone(), usize::MAX), (order, None));
    }

    #[test]
    fn whoever_stops_early_waits_for_nobody() {
        let endless: Vec<Vec<usize>> = (0..100_000).map(|_| vec![0]).collect();
        assert_eq!(taken(endless, 1), (vec![vec![0]], None));
    }

    #[test]
    fn whoever_waits_for_a_batch_sees_a_stop() {
        let dataset = Fragile(ToyDataset::new(&ToyData::default()).unwrap());
        let stop = Stop::default();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        // An order that never gets any further, as a dataset would that hangs.
        let hangs = std::iter::from_fn(move || wait.recv().ok().map(|()| vec![0]));
        let done = fetch_ahead(&dataset, &Split::TRAIN, hangs, &stop, |ahead| {
            go.send(()).unwrap();
            let (indices, _) = ahead.expect_next()?;
            assert_eq!(indices, [0]);
            // A batch that is there is given out, stop or not.
            go.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            stop.request();
            ahead.expect_next()?;
            let waited = ahead.expect_next().map(|_| ());
            drop(go);
            waited
        });
        assert!(matches!(done, Err(Error::Interrupted(_))), "{done:?}");
    }

    #[test]
    fn errors_and_panics_come_in_their_place() {
        let (before, error) = taken(vec![vec![0], vec![1], vec![0]], usize::MAX);
        assert_eq!((before, error.as_deref()), (vec![vec![0]], Some("an example that fails")));
        let (before, error) = taken(vec![vec![0], vec![3], vec![2]], usize::MAX);
        assert_eq!(before.len(), 2);
        let error = error.unwrap();
        assert!(error.starts_with("plugin `p` panicked: ") && error.contains("an example that breaks"), "{error}");
        // And one that nobody guards ends the thread that takes it, with its own message.
        let dataset = Fragile(ToyDataset::new(&ToyData::default()).unwrap());
        let once = || std::iter::once(vec![2]);
        let unguarded = || fetch_ahead(&dataset, &Split::TRAIN, once(), &Stop::default(), |ahead| ahead.next());
        let panic = catch_unwind(AssertUnwindSafe(unguarded)).err().unwrap();
        assert!(panic.downcast_ref::<String>().unwrap().contains("an example that breaks"));
    }
}
