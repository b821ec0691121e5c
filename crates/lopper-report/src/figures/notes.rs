//! What is to be known of means and intervals to read a figure.

use crate::sample::Seeds;
use crate::words::{count, list};
use std::collections::{BTreeMap, BTreeSet};

/// Collects, over all numbers of a figure, what its notes say.
#[derive(Debug, Default)]
pub(super) struct Notes {
    sizes: BTreeSet<usize>,
    averaged: BTreeSet<String>,
    incomplete: usize,
    unreadable: Vec<String>,
    /// How many more of them there are than are told.
    more: usize,
}

/// Masks that could not be compared and are told one by one.
const TOLD: usize = 3;

impl Notes {
    /// Takes note of one number's seeds.
    pub(super) fn add(&mut self, seeds: &Seeds) {
        if !seeds.values.is_empty() {
            self.sizes.insert(seeds.values.len());
        }
        self.averaged.extend(seeds.averaged.iter().cloned());
        self.incomplete = self.incomplete.max(seeds.incomplete);
    }

    /// Takes note of a mask that cannot be read or compared; told once.
    pub(super) fn unreadable(&mut self, problem: String) {
        if self.unreadable.contains(&problem) {
        } else if self.unreadable.len() < TOLD {
            self.unreadable.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// The sentences; `shown` says how intervals are shown, such as `Bars are`.
    pub(super) fn sentences(&self, shown: &str) -> Vec<String> {
        let mut found = Vec::new();
        match (self.sizes.first(), self.sizes.last()) {
            (_, None) => {}
            (_, Some(1)) => {
                found.push("One seed: there is no interval, and no difference can be told from chance.".into())
            }
            (Some(least), Some(most)) => {
                let seeds = if least == most { format!("{most} seeds") } else { format!("{least} to {most} seeds") };
                found.push(format!("{shown} 95 % intervals of Student's t over {seeds}."));
            }
            (None, _) => {}
        }
        if !self.averaged.is_empty() {
            let axes: Vec<String> = self.averaged.iter().cloned().collect();
            found.push(format!("Within a seed, values are means over {}.", list(&axes)));
        }
        if self.incomplete > 0 {
            let seeds = count(self.incomplete, "seed is", "seeds are");
            found.push(format!("Up to {seeds} left out of a mean because not all cells of that seed have a value."));
        }
        found.extend(self.unreadable.iter().map(|problem| format!("Left out: {problem}.")));
        if self.more > 0 {
            found.push(format!("And {} more like it.", self.more));
        }
        found
    }
}

/// Groups in the order in which their keys are first seen.
pub(super) fn grouped<K: Ord + Clone, V>(items: impl IntoIterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in items {
        let place = *places.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(value);
    }
    groups
}
