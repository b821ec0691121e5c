//! Laws of masks and of selection, against a plain sort.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_mask::{
    Among, Change, Error, HostSelector, Layout, MaskOrigin, MaskSet, Order, ParameterName, Sparsity, pack_bits,
    pack_bits_into,
};
use proptest::prelude::*;
use std::sync::Arc;

fn cases(number: u32) -> ProptestConfig {
    ProptestConfig { cases: number, failure_persistence: None, ..ProptestConfig::default() }
}

fn layout(lengths: impl IntoIterator<Item = usize>) -> Arc<Layout> {
    let named = lengths.into_iter().enumerate().map(|(i, n)| (ParameterName::new(format!("t{i}")), vec![n as u64]));
    Arc::new(Layout::new(named).unwrap())
}

fn layout_of(tensors: &[Vec<f32>]) -> Arc<Layout> {
    layout(tensors.iter().map(Vec::len))
}

/// What selection must do: a stable sort of (pruned already, key), all tensors behind each other.
fn oracle(tensors: &[Vec<f32>], current: &MaskSet, pruned: u64, order: Order, among: Among) -> MaskSet {
    let mut entries: Vec<(bool, f32, usize, u64)> = Vec::new();
    for (tensor, values) in tensors.iter().enumerate() {
        for (index, value) in values.iter().enumerate() {
            let key = if order == Order::Magnitude { value.abs() } else { *value };
            let ranked = among == Among::All || current.is_kept(tensor, index as u64);
            entries.push((ranked, key, tensor, index as u64));
        }
    }
    entries.sort_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap());
    let gone: std::collections::HashSet<_> = entries[..pruned as usize].iter().map(|e| (e.2, e.3)).collect();
    MaskSet::from_fn(current.layout().clone(), |tensor, index| !gone.contains(&(tensor, index)))
}

fn slices(tensors: &[Vec<f32>]) -> Vec<&[f32]> {
    tensors.iter().map(Vec::as_slice).collect()
}

/// Few distinct numbers in some cases, so that ties are the rule; all finite numbers in others.
fn tensors() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let number = prop_oneof![
        4 => prop::sample::select(vec![0.0f32, -0.0, 1.0, -1.0, 0.5, 1e-40, -1e-40]),
        1 => -1e3f32..1e3,
        1 => (any::<u32>()).prop_map(f32::from_bits).prop_filter("finite", |v| v.is_finite()),
    ];
    let constant = (0usize..90, prop::sample::select(vec![0.0f32, -2.0])).prop_map(|(n, v)| vec![v; n]);
    prop::collection::vec(prop_oneof![3 => prop::collection::vec(number, 0..200), 1 => constant], 1..5)
}

fn with_pruned() -> impl Strategy<Value = (Vec<Vec<f32>>, u64)> {
    tensors().prop_flat_map(|t| {
        let entries = t.iter().map(Vec::len).sum::<usize>() as u64;
        (Just(t), 0..=entries)
    })
}

