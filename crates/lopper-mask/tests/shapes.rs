//! Laws of allocations and patterns, each against a sort.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_mask::{
    Allocation, Among, Error, HostSelector, Layout, MaskSet, Order, ParameterName, Pattern, Request, Sparsity,
};
use proptest::prelude::*;
use std::sync::Arc;

fn layout(shapes: &[Vec<u64>]) -> Arc<Layout> {
    let named = shapes.iter().enumerate().map(|(i, s)| (ParameterName::new(format!("t{i}")), s.clone()));
    Arc::new(Layout::new(named).unwrap())
}

fn request(sparsity: f64) -> Request {
    Request::global(Sparsity::new(sparsity).unwrap())
}

/// The mask of these magnitudes.
fn select(layout: &Arc<Layout>, values: &[Vec<f32>], current: &MaskSet, request: &Request) -> Result<MaskSet, Error> {
    assert_eq!(layout, current.layout());
    let slices: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
    let mut mask = current.clone();
    HostSelector::new().select_as(&slices, Order::Magnitude, &mut mask, request)?;
    Ok(mask)
}

fn pruned(mask: &MaskSet) -> Vec<u64> {
    mask.tensors().map(|(_, entries, kept, _)| entries - kept).collect()
}

fn values(entries: u64) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![prop::sample::select(vec![0.0f32, -0.0, 1.0, -1.0]), -2.0f32..2.0];
    prop::collection::vec(value, entries as usize)
}

/// Layouts of all kinds with magnitudes.
fn any_layout() -> impl Strategy<Value = (Vec<Vec<u64>>, Vec<Vec<f32>>)> {
    let shape = prop_oneof![Just(vec![]), prop::collection::vec(0u64..30, 1), prop::collection::vec(0u64..9, 2..4)];
    prop::collection::vec(shape, 1..6).prop_flat_map(|shapes| {
        let values: Vec<_> = shapes.iter().map(|shape| values(shape.iter().product())).collect();
        (Just(shapes), values)
    })
}

/// Matrices whose sides are multiples of 4.
fn divisible() -> impl Strategy<Value = (Vec<Vec<u64>>, Vec<Vec<f32>>)> {
    prop::collection::vec(prop::collection::vec((1u64..5).prop_map(|n| 4 * n), 2..4), 1..4).prop_flat_map(|shapes| {
        let values: Vec<_> = shapes.iter().map(|shape| values(shape.iter().product())).collect();
        (Just(shapes), values)
    })
}

