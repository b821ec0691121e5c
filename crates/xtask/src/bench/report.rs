//! What came out: a table to read, and everything measured as JSON.

use super::hardware::Hardware;
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What is trained unless another BERT is given.
pub(crate) const MINILM: &str = "MiniLM";

/// What a ratio is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Reported beside the others.
    None,
}

impl Target {
    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
            Self::None => "–".to_owned(),
        }
    }

    fn verdict(self, ratio: f64) -> &'static str {
        match self {
            Self::AtLeast(bound) if ratio >= bound => "PASS",
            Self::AtMost(bound) if ratio <= bound => "PASS",
            Self::AtLeast(_) | Self::AtMost(_) => "MISS",
            Self::None => "",
        }
    }
}

/// One comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    what: String,
    target: Target,
    ratio: f64,
    verdict: &'static str,
    /// The two numbers behind the ratio.
    measured: String,
}

/// Everything that a run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) short: bool,
    /// The parts that were asked for, where not all were.
    pub(crate) only: Vec<&'static str>,
    pub(crate) threads: usize,
    pub(crate) device: String,
    /// The BERT that was trained.
    pub(crate) model: String,
    pub(crate) precision: String,
    pub(crate) hardware: Hardware,
    pub(crate) load_before: String,
    pub(crate) load_after: String,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) rows: Vec<Row>,
    /// How each part was measured.
    pub(crate) conditions: Vec<String>,
    pub(crate) skipped: Vec<String>,
    /// Parts that are still to be measured.
    pub(crate) missing: Vec<&'static str>,
    /// Everything measured, by part: times in seconds, memory in bytes.
    pub(crate) raw: BTreeMap<String, serde_json::Value>,
}

impl Report {
    /// Adds a comparison, `numerator` through `denominator`, and prints it.
    pub(crate) fn compare(&mut self, what: impl Into<String>, target: Target, numerator: Figure, denominator: Figure) {
        let ratio = numerator.value / denominator.value;
        let row = Row {
            what: what.into(),
            target,
            ratio,
            verdict: target.verdict(ratio),
            measured: format!("{numerator} / {denominator}"),
        };
        println!("  {}: {} ({}) {}", row.what, significant(ratio), row.measured, row.verdict);
        self.rows.push(row);
    }

    /// As [`compare`](Self::compare), for memory; says so where it is not told.
    pub(crate) fn compare_memory(&mut self, what: String, target: Target, mine: Option<u64>, theirs: Option<u64>) {
        match (mine, theirs) {
            (Some(mine), Some(theirs)) => self.compare(what, target, Figure::bytes(mine), Figure::bytes(theirs)),
            _ => self.skip(&what, &anyhow::anyhow!("nvidia-smi does not tell what a process holds")),
        }
    }

    /// Says that something was not measured, and why.
    pub(crate) fn skip(&mut self, what: &str, reason: &anyhow::Error) {
        println!("  skipped: {what}: {reason:#}");
        self.skipped.push(format!("{what}: {reason:#}"));
    }

    /// Writes `DATE-HOST.md` and `.json` into `folder`, with the GPU, the parts, the model and the precision in the name where
    /// they are not the usual ones, `-short` in that of a short run and `-partial` while parts are missing: so that none takes
    /// the place of a whole result of the same day.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        let short = if self.short { "-short" } else { "" };
        let parts: String = self.only.iter().map(|part| format!("-{part}")).collect();
        let model = if self.model == MINILM { String::new() } else { format!("-{}", self.model) };
        let precision = if self.precision == "float32" { String::new() } else { format!("-{}", self.precision) };
        let stem = format!("{}-{}{parts}{model}{precision}{short}", self.date, self.hardware.stem());
        let files = |state: &str| ["md", "json"].map(|end| folder.join(format!("{stem}{state}.{end}")));
        let (whole, partial) = (files(""), files("-partial"));
        let [table, data] = if self.missing.is_empty() { &whole } else { &partial };
        for (path, content) in [(table, self.markdown()), (data, serde_json::to_string_pretty(self)? + "\n")] {
            fs::write(path, content).with_context(|| format!("{}: cannot be written", path.display()))?;
        }
        for path in partial.iter().filter(|path| self.missing.is_empty() && path.exists()) {
            fs::remove_file(path).with_context(|| format!("{}: cannot be removed", path.display()))?;
        }
        Ok(table.clone())
    }

    fn markdown(&self) -> String {
        let Self { date, commit, threads, hardware, load_before, load_after, .. } = self;
        let Hardware { host, cpu, cores, memory_bytes, kernel, gpu } = hardware;
        let mut text = format!("# Benchmarks on {host}, {date}\n\n`cargo xtask bench`, commit {commit}\n\n");
        if self.short {
            text += "**A short run: it shows that everything works; its numbers are not results.**\n\n";
        }
        if !self.missing.is_empty() {
            text += &format!("**Stopped before it measured: {}.**\n\n", self.missing.join(", "));
        }
        text += &format!(
            "| | |\n|---|---|\n| processor | {cpu}, {cores} cores |\n| memory | {:.1} GiB |\n| kernel | {kernel} |\n\
             | threads of both sides | {threads} |\n| load average before, after | {load_before}, {load_after} |\n",
            *memory_bytes as f64 / 1024f64.powi(3)
        );
        if !gpu.is_empty() {
            text += &format!("| GPU | {} |\n| device of both sides | {} |\n", gpu.join("; "), self.device);
        }
        text += &format!("| BERT | {} |\n", self.model);
        for (name, version) in &self.versions {
            text += &format!("| {name} | {version} |\n");
        }
        text += "\n| comparison | target | ratio | measured | |\n|---|---|---|---|---|\n";
        for Row { what, target, ratio, verdict, measured } in &self.rows {
            text += &format!("| {what} | {} | {} | {measured} | {verdict} |\n", target.text(), significant(*ratio));
        }
        for (title, lines) in [("How", &self.conditions), ("Skipped", &self.skipped)] {
            if !lines.is_empty() {
                text += &format!("\n## {title}\n");
                lines.iter().for_each(|line| text += &format!("* {line}\n"));
            }
        }
        text
    }
}

