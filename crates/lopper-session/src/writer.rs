//! Who wrote a checkpoint, and for which stage.

use crate::PlannedStage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a checkpoint was written for and by, for whoever finds it in the way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Writer {
    /// The stage's name.
    pub(crate) stage: String,
    /// Updates that the stage consists of.
    pub(crate) updates: u64,
    /// The stage's plan key.
    pub(crate) plan: String,
    /// The stage's plan key, but for `versions`.
    versionless: String,
    /// Versions and the kind of device, each with its name.
    versions: BTreeMap<String, String>,
}

impl Writer {
    pub(crate) fn of(planned: &PlannedStage, versions: &BTreeMap<String, String>) -> Self {
        Self {
            stage: planned.stage.name.clone(),
            updates: planned.stage.updates,
            plan: planned.key.clone(),
            versionless: planned.versionless.clone(),
            versions: versions.clone(),
        }
    }

    /// How these versions differ from `now`, if the stage is one of `plan` but for them.
    pub(crate) fn differences(&self, plan: &[PlannedStage], now: &BTreeMap<String, String>) -> Option<String> {
        plan.iter().find(|planned| planned.versionless == self.versionless)?;
        let changed = self.versions.iter().filter_map(|(name, then)| {
            let now = now.get(name).filter(|now| *now != then)?;
            Some(format!("{name} was {then} and is {now}"))
        });
        let changed: Vec<String> = changed.collect();
        (!changed.is_empty()).then(|| changed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lopper_core::{Sparsity, Stage};

    #[test]
    fn an_upgrade_and_another_device_are_told_from_another_configuration() {
        let planned = |versionless: &str| PlannedStage {
            stage: Stage::dense(&lopper_testkit::run_spec(Sparsity::DENSE, 9)),
            key: "key".into(),
            training_key: None,
            snapshots: Vec::new(),
            done: false,
            hands_on: false,
            versionless: versionless.into(),
            loaded: None,
        };
        let versions = |lopper: &str, device: &str| -> BTreeMap<String, String> {
            let pairs = [("Lopper", lopper), ("libtorch", "2.11.0"), ("device", device)];
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        };
        let writer = Writer::of(&planned("a"), &versions("0.0.9", "cuda"));
        let plan = [planned("b"), planned("a")];
        let differences = |now| writer.differences(&plan, &now);
        let both = "Lopper was 0.0.9 and is 0.1.0, device was cuda and is cpu";
        assert_eq!(differences(versions("0.1.0", "cpu")).as_deref(), Some(both));
        assert_eq!(differences(versions("0.0.9", "cpu")).as_deref(), Some("device was cuda and is cpu"));
        // Something is different and it is none of these, or the stage itself is.
        assert_eq!(differences(versions("0.0.9", "cuda")), None);
        assert_eq!(writer.differences(&plan[..1], &versions("0.1.0", "cpu")), None);
        assert_eq!(Writer::default().differences(&plan, &versions("0.1.0", "cpu")), None);
    }
}
