//! Numbers and lists as they are read.

use crate::stats::Summary;

/// Decimals for some results: three digits of the spread of their means, but no more than two of the shortest interval; at least those
/// usual for numbers of their size, and at most 6.
pub(crate) fn decimals(results: impl IntoIterator<Item = Summary>) -> usize {
    let (mut low, mut high, mut half) = (f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY);
    for result in results {
        (low, high) = (low.min(result.mean), high.max(result.mean));
        half = result.half.filter(|half| *half > 0.0).unwrap_or(f64::INFINITY).min(half);
    }
    if low > high {
        return 3;
    }
    let usual = match low.abs().max(high.abs()) {
        size if size <= 1.5 => 3,
        size if size <= 150.0 => 1,
        _ => 0,
    };
    // Places until so many digits of a number stand behind the point.
    let digits = |of: f64, digits: i64| (digits - 1 - of.log10().floor() as i64).clamp(0, 6) as usize;
    let telling = if high > low { digits(high - low, 3) } else { 0 };
    let certain = if half.is_finite() { digits(half, 2) } else { 6 };
    usual.max(telling.min(certain))
}

/// A number with these decimals; never `-0`.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.starts_with('-') && !text.contains(|c: char| ('1'..='9').contains(&c)) {
        text[1..].to_owned()
    } else {
        text
    }
}

/// The same with a sign, for differences.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    if text.starts_with('-') || !text.contains(|c: char| ('1'..='9').contains(&c)) { text } else { format!("+{text}") }
}

/// `0.812 ± 0.013`; the mean alone where there is no interval.
pub(crate) fn interval(summary: &Summary, decimals: usize) -> String {
    with_half(fixed(summary.mean, decimals), summary, decimals)
}

/// `+0.031 ± 0.013`.
pub(crate) fn difference(summary: &Summary, decimals: usize) -> String {
    with_half(signed(summary.mean, decimals), summary, decimals)
}

fn with_half(mean: String, summary: &Summary, decimals: usize) -> String {
    match summary.half {
        Some(half) => format!("{mean}\u{a0}±\u{a0}{}", fixed(half, decimals)),
        None => mean,
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Places of an axis in words, three and more in a row as a range: `10 %, 30 % to 60 % and 90 %`.
///
/// `chosen` are places among all `labels`, ascending.
pub(crate) fn places(chosen: &[usize], labels: &[String]) -> String {
    let mut parts = Vec::new();
    let mut rest = chosen;
    while let [first, ..] = rest {
        let run = rest.iter().enumerate().take_while(|(ahead, place)| **place == first + ahead).count();
        let (taken, left) = rest.split_at(if run > 2 { run } else { 1 });
        parts.push(match taken {
            [one] => labels[*one].clone(),
            many => format!("{} to {}", labels[many[0]], labels[many[many.len() - 1]]),
        });
        rest = left;
    }
    list(&parts)
}

/// A sentence about a panel; one about the whole figure begins with a capital letter.
pub(crate) fn about(panel: &str, sentence: &str) -> String {
    if !panel.is_empty() {
        return format!("{panel}: {sentence}");
    }
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A whole number with a comma between every three digits.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    let comma = |at: usize| at > 0 && at % 3 == first;
    digits.chars().enumerate().flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit])).collect()
}

/// `1 seed`, `3 seeds`.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The first characters of a text, with an ellipsis in place of the others.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A number on an axis: shares as percentages, others in the fewest digits.
pub(crate) fn on_axis(value: f64, percent: bool) -> String {
    if percent {
        // 0.07 · 100 is 7.000000000000001.
        let rounded = (value * 1e8).round() / 1e6;
        format!("{rounded}\u{a0}%")
    } else {
        format!("{value}")
    }
}

/// `+0.012 to +0.049`.
pub(crate) fn range(low: f64, high: f64, decimals: usize) -> String {
    format!("{} to {}", signed(low, decimals), signed(high, decimals))
}

/// `p = 0.013`, `p < 0.001`.
pub(crate) fn probability(p: f64) -> String {
    let equal =
        if p < 0.001 { "<\u{a0}0.001".to_owned() } else { format!("=\u{a0}{}", fixed(p, if p < 0.1 { 3 } else { 2 })) };
    format!("p\u{a0}{equal}")
}
