//! Text for people: safe for the terminal, cut to a width, durations and money.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The text without control characters. Prompts come from other people and must not be able to move the cursor, change
/// colours or set the title of the terminal that shows them.
pub(crate) fn plain(text: &str) -> String {
    // The bidirectional controls would reorder what stands beside the prompt.
    let unsafe_char = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if unsafe_char(c) { ' ' } else { c }).collect()
}

/// The beginning of the text that fits into `columns` terminal columns; ends with `…` if something is missing.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let mut kept = String::new();
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > columns {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// The text, filled up with spaces to `columns` terminal columns.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

/// Seconds as people say them: `45 s`, `3 min 20 s`, `2 h 5 min`, `3 d`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range above")]
    let total = seconds.round().clamp(0.0, 1e12) as u64;
    match total {
        0..60 => format!("{total} s"),
        60..3_600 if total.is_multiple_of(60) || total >= 600 => format!("{} min", total / 60),
        60..3_600 => format!("{} min {} s", total / 60, total % 60),
        3_600..86_400 => format!("{} h {} min", total / 3_600, total % 3_600 / 60),
        _ => format!("{} d", total / 86_400),
    }
}

/// US dollars with as many decimals as the amount needs.
pub(crate) fn dollars(amount: f64) -> String {
    match amount.abs() {
        0.0 => "$0".to_owned(),
        x if x < 0.0001 => "<$0.0001".to_owned(),
        x if x < 0.1 => format!("${amount:.4}"),
        _ => format!("${amount:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_columns_and_not_characters() {
        assert_eq!(cut("a cat walks", 20), "a cat walks");
        assert_eq!(cut("a cat walks", 6), "a cat…");
        assert_eq!(cut("一只猫在走", 6), "一只…", "a Chinese character is two columns wide");
        assert_eq!(padded("一只", 6), "一只  ");
    }

    #[test]
    fn control_characters_become_spaces() {
        assert_eq!(plain("a\u{1b}]0;title\u{7}b\nc\u{202e}d"), "a ]0;title b c d");
    }

    #[test]
    fn durations_and_amounts_are_short() {
        let spoken = [0.4, 59.6, 200.0, 600.0, 7_500.0, 300_000.0].map(duration);
        assert_eq!(spoken, ["0 s", "1 min", "3 min 20 s", "10 min", "2 h 5 min", "3 d"]);
        assert_eq!([0.0, 0.000_01, 0.0123, 12.5].map(dollars), ["$0", "<$0.0001", "$0.0123", "$12.50"]);
    }
}
