//! `drift`: how much of the initial mask is in the final one.

use super::lines::{LineData, Lines};
use super::notes::Notes;
use super::{Ask, Drawn};
use crate::figure::Drift;
use crate::sample::{Scale, axes_of, collect};
use crate::words::{decimals, interval};
use std::cell::RefCell;

/// The IOU that the paper names for PARP (Figure 5).
const PAPER: f64 = 0.9999;

pub(super) fn draw(ask: Ask<'_>, drift: &Drift) -> Drawn {
    let unreadable = RefCell::new(Notes::default());
    let sample = collect(ask.selected(), &axes_of(&[&drift.x, &drift.lines], &drift.panels), |result| {
        let open = |path| ask.artefacts.mask(path);
        let start = result.start_mask.as_ref()?;
        let compared = open(&result.mask).and_then(|last| {
            let first = open(start)?;
            last.compare(&first).map_err(|error| format!("{} and {}: {error}", result.mask.display(), start.display()))
        });
        match compared {
            Ok(comparison) => {
                Some((comparison.iou, Scale { label: "IOU of final and initial mask".into(), higher_is_better: None }))
            }
            Err(problem) => {
                unreadable.borrow_mut().unreadable(problem);
                None
            }
        }
    });
    let lines = Lines {
        ask,
        x: &drift.x,
        lines: &drift.lines,
        panels: &drift.panels,
        whiskers: drift.interval,
        sample,
        reference: None,
    };
    let mut drawn = lines.draw(|lines, panel| panel.lines.iter().filter_map(|line| range(lines, line)).collect());
    drawn.notes.extend(unreadable.into_inner().sentences(""));
    drawn
}

/// From where to where the IOU goes, and from where on it is at least the paper's.
fn range(lines: &Lines<'_>, line: &LineData<'_>) -> Option<String> {
    let digits = decimals(line.at.iter().map(|(_, _, s)| *s)).max(4);
    let (x, _, first) = line.at.first()?;
    let (end, _, last) = line.at.last()?;
    let told = |x: f64, s| format!("{} at {}", interval(s, digits), lines.place(x));
    let ends = if x == end { told(*x, first) } else { format!("{} to {}", told(*x, first), told(*end, last)) };
    let below = line.at.iter().rposition(|(_, _, s)| s.mean < PAPER);
    let above = match below {
        None => format!("at least {PAPER} everywhere"),
        Some(place) => match line.at.get(place + 1) {
            Some((x, ..)) => format!("at least {PAPER} from {} on", lines.place(*x)),
            None => format!("below {PAPER} at {}", lines.place(*end)),
        },
    };
    Some(format!("the IOU of {} is {ends}; {above}.", line.name))
}