fn pick(layout: &Arc<Layout>, pruned: u64, seed: u64) -> MaskSet {
    let share = pruned as f64 / layout.entries().max(1) as f64;
    let mask = MaskSet::random(layout.clone(), Sparsity::new(share).unwrap(), seed);
    assert_eq!(mask.pruned(), pruned);
    mask
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn exactly_k_are_pruned_as_a_stable_sort_would((values, pruned) in with_pruned(), magnitude: bool) {
        let order = if magnitude { Order::Magnitude } else { Order::Value };
        let dense = MaskSet::dense(layout_of(&values));
        let mut mask = dense.clone();
        HostSelector::new().select_into(&slices(&values), order, &mut mask, pruned, Among::All).unwrap();
        prop_assert_eq!(mask.pruned(), pruned);
        prop_assert_eq!(mask, oracle(&values, &dense, pruned, order, Among::All));
    }

    #[test]
    fn survivors_nest((values, pruned) in with_pruned(), seed: u64, share in 0.0f64..=1.0) {
        let layout = layout_of(&values);
        let already = (pruned as f64 * share) as u64;
        let current = pick(&layout, already, seed);
        let mut mask = current.clone();
        HostSelector::new().select_into(&slices(&values), Order::Magnitude, &mut mask, pruned, Among::Survivors).unwrap();
        prop_assert_eq!(mask.pruned(), pruned);
        prop_assert!(mask.is_subset_of(&current).unwrap());
        prop_assert_eq!(mask, oracle(&values, &current, pruned, Order::Magnitude, Among::Survivors));
    }

    #[test]
    fn the_warm_path_is_the_fresh_one((values, pruned) in with_pruned(), noise in prop::collection::vec((any::<prop::sample::Index>(), -2.0f32..2.0), 0..40)) {
        let mut selector = HostSelector::new();
        let mut warm = MaskSet::dense(layout_of(&values));
        selector.select_into(&slices(&values), Order::Magnitude, &mut warm, pruned, Among::All).unwrap();
        // As PARP does: zero, train a little, rank again.
        let mut values = values;
        for (index, tensor) in values.iter_mut().enumerate() {
            warm.apply(index, tensor).unwrap();
        }
        for (place, change) in noise {
            let full: Vec<usize> = (0..values.len()).filter(|i| !values[*i].is_empty()).collect();
            if !full.is_empty() {
                let tensor = &mut values[full[place.index(full.len())]];
                let at = place.index(tensor.len());
                tensor[at] = change;
            }
        }
        let before = warm.clone();
        let change = selector.select_into(&slices(&values), Order::Magnitude, &mut warm, pruned, Among::All).unwrap();
        prop_assert_eq!(&warm, &oracle(&values, &before, pruned, Order::Magnitude, Among::All));
        prop_assert_eq!(change.revived, warm.difference(&before).unwrap().kept());
        prop_assert_eq!(change.newly_pruned, before.difference(&warm).unwrap().kept());
    }

    #[test]
    fn what_cannot_be_ranked_is_named((values, pruned) in with_pruned(), at: prop::sample::Index, bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN]), magnitude: bool) {
        let entries: Vec<(usize, usize)> = values.iter().enumerate().flat_map(|(t, v)| (0..v.len()).map(move |i| (t, i))).collect();
        prop_assume!(!entries.is_empty());
        let (tensor, index) = entries[at.index(entries.len())];
        let mut values = values;
        values[tensor][index] = bad;
        let mut mask = MaskSet::dense(layout_of(&values));
        let before = mask.clone();
        let order = if magnitude { Order::Magnitude } else { Order::Value };
        let error = HostSelector::new().select_into(&slices(&values), order, &mut mask, pruned, Among::All).unwrap_err();
        match error {
            Error::NonFinite { tensor: name, index: found, .. } => prop_assert_eq!((name, found), (format!("t{tensor}"), index as u64)),
            other => prop_assert!(false, "{}", other),
        }
        prop_assert_eq!(mask, before);
    }

    #[test]
    fn files_hold_what_was_saved((values, pruned) in with_pruned(), seed: u64, text in ".{0,20}") {
        let mask = pick(&layout_of(&values), pruned, seed);
        let origin = MaskOrigin::from([("method".to_owned(), text)]);
        let bytes = mask.to_file_bytes(&origin).unwrap();
        prop_assert_eq!(&bytes, &mask.to_file_bytes(&origin).unwrap());
        prop_assert_eq!(MaskSet::from_file_bytes(&bytes).unwrap(), (mask, origin));
    }

    #[test]
    fn a_changed_file_is_refused((values, pruned) in with_pruned(), seed: u64, at: prop::sample::Index, flip in 1u8..=255, cut: bool) {
        let mask = pick(&layout_of(&values), pruned, seed);
        let mut bytes = mask.to_file_bytes(&MaskOrigin::new()).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        // Only white space and the like in the header may change without changing the mask.
        if let Ok((read, _)) = MaskSet::from_file_bytes(&bytes) {
            prop_assert!(!cut);
            prop_assert_eq!(read, mask);
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_mask(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = MaskSet::from_file_bytes(&bytes);
    }

    #[test]
    fn overlaps_follow_their_definitions((values, pruned) in with_pruned(), other in 0.0f64..=1.0, seeds: (u64, u64)) {
        let layout = layout_of(&values);
        let (a, b) = (pick(&layout, pruned, seeds.0), MaskSet::random(layout.clone(), Sparsity::new(other).unwrap(), seeds.1));
        let both = a.intersection(&b).unwrap().kept();
        let either = a.union(&b).unwrap().kept();
        let entries = layout.entries();
        let c = a.compare(&b).unwrap();
        prop_assert_eq!(c.both, both);
        prop_assert_eq!(c.first_only, a.difference(&b).unwrap().kept());
        prop_assert_eq!(c.iou, if either == 0 { 1.0 } else { both as f64 / either as f64 });
        prop_assert_eq!(c.iou, b.compare(&a).unwrap().iou);
        prop_assert_eq!(a.compare(&a).unwrap().iou, 1.0);
        prop_assert_eq!(c.overlap, both as f64 / entries.max(1) as f64);
        prop_assert!(c.overlap <= a.kept() as f64 / entries.max(1) as f64);
        prop_assert_eq!(either + both, a.kept() + b.kept());
        let parts = a.compare_tensors(&b).unwrap();
        prop_assert_eq!(parts.iter().map(|(_, c)| c.both).sum::<u64>(), both);
        let again = MaskSet::from_fn(layout.clone(), |t, i| a.to_bytes(t)[i as usize] == 1);
        prop_assert_eq!(&again, &a);
        let packed: Vec<_> = (0..layout.tensors().len()).map(|t| pack_bits(&a.to_bytes(t))).collect();
        // Whatever was there before, and however much of it.
        let mut again = vec![u64::MAX; 2];
        for (tensor, words) in packed.iter().enumerate() {
            pack_bits_into(&a.to_bytes(tensor), &mut again);
            prop_assert_eq!(&again, words);
        }
        prop_assert_eq!(MaskSet::from_words(layout, packed).unwrap(), a);
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn the_number_of_threads_changes_nothing((values, pruned) in with_pruned(), repeat in 1usize..400, threads in 1usize..6) {
        // Repeated, so that several chunks of one tensor are at work.
        let values: Vec<Vec<f32>> = values.iter().map(|v| v.repeat(repeat)).collect();
        let pruned = pruned * repeat as u64;
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut mask = MaskSet::dense(layout_of(&values));
                HostSelector::new().select_into(&slices(&values), Order::Magnitude, &mut mask, pruned, Among::All).unwrap();
                mask
            })
        };
        prop_assert_eq!(run(1), run(threads));
    }
}