/// The counts of a stable sort of one tensor: which entries go.
fn smallest(values: &[f32], count: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs()));
    order.truncate(count as usize);
    order
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shares_are_whole_numbers_that_add_up((shapes, values) in any_layout(), sparsity in 0.0..=1.0f64, kind in 0..3usize, given in prop::collection::vec(0.01..2.0f64, 6)) {
        let layout = layout(&shapes);
        let shares = layout.tensors().iter().zip(&given).map(|(t, share)| (t.name().clone(), *share)).collect();
        let allocation = [Allocation::Uniform, Allocation::Erk, Allocation::Given(shares)][kind].clone();
        let request = request(sparsity).allocated(allocation);
        let quota = request.quota(&layout).unwrap();
        let counts = quota.tensors().unwrap();
        prop_assert_eq!(counts.iter().sum::<u64>(), Sparsity::new(sparsity).unwrap().pruned_of(layout.entries()));
        for (count, tensor) in counts.iter().zip(layout.tensors()) {
            prop_assert!(*count <= tensor.entries());
            // Next to the real share, of the sparsity that the whole can have.
            if kind == 0 {
                let share = quota.total() as f64 * tensor.entries() as f64 / layout.entries().max(1) as f64;
                prop_assert!((*count as f64 - share).abs() < 1.0 + 1e-6, "{} for a share of {}", count, share);
            }
        }
        let dense = MaskSet::dense(layout.clone());
        let mask = select(&layout, &values, &dense, &request).unwrap();
        request.prove(&mask).unwrap();
        prop_assert_eq!(&pruned(&mask)[..], counts);
        for (tensor, (values, count)) in values.iter().zip(counts).enumerate() {
            for gone in smallest(values, *count) {
                prop_assert!(!mask.is_kept(tensor, gone as u64), "t{}[{}] stays", tensor, gone);
            }
        }
    }

    #[test]
    fn survivors_of_a_uniform_mask_nest((shapes, values) in any_layout(), less in 0.0..=1.0f64, more in 0.0..=1.0f64) {
        let layout = layout(&shapes);
        let (less, more) = (less.min(more), less.max(more));
        let uniform = |s| request(s).allocated(Allocation::Uniform);
        let before = select(&layout, &values, &MaskSet::dense(layout.clone()), &uniform(less)).unwrap();
        let doubled: Vec<Vec<f32>> = values.iter().map(|v| v.iter().map(|w| 1.0 - w).collect()).collect();
        match select(&layout, &doubled, &before, &uniform(more).among(Among::Survivors)) {
            Ok(mask) => {
                prop_assert!(mask.is_subset_of(&before).unwrap());
                uniform(more).prove(&mask).unwrap();
            }
            // Largest remainders may go to another tensor at the higher sparsity.
            Err(error) => prop_assert!(error.to_string().contains("pruned entries already"), "{}", error),
        }
    }

    #[test]
    fn n_of_m_keeps_the_largest_of_every_group((shapes, values) in divisible(), n in 0u64..=4, seed: u64) {
        let layout = layout(&shapes);
        let pattern = Pattern::NofM { n, m: 4 };
        let request = request((4 - n) as f64 / 4.0).in_pattern(pattern);
        let mask = select(&layout, &values, &MaskSet::random(layout.clone(), Sparsity::new(0.3).unwrap(), seed), &request).unwrap();
        request.prove(&mask).unwrap();
        for (tensor, values) in values.iter().enumerate() {
            for (group, values) in values.chunks(4).enumerate() {
                for gone in smallest(values, 4 - n) {
                    prop_assert!(!mask.is_kept(tensor, (4 * group + gone) as u64), "t{}, group {}", tensor, group);
                }
            }
        }
    }

    #[test]
    fn blocks_go_whole_by_their_mean((shapes, values) in divisible(), sparsity in 0.0..=1.0f64, uniform: bool) {
        let layout = layout(&shapes);
        let allocation = if uniform { Allocation::Uniform } else { Allocation::Global };
        let request = request(sparsity).allocated(allocation).in_pattern(Pattern::Blocks { rows: 4, columns: 2 });
        let mask = select(&layout, &values, &MaskSet::dense(layout.clone()), &request).unwrap();
        request.prove(&mask).unwrap();
        prop_assert_eq!(mask.pruned(), 8 * Sparsity::new(sparsity).unwrap().pruned_of(layout.entries() / 8));
        if !uniform {
            let mut kept = f64::INFINITY;
            let mut gone = 0f64;
            for (tensor, t) in layout.tensors().iter().enumerate() {
                let width = *t.shape().last().unwrap();
                for first in (0..t.entries()).filter(|at| at / width % 4 == 0 && at % width % 2 == 0) {
                    let entry = |row: u64, column: u64| values[tensor][(first + row * width + column) as usize].abs() as f64;
                    let mean = (0..4).flat_map(|row| (0..2).map(move |column| entry(row, column))).sum::<f64>() / 8.0;
                    if mask.is_kept(tensor, first) { kept = kept.min(mean) } else { gone = gone.max(mean) }
                }
            }
            prop_assert!(gone <= kept + 1e-6, "a block of mean {} goes, and one of {} stays", gone, kept);
        }
    }
}

/// The example that RigL's code and its paper have: kept shares in proportion to (in + out) / (in · out), and a tensor that
/// would have to be more than dense stays whole.
#[test]
fn erdos_renyi_keeps_small_tensors_whole() {
    let layout = layout(&[vec![1000, 1000], vec![1000, 100], vec![10, 10]]);
    let counts = |sparsity| request(sparsity).allocated(Allocation::Erk).quota(&layout).unwrap();
    let quota = counts(0.9);
    let kept: Vec<u64> =
        layout.tensors().iter().zip(quota.tensors().unwrap()).map(|(t, pruned)| t.entries() - pruned).collect();
    // By hand: 110,010 are kept; 10 × 10 is whole, and 109,910 are shared as 2000 to 1100.
    assert_eq!(kept, [70_910, 39_000, 100]);
    let dense = counts(0.0);
    assert_eq!(dense.tensors().unwrap(), [0, 0, 0]);
    assert_eq!(counts(1.0).tensors().unwrap(), [1_000_000, 100_000, 100]);
}

