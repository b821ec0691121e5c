//! Colours of heat maps: perceptually uniform, and told apart by colour-blind people.

use colorous::{CIVIDIS, Color, RED_BLUE};

/// A colour and the class of a text upon it.
pub(super) struct Fill {
    pub(super) colour: String,
    pub(super) text: &'static str,
}

/// Cividis, from dark blue (0) to yellow (1): Nuñez, Anderton and Renslow, PLOS ONE 13(7), 2018.
pub(super) fn sequential(share: f64) -> Fill {
    fill(CIVIDIS.eval_continuous(share.clamp(0.0, 1.0)))
}

/// ColorBrewer's RdBu, from red (-1) by white to blue (1).
pub(super) fn diverging(share: f64) -> Fill {
    fill(RED_BLUE.eval_continuous(0.5 + 0.5 * share.clamp(-1.0, 1.0)))
}

fn fill(colour: Color) -> Fill {
    let luminance = luminance(colour);
    // The contrast to black is (L + 0.05) / 0.05, to white 1.05 / (L + 0.05) (WCAG 2.2).
    let text = if (luminance + 0.05).powi(2) > 1.05 * 0.05 { "on-light" } else { "on-dark" };
    Fill { colour: format!("#{colour:x}"), text }
}

/// Relative luminance (WCAG 2.2).
fn luminance(colour: Color) -> f64 {
    let channel = |byte: u8| {
        let share = f64::from(byte) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(colour.r) + 0.7152 * channel(colour.g) + 0.0722 * channel(colour.b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_a_contrast_of_at_least_four_and_a_half() {
        for step in 0..=200 {
            let share = f64::from(step) / 200.0;
            for (colour, fill) in [
                (CIVIDIS.eval_continuous(share), sequential(share)),
                (RED_BLUE.eval_continuous(share), diverging(2.0 * share - 1.0)),
            ] {
                let light = luminance(colour);
                let contrast = if fill.text == "on-light" { (light + 0.05) / 0.05 } else { 1.05 / (light + 0.05) };
                assert!(contrast >= 4.5, "{contrast} at {share}");
            }
        }
    }
}