/// A mask file of some 100 KiB, with a bit flipped in and a cut at every 4 KiB, and near both ends.
#[test]
fn damage_anywhere_in_a_mask_file_is_a_typed_error() {
    let mask = MaskSet::random(layout([500_000, 300_001]), Sparsity::new(0.7).unwrap(), 5);
    let whole = mask.to_file_bytes(&MaskOrigin::from([("method".to_owned(), "mpi".to_owned())])).unwrap();
    let every_4_kib: Vec<usize> = (0..whole.len()).step_by(4096).collect();
    let near_the_ends = [1, 7, 8, 9, 100, whole.len() - 2, whole.len() - 1];
    let [mut flips, mut cuts] = [0; 2];
    for place in every_4_kib.iter().copied().chain(near_the_ends) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place / 4096 % 8);
        for (damaged, count) in [(&flipped[..], &mut flips), (&whole[..place], &mut cuts)] {
            match MaskSet::from_file_bytes(damaged) {
                Err(Error::Format { reason, .. }) => assert!(!reason.is_empty()),
                other => panic!("damaged at byte {place}: {:?}", other.map(|(mask, _)| mask.pruned())),
            }
            *count += 1;
        }
    }
    println!("{flips} flipped bits and {cuts} cuts in a mask file of {} bytes, each refused", whole.len());
    assert!((100_000..110_000).contains(&whole.len()), "{}", whole.len());
    assert_eq!((every_4_kib.len(), flips, cuts), (25, 32, 32));
    assert_eq!(MaskSet::from_file_bytes(&whole).unwrap().0, mask);
}