#[test]
fn given_shares_are_met_as_they_stand_where_they_add_up() {
    let layout = layout(&[vec![10, 10], vec![100]]);
    let given = |a: f64, b: f64| Allocation::Given([("t0".into(), a), ("t1".into(), b)].into());
    let counts = |sparsity, allocation| request(sparsity).allocated(allocation).quota(&layout);
    assert_eq!(counts(0.5, given(0.9, 0.1)).unwrap().tensors().unwrap(), [10, 90]);
    assert_eq!(counts(0.75, given(0.9, 0.1)).unwrap().tensors().unwrap(), [55, 95], "in proportion");
    assert_eq!(counts(0.2, given(0.9, 0.1)).unwrap().tensors().unwrap(), [0, 40], "one is whole");
    assert_eq!(counts(0.5, given(1.0, 0.0)).unwrap().tensors().unwrap(), [0, 100]);
    let error = counts(0.2, given(1.0, 0.0)).unwrap_err().to_string();
    assert!(
        error.contains("allocation = given") && error.contains("keep 160") && error.contains("have 100"),
        "{error}"
    );
    let shares = [("t0".into(), -1.0), ("t2".into(), 0.5)];
    let error = counts(0.5, Allocation::Given(shares.into())).unwrap_err().to_string();
    for problem in ["`t0` is given -1, which is no share", "`t1` is given no share", "`t2` is not prunable"] {
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn what_a_layout_does_not_permit_is_refused_with_every_tensor() {
    let odd = layout(&[vec![4, 6], vec![8], vec![3, 8], vec![]]);
    let refused = |request: Request, layout: &Layout| request.quota(layout).unwrap_err().to_string();
    let error = refused(request(0.5).in_pattern(Pattern::NofM { n: 2, m: 4 }), &odd);
    assert!(error.contains("`t0` of shape [4, 6] has 6 entries") && error.contains("`t3`"), "{error}");
    assert!(error.starts_with("the pattern 2 of 4: 2 problems"), "{error}");
    let error = refused(request(0.5).in_pattern(Pattern::Blocks { rows: 4, columns: 2 }), &odd);
    assert!(["`t1`", "`t2`", "`t3`"].iter().all(|name| error.contains(name)) && !error.contains("`t0`"), "{error}");
    let even = layout(&[vec![4, 8], vec![8, 4]]);
    let pattern = Pattern::NofM { n: 2, m: 4 };
    let error = refused(request(0.7).in_pattern(pattern), &even);
    assert!(error.contains("sparsity = 0.7 is not accepted: 0.5"), "{error}");
    let error = refused(request(0.5).in_pattern(pattern).allocated(Allocation::Erk), &even);
    assert!(error.contains("allocation = erk is not accepted"), "{error}");
    for pattern in [Pattern::NofM { n: 3, m: 2 }, Pattern::NofM { n: 0, m: 0 }, Pattern::Blocks { rows: 0, columns: 1 }]
    {
        let error = refused(request(0.5).in_pattern(pattern), &even);
        assert!(error.starts_with("pattern = "), "{error}");
    }
}

#[test]
fn survivors_that_are_too_few_are_named() {
    let layout = layout(&[vec![4, 4], vec![4, 4]]);
    let values = vec![vec![1.0f32; 16]; 2];
    let current = MaskSet::from_fn(layout.clone(), |tensor, index| tensor == 1 || index >= 12);
    let among = |request: Request| select(&layout, &values, &current, &request.among(Among::Survivors)).unwrap_err();
    let error = among(request(0.5).allocated(Allocation::Uniform)).to_string();
    assert!(error.contains("`t0` has 12 pruned entries already, and its share is 8"), "{error}");
    let error = among(request(0.5).in_pattern(Pattern::NofM { n: 2, m: 4 })).to_string();
    assert!(error.contains("`t0` lacks 6 survivors to keep 2 of every 4"), "{error}");
    let error = among(request(0.5).in_pattern(Pattern::Blocks { rows: 4, columns: 2 })).to_string();
    assert!(error.contains("`t0` has 2 groups that are not"), "{error}");
}

#[test]
fn masks_that_are_not_what_was_asked_for_are_refused() {
    let layout = layout(&[vec![2, 4], vec![2, 4]]);
    let left = MaskSet::from_fn(layout.clone(), |tensor, _| tensor == 0);
    assert!(request(0.5).prove(&left).is_ok());
    let error = request(0.25).prove(&left).unwrap_err().to_string();
    assert_eq!(error, "a mask prunes 8 entries; sparsity 0.25 is exactly 4");
    let error = request(0.5).allocated(Allocation::Uniform).prove(&left).unwrap_err().to_string();
    assert!(error.contains("`t0` has 0 pruned entries, its share is 4"), "{error}");
    let error = request(0.5).in_pattern(Pattern::NofM { n: 2, m: 4 }).prove(&left).unwrap_err().to_string();
    assert!(error.contains("`t1` has 8 pruned entries, its share is 4"), "{error}");
    let rows = MaskSet::from_fn(layout.clone(), |_, index| index % 8 < 4);
    let error = request(0.5).in_pattern(Pattern::NofM { n: 2, m: 4 }).prove(&rows).unwrap_err().to_string();
    assert!(error.contains("`t0` has 2 groups that are not"), "{error}");
}
