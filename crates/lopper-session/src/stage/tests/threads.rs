//! A world of threads.

use crate::world::World;
use lopper_core::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tch::Tensor;

/// What a rank gives to the others.
#[derive(Default)]
struct Given {
    tensors: Vec<Vec<f32>>,
    numbers: Vec<f64>,
    bytes: Vec<u8>,
}

/// One of several threads that train a stage together. Whoever waits for a thread that is gone gets an error.
pub(super) struct Threads {
    rank: usize,
    /// To each rank, this one among them.
    to: Vec<Sender<Arc<Given>>>,
    /// From each rank.
    from: Vec<Receiver<Arc<Given>>>,
}

impl Threads {
    /// A world of each of so many ranks.
    pub(super) fn of(size: usize) -> Vec<Self> {
        let (mut to, mut from): (Vec<Vec<_>>, Vec<Vec<_>>) = Default::default();
        to.resize_with(size, Vec::new);
        from.resize_with(size, Vec::new);
        for sends in &mut to {
            for hears in &mut from {
                let (sender, receiver) = channel();
                sends.push(sender);
                hears.push(receiver);
            }
        }
        to.into_iter().zip(from).enumerate().map(|(rank, (to, from))| Self { rank, to, from }).collect()
    }

    /// What every rank gives, in the order of ranks.
    fn exchange(&self, given: Given) -> Result<Vec<Arc<Given>>> {
        let given = Arc::new(given);
        // Who is gone is noticed below.
        self.to.iter().for_each(|rank| drop(rank.send(given.clone())));
        let gone = |rank| Error::Other(format!("rank {rank} is gone"));
        self.from.iter().enumerate().map(|(rank, from)| from.recv().map_err(|_| gone(rank))).collect()
    }
}

impl World for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn all_reduce_sum(&self, tensors: &mut [Tensor], numbers: &mut [f64]) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let values = tensors.iter().map(|tensor| lopper_torch::read_host(tensor, <[f32]>::to_vec).unwrap()).collect();
        let given = self.exchange(Given { tensors: values, numbers: numbers.to_vec(), bytes: Vec::new() })?;
        assert!(given.iter().all(|other| other.tensors.len() == tensors.len() && other.numbers.len() == numbers.len()));
        for (index, tensor) in tensors.iter_mut().enumerate() {
            let add = |values: &mut [f32]| {
                values.copy_from_slice(&given[0].tensors[index]);
                for other in &given[1..] {
                    values.iter_mut().zip(&other.tensors[index]).for_each(|(sum, value)| *sum += value);
                }
            };
            lopper_torch::write_host(tensor, add).unwrap();
        }
        for (index, number) in numbers.iter_mut().enumerate() {
            *number = given[1..].iter().fold(given[0].numbers[index], |sum, other| sum + other.numbers[index]);
        }
        Ok(())
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(self.exchange(Given { bytes, ..Given::default() })?[0].bytes.clone())
    }

    fn all_gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        Ok(self.exchange(Given { bytes, ..Given::default() })?.iter().map(|given| given.bytes.clone()).collect())
    }

    fn barrier(&self) -> Result<()> {
        self.exchange(Given::default()).map(drop)
    }
}
