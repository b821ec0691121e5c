//! What made an artefact: beside it for whoever wonders, and no part of its key.

use crate::machine::Machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Device;

/// Versions and hardware, none of which is meant to change a result. What is known to change one is part of the key: the
/// kind of device, and the versions of plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of Lopper.
    pub lopper: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// The machine's name.
    pub host: String,
    /// Where the model lay: `cpu`, `cuda:0`.
    pub device: String,
    /// The widest vectors of the CPU that libtorch's kernels use: `avx512`, `avx2` or `default`.
    pub cpu_capability: String,
    /// Threads that libtorch computed with.
    pub threads: u32,
    /// Versions of the plugins, by what they are.
    pub plugins: BTreeMap<String, String>,
}

impl Provenance {
    /// Of this process, with the model on `device`.
    pub(crate) fn here(device: Device, plugins: BTreeMap<String, String>) -> Self {
        Self {
            lopper: env!("CARGO_PKG_VERSION").into(),
            libtorch: lopper_torch::libtorch_version(),
            host: Machine::this().name().to_owned(),
            device: lopper_torch::device_name(device),
            cpu_capability: cpu_capability().into(),
            threads: tch::get_num_threads().unsigned_abs(),
            plugins,
        }
    }
}

fn cpu_capability() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx512 {
            return "avx512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "avx2";
        }
    }
    "default"
}
