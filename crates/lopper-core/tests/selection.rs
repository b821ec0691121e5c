//! Selection on tensors, against the one on slices.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_core::{
    Among, HostSelector, Layout, MaskSet, Order, ParameterName, PrunableWeight, Request, Scores, Selector, Sparsity,
    WeightView,
};
use proptest::prelude::*;
use std::sync::Arc;
use tch::Tensor;

/// Few distinct numbers in some cases, so that ties are the rule; all finite numbers in others.
fn tensors() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let number = prop_oneof![
        4 => prop::sample::select(vec![0.0f32, -0.0, 1.0, -1.0, 0.5, 1e-40, -1e-40]),
        1 => -1e3f32..1e3,
        1 => (any::<u32>()).prop_map(f32::from_bits).prop_filter("finite", |v| v.is_finite()),
    ];
    prop::collection::vec(prop::collection::vec(number, 0..200), 1..5)
}

/// Lends copies.
fn lend(tensors: &[&Tensor], read: &mut (dyn FnMut(&[&[f32]]) + Sync)) -> bool {
    let copies: Vec<Vec<f32>> = tensors.iter().map(|tensor| Vec::try_from(*tensor).unwrap()).collect();
    read(&copies.iter().map(Vec::as_slice).collect::<Vec<_>>());
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tensor_operations_choose_as_slices_do(values in tensors(), share in 0.0f64..=1.0, before in 0.0f64..=1.0, seed: u64, survivors: bool, magnitude: bool) {
        let named = values.iter().enumerate().map(|(i, v)| (ParameterName::new(format!("t{i}")), vec![v.len() as u64]));
        let layout = Arc::new(Layout::new(named).unwrap());
        let current = MaskSet::random(layout.clone(), Sparsity::new(share * before).unwrap(), seed);
        let among = if survivors { Among::Survivors } else { Among::All };
        let request = Request::global(Sparsity::new(share).unwrap()).among(among);
        let order = if magnitude { Order::Magnitude } else { Order::Value };
        let slices: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
        let mut expected = current.clone();
        HostSelector::new().select_as(&slices, order, &mut expected, &request).unwrap();

        let tensors: Vec<Tensor> = values.iter().map(|v| Tensor::from_slice(v)).collect();
        let view = || {
            let weights = layout.tensors().iter().zip(&tensors);
            let weights = weights.map(|(named, tensor)| PrunableWeight::new(named.name(), tensor));
            WeightView::new(&layout, weights.collect::<Result<_, _>>().unwrap())
        };
        let scores = || if magnitude { Scores::Magnitude } else {
            Scores::Values(tensors.iter().map(Tensor::shallow_clone).collect())
        };
        prop_assert_eq!(&Selector::new().select(&view().lent_by(lend), &scores(), &current, &request).unwrap(), &expected);
        // Where nobody lends them, magnitudes are ranked by tensor operations, as on a GPU.
        prop_assert_eq!(&Selector::new().select(&view(), &scores(), &current, &request).unwrap(), &expected);
    }
}
