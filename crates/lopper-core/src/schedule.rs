//! Mask schedules: when the mask is recomputed within a stage, and to which sparsity.

use crate::{Error, Result, ScheduleSpec, Sparsity, options, registry::entry};

/// When the mask is recomputed within a stage, and to which sparsity.
pub trait MaskSchedule: Send + Sync {
    /// The sparsity to re-prune to after update `update` (1 to `total`), or `None` to leave the mask.
    fn target(&self, update: u64, total: u64) -> Option<Sparsity>;
}

entry! {
    /// A mask schedule.
    #[non_exhaustive]
    MaskScheduleEntry, "mask schedule" {
        /// Builds it from its options.
        open: fn(&toml::Table) -> Result<Box<dyn MaskSchedule>>,
    }
}

options! {
    /// The same sparsity every `every` updates and at the last (PARP, Algorithm 1, lines 3 to 7).
    pub struct ConstantOptions {
        /// Updates between re-prunes: n in the paper.
        every: u64 = 50,
        /// Global sparsity of each.
        sparsity: f64 = 0.5,
        /// Sparsity after the last update, where it is another one.
        last: Option<f64> = None,
    }
}

options! {
    /// A ramp from one sparsity to another in a straight line, raised every `every` updates (PARP-P).
    pub struct RampOptions {
        /// Updates between re-prunes.
        every: u64 = 50,
        /// Sparsity at update 0.
        initial: f64 = 0.0,
        /// Sparsity at the end of the ramp, and at the end of the stage.
        sparsity: f64 = 0.5,
        /// Share of the stage after which the ramp has reached its end.
        until: f64 = 1.0,
    }
}

options! {
    /// Given sparsities after given updates.
    pub struct ListOptions {
        /// Updates, ascending.
        updates: Vec<u64> = Vec::new(),
        /// Sparsity after each.
        sparsities: Vec<f64> = Vec::new(),
    }
}

struct Constant {
    every: u64,
    sparsity: Sparsity,
    last: Sparsity,
}

impl MaskSchedule for Constant {
    fn target(&self, update: u64, total: u64) -> Option<Sparsity> {
        due(update, total, self.every).then_some(if update == total { self.last } else { self.sparsity })
    }
}

/// `sparsity + (initial - sparsity) · (1 - t)^power`: power 1 is a line, 3 is Zhu and Gupta 2017, equation 1.
struct Ramp {
    every: u64,
    initial: Sparsity,
    sparsity: Sparsity,
    until: f64,
    power: i32,
}

impl MaskSchedule for Ramp {
    fn target(&self, update: u64, total: u64) -> Option<Sparsity> {
        due(update, total, self.every).then(|| {
            let progress = (update as f64 / (self.until * total as f64)).min(1.0);
            let (from, to) = (self.initial.get(), self.sparsity.get());
            let value = to + (from - to) * (1.0 - progress).powi(self.power);
            // Rounding may leave the interval by an ulp; the ends are exact.
            Sparsity::new(value.clamp(from.min(to), from.max(to))).unwrap_or(self.sparsity)
        })
    }
}

struct List(Vec<(u64, Sparsity)>);

impl MaskSchedule for List {
    fn target(&self, update: u64, _total: u64) -> Option<Sparsity> {
        self.0.iter().find(|(at, _)| *at == update).map(|(_, sparsity)| *sparsity)
    }
}

fn due(update: u64, total: u64, every: u64) -> bool {
    update > 0 && (update.is_multiple_of(every) || update == total)
}

fn every(value: u64) -> Result<u64> {
    if value == 0 { Err(Error::invalid("every", value, "a number of updates from 1 up")) } else { Ok(value) }
}

fn ramp(options: &toml::Table, power: i32) -> Result<Box<dyn MaskSchedule>> {
    let o = RampOptions::parse(options, "mask schedule")?;
    if !(o.until > 0.0 && o.until <= 1.0) {
        return Err(Error::invalid("until", o.until, "a share of the stage above 0, up to 1"));
    }
    let (initial, sparsity) = (Sparsity::new(o.initial)?, Sparsity::new(o.sparsity)?);
    Ok(Box::new(Ramp { every: every(o.every)?, initial, sparsity, until: o.until, power }))
}

