//! How often the state of a run is saved, as a configuration writes it.

use lopper_session::CheckpointEvery;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a value is that cannot be read; the option's own documentation, which follows it, says what would be.
const NEITHER: &str = "neither a time nor a number of updates";
/// Units of time and their seconds.
const UNITS: [(&str, f64); 3] = [("min", 60.0), ("h", 3600.0), ("s", 1.0)];
/// The longest time that is accepted, in seconds: a year.
const LONGEST: f64 = 366.0 * 86400.0;

/// A time as text, or a number of updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Value", into = "toml::Value")]
pub struct Interval {
    written: toml::Value,
    every: CheckpointEvery,
}

impl Interval {
    /// Every `minutes` minutes.
    pub fn minutes(minutes: u32) -> Self {
        let every = CheckpointEvery::Time(Duration::from_secs(60 * u64::from(minutes)));
        Self { written: format!("{minutes}min").into(), every }
    }

    /// What a session is told.
    pub fn every(&self) -> CheckpointEvery {
        self.every
    }
}

impl From<Interval> for toml::Value {
    fn from(interval: Interval) -> Self {
        interval.written
    }
}

impl TryFrom<toml::Value> for Interval {
    type Error = String;

    fn try_from(written: toml::Value) -> Result<Self, String> {
        let every = match &written {
            toml::Value::Integer(number) => u64::try_from(*number).ok().map(updates),
            // Also a number: what `--set` gives to a key that may be text is text.
            toml::Value::String(text) => {
                text.parse().ok().map(updates).or_else(|| time(text).map(CheckpointEvery::Time))
            }
            _ => None,
        };
        every.map(|every| Self { written, every }).ok_or_else(|| NEITHER.to_owned())
    }
}

fn updates(number: u64) -> CheckpointEvery {
    if number == 0 { CheckpointEvery::OnInterrupt } else { CheckpointEvery::Updates(number) }
}

/// A positive time with its unit.
fn time(text: &str) -> Option<Duration> {
    let (number, seconds) =
        UNITS.iter().find_map(|(unit, seconds)| Some((text.trim().strip_suffix(unit)?.trim_end(), seconds)))?;
    let seconds = number.parse::<f64>().ok()? * seconds;
    (seconds > 0.0 && seconds <= LONGEST).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_updates_and_neither() {
        let every = |text: &str| {
            let value = format!("every = {text}").parse::<toml::Table>().unwrap()["every"].clone();
            Interval::try_from(value.clone()).map(|interval| {
                assert_eq!(toml::Value::from(interval.clone()), value);
                interval.every()
            })
        };
        let seconds = |seconds| Ok(CheckpointEvery::Time(Duration::from_secs(seconds)));
        assert_eq!(every("'10min'"), seconds(600));
        assert_eq!(every("'1.5 h'"), seconds(5400));
        assert_eq!(every("'30s'"), seconds(30));
        assert_eq!(every("200"), Ok(CheckpointEvery::Updates(200)));
        assert_eq!(every("0"), Ok(CheckpointEvery::OnInterrupt));
        assert_eq!(every("'200'"), Ok(CheckpointEvery::Updates(200)));
        for bad in ["'min'", "'-1min'", "'0s'", "'nanh'", "'infs'", "'soon'", "-3", "1.5", "true", "'1e30h'"] {
            assert_eq!(every(bad), Err(NEITHER.to_owned()), "{bad}");
        }
        assert_eq!(Interval::minutes(10).every(), CheckpointEvery::Time(Duration::from_secs(600)));
    }
}