/// Tensors that are large against the bracket of the warm path, moved in small steps: rounding noise, weight decay, a
/// few entries that jump, zeros where the mask prunes.
#[test]
fn the_warm_path_follows_a_training() {
    let mut state = 3u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    for order in [Order::Magnitude, Order::Value] {
        let mut values: Vec<Vec<f32>> =
            [300_000, 70_001].map(|n| (0..n).map(|_| uniform() + uniform()).collect()).into();
        let mut selector = HostSelector::new();
        let mut warm = MaskSet::dense(layout_of(&values));
        for step in 0..12usize {
            let before = warm.clone();
            let change = selector.select_into(&slices(&values), order, &mut warm, 250_000, Among::All).unwrap();
            let mut fresh = before.clone();
            let as_fresh =
                HostSelector::new().select_into(&slices(&values), order, &mut fresh, 250_000, Among::All).unwrap();
            assert!(warm == fresh, "step {step}");
            assert_eq!(change, as_fresh);
            assert_eq!(change, Change::between(&before, &warm).unwrap());
            let mut parts: Vec<&mut [f32]> = values.iter_mut().map(Vec::as_mut_slice).collect();
            warm.apply_all(&mut parts).unwrap();
            for jump in 0..step * 20 {
                parts[jump % 2][jump * 997 % 70_001] += 2.0 * uniform();
            }
            for value in parts.into_iter().flatten() {
                *value = *value * 0.9999 + 1e-4 * uniform();
            }
        }
        values[1][70_000] = f32::NAN;
        let before = warm.clone();
        let error = selector.select_into(&slices(&values), order, &mut warm, 250_000, Among::All).unwrap_err();
        assert!(error.to_string().starts_with("t1[70000] is NaN"), "{error}");
        assert_eq!(warm, before);
    }
}

#[test]
fn uniform_masks_meet_as_chance_has_it() {
    let layout = layout([700_000, 300_000]);
    for (sparsity, iou) in [(0.1, 0.818), (0.5, 0.333), (0.9, 0.053)] {
        let sparsity = Sparsity::new(sparsity).unwrap();
        let (a, b) = (MaskSet::random(layout.clone(), sparsity, 1), MaskSet::random(layout.clone(), sparsity, 2));
        assert_eq!(a.pruned(), sparsity.pruned_of(1_000_000));
        assert_eq!(a, MaskSet::random(layout.clone(), sparsity, 1));
        assert!((a.compare(&b).unwrap().iou - iou).abs() < 0.003, "{}", a.compare(&b).unwrap().iou);
        let first = a.tensors().next().unwrap().3.get();
        assert!((first - sparsity.get()).abs() < 0.005, "{first}: tensors are pruned alike");
    }
}

#[test]
fn survivors_cannot_come_back() {
    let layout = layout([10]);
    let mut mask = MaskSet::random(layout.clone(), Sparsity::new(0.5).unwrap(), 3);
    let values = [1.0f32; 10];
    let error =
        HostSelector::new().select_into(&[&values], Order::Magnitude, &mut mask, 4, Among::Survivors).unwrap_err();
    assert!(matches!(error, Error::InvalidValue { .. }), "{error}");
}

#[test]
fn masks_of_other_tensors_are_told_apart() {
    let (a, b) = (MaskSet::dense(layout([10, 3])), MaskSet::dense(layout([10, 4, 2])));
    let message = a.compare(&b).unwrap_err().to_string();
    assert!(message.contains("`t1` has shape [3] in the first and [4] in the second"), "{message}");
    assert!(message.contains("`t2` is only in the second"), "{message}");
}