inventory::submit! {
    MaskScheduleEntry {
        name: "constant",
        summary: "the same sparsity every n updates and at the last (PARP)",
        options: ConstantOptions::DOCS,
        origin: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        open: |options| {
            let o = ConstantOptions::parse(options, "mask schedule")?;
            let last = Sparsity::new(o.last.unwrap_or(o.sparsity))?;
            Ok(Box::new(Constant { every: every(o.every)?, sparsity: Sparsity::new(o.sparsity)?, last }))
        },
    }
}

inventory::submit! {
    MaskScheduleEntry {
        name: "linear",
        summary: "a straight ramp, raised every n updates (PARP-P)",
        options: RampOptions::DOCS,
        origin: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        open: |options| ramp(options, 1),
    }
}

inventory::submit! {
    MaskScheduleEntry {
        name: "cubic",
        summary: "fast at first, then slower (Zhu and Gupta 2017)",
        options: RampOptions::DOCS,
        origin: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        open: |options| ramp(options, 3),
    }
}

inventory::submit! {
    MaskScheduleEntry {
        name: "list",
        summary: "given sparsities after given updates",
        options: ListOptions::DOCS,
        origin: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        open: |options| {
            let o = ListOptions::parse(options, "mask schedule")?;
            if o.updates.len() != o.sparsities.len() || !o.updates.is_sorted_by(|a, b| a < b) {
                return Err(Error::invalid(
                    "updates",
                    format!("{:?} with {} sparsities", o.updates, o.sparsities.len()),
                    "as many ascending updates as sparsities",
                ));
            }
            let sparsities = o.sparsities.iter().map(|s| Ok(Sparsity::new(*s)?)).collect::<Result<Vec<_>>>()?;
            Ok(Box::new(List(o.updates.into_iter().zip(sparsities).collect())))
        },
    }
}

impl ScheduleSpec {
    /// The schedule of that registered name, with these options.
    pub fn new(name: impl Into<String>, options: toml::Table) -> Self {
        Self { name: name.into(), options }
    }

    /// Updates between re-prunes, of a schedule that has the option `every`.
    pub fn every(&self) -> Option<u64> {
        self.options.get("every")?.as_integer()?.try_into().ok()
    }

    /// The same sparsity every `every` updates and at the last.
    pub fn constant(every: u64, sparsity: Sparsity) -> Self {
        Self::new("constant", ConstantOptions { every, sparsity: sparsity.get(), last: None }.to_table())
    }

    /// The same sparsity every `every` updates, and none at the last: the result is dense since the re-prune before.
    pub fn constant_until_the_last(every: u64, sparsity: Sparsity) -> Self {
        let last = Some(Sparsity::DENSE.get());
        Self::new("constant", ConstantOptions { every, sparsity: sparsity.get(), last }.to_table())
    }

    /// A straight ramp over the whole stage, raised every `every` updates.
    pub fn linear(every: u64, initial: Sparsity, sparsity: Sparsity) -> Self {
        let options = RampOptions { every, initial: initial.get(), sparsity: sparsity.get(), until: 1.0 };
        Self::new("linear", options.to_table())
    }

    /// A ramp that is steep at first and level after the share `until` of the stage (Zhu and Gupta 2017, equation 1), raised
    /// every `every` updates.
    pub fn cubic(every: u64, initial: Sparsity, sparsity: Sparsity, until: f64) -> Self {
        let options = RampOptions { every, initial: initial.get(), sparsity: sparsity.get(), until };
        Self::new("cubic", options.to_table())
    }

    /// Each of these sparsities after its update; updates ascend.
    pub fn list(points: impl IntoIterator<Item = (u64, Sparsity)>) -> Self {
        let (updates, sparsities) = points.into_iter().map(|(update, sparsity)| (update, sparsity.get())).unzip();
        Self::new("list", ListOptions { updates, sparsities }.to_table())
    }
}