/// A measured number with its unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) unit: Unit,
}

/// What a [`Figure`] counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
}

impl Figure {
    pub(crate) fn seconds(value: f64) -> Self {
        Self { value, unit: Unit::Seconds }
    }

    pub(crate) fn bytes(value: u64) -> Self {
        Self { value: value as f64, unit: Unit::Bytes }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.unit {
            Unit::Seconds if self.value < 0.1 => write!(f, "{} ms", significant(self.value * 1e3)),
            Unit::Seconds => write!(f, "{} s", significant(self.value)),
            Unit::Bytes => write!(f, "{} MiB", significant(self.value / 1024f64.powi(2))),
        }
    }
}

/// Four significant digits, and never fewer than the integer part has.
fn significant(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    format!("{value:.*}", usize::try_from(3 - digits).unwrap_or(0))
}

/// The middle of sorted values, or the mean of the two middle ones; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            date: "2026-01-02".into(),
            commit: "abc".into(),
            short: true,
            only: Vec::new(),
            threads: 2,
            device: "cpu".into(),
            model: MINILM.into(),
            precision: "float32".into(),
            hardware: Hardware::here(false),
            load_before: "0 0 0".into(),
            load_after: "1 1 1".into(),
            versions: BTreeMap::new(),
            rows: Vec::new(),
            conditions: vec!["medians".into()],
            skipped: Vec::new(),
            missing: Vec::new(),
            raw: BTreeMap::new(),
        }
    }

    #[test]
    fn verdicts_follow_from_numbers() {
        let (one, two, none) = (Figure::seconds(0.05), Figure::seconds(2.0), Figure::seconds(f64::NAN));
        let mut report = report();
        report.compare("faster", Target::AtLeast(40.0), two, one);
        report.compare("at most", Target::AtMost(0.02), one, two);
        report.compare("nothing measured", Target::AtMost(1.0), none, one);
        report.compare("beside", Target::None, Figure::bytes(3 << 20), Figure::bytes(2 << 20));
        let verdicts: Vec<_> = report.rows.iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, ["PASS", "MISS", "MISS", ""]);
        report.skip("CoLA", &anyhow::anyhow!("no data"));
        let text = report.markdown();
        assert!(text.contains("| faster | ≥ 40 | 40.00 | 2.000 s / 50.00 ms | PASS |"), "{text}");
        assert!(text.contains("| beside | – | 1.500 | 3.000 MiB / 2.000 MiB |  |"), "{text}");
        assert!(text.contains("## Skipped\n* CoLA: no data"), "{text}");
    }

    #[test]
    fn a_run_that_was_stopped_says_so() {
        let text = Report { missing: vec!["update", "cola"], ..report() }.markdown();
        assert!(text.contains("**Stopped before it measured: update, cola.**"), "{text}");
        assert!(!report().markdown().contains("Stopped"));
    }

    #[test]
    fn files_are_named_after_date_and_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = report().write(folder.path()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("2026-01-02-") && name.ends_with("-short.md"), "{name}");
        let part = Report { only: vec!["parp", "cola"], ..report() }.write(folder.path()).unwrap();
        assert!(part.to_string_lossy().ends_with("-parp-cola-short.md"), "{}", part.display());
        let half = || Report { precision: "bf16".into(), model: "base".into(), short: false, ..report() };
        let begun = Report { missing: vec!["cola"], ..half() }.write(folder.path()).unwrap();
        assert!(begun.is_file() && begun.to_string_lossy().ends_with("-base-bf16-partial.md"), "{}", begun.display());
        let half = half().write(folder.path()).unwrap();
        assert!(half.is_file() && half.to_string_lossy().ends_with("-base-bf16.md"), "{}", half.display());
        assert!(!begun.exists() && !begun.with_extension("json").exists(), "what is whole takes its place");
        let json = fs::read(path.with_extension("json")).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap()["threads"], 2);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