#[test]
fn a_mask_can_be_put_into_another_order() {
    let named = |names: [&str; 2]| {
        let shape = |name: &str| vec![if name == "a" { 70 } else { 3 }];
        Arc::new(Layout::new(names.map(|name| (ParameterName::new(name), shape(name)))).unwrap())
    };
    let mask = MaskSet::from_fn(named(["a", "b"]), |tensor, index| (tensor as u64 + index).is_multiple_of(2));
    let turned = mask.clone().in_order_of(&named(["b", "a"])).unwrap();
    assert_eq!((turned.to_bytes(0), turned.to_bytes(1)), (mask.to_bytes(1), mask.to_bytes(0)));
    assert_eq!(turned.in_order_of(mask.layout()).unwrap(), mask);
    assert!(mask.in_order_of(&layout([70, 3])).is_err());
}

#[test]
fn applying_writes_positive_zeros() {
    let mask = MaskSet::from_fn(layout([3]), |_, index| index == 1);
    let mut values = [f32::NAN, -2.0, -1.0];
    mask.apply(0, &mut values).unwrap();
    assert_eq!(values.map(f32::to_bits), [0.0f32, -2.0, 0.0].map(f32::to_bits));
    assert!(mask.apply(0, &mut [0.0; 4]).is_err());
    assert!(mask.apply(1, &mut []).is_err());
    assert_eq!(mask.nonzero_pruned(0, &[f32::NAN, 1.0, -0.0]).unwrap(), 1);
    let mut values = [-1.0f32; 3];
    assert!(mask.apply_all(&mut [&mut values, &mut []]).is_err());
    mask.apply_all(&mut [&mut values]).unwrap();
    assert_eq!(values.map(f32::to_bits), [0.0f32, -1.0, 0.0].map(f32::to_bits));
    // One that keeps everything may be left out.
    let odd = [f32::from_bits(0xffc0_0123), -0.0, f32::NEG_INFINITY];
    let mut values = odd;
    MaskSet::dense(layout([3])).apply(0, &mut values).unwrap();
    assert_eq!(values.map(f32::to_bits), odd.map(f32::to_bits));
}

/// The prunable tensors of a transformer of `blocks` blocks: four square projections and two of the feed-forward layer.
fn transformer(blocks: usize, width: u64, inner: u64, biases: bool) -> Layout {
    let block = |block: usize| {
        let square = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| (name, vec![width, width]));
        let feed_forward = [("fc1", vec![inner, width]), ("fc2", vec![width, inner])];
        let matrices = square.into_iter().chain(feed_forward);
        matrices.flat_map(move |(name, shape)| {
            let bias = biases.then(|| (ParameterName::new(format!("layers.{block}.{name}.bias")), vec![shape[0]]));
            [(ParameterName::new(format!("layers.{block}.{name}.weight")), shape)].into_iter().chain(bias)
        })
    };
    Layout::new((0..blocks).flat_map(block)).unwrap()
}

#[test]
fn layouts_count_the_entries_of_the_models_of_the_paper() {
    assert_eq!(transformer(12, 768, 3072, false).entries(), 84_934_656);
    assert_eq!(transformer(12, 768, 3072, true).entries(), 84_934_656 + 82_944);
    assert_eq!(transformer(24, 1024, 4096, false).entries(), 301_989_888);
    let large = Arc::new(transformer(24, 1024, 4096, true));
    assert_eq!(large.entries(), 301_989_888 + 221_184);
    let mask = MaskSet::dense(large);
    assert_eq!((mask.kept(), mask.pruned()), (302_211_072, 0));
    // BERT adds its pooler and prunes no biases.
    assert_eq!(transformer(12, 768, 3072, false).entries() + 768 * 768, 85_524_480);
}
