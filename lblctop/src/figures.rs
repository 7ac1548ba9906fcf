// SPDX-License-Identifier: GPL-2.0

//! Numbers and bars, as they are shown.

use std::{env, time::Duration};

/// `1234`, `123k`, `45.6M`
pub(crate) fn count(number: u64) -> String {
    if number < 100_000 {
        return number.to_string();
    }
    let mut number = number as f64;
    let mut unit = "";
    for next in ["k", "M", "G", "T", "P", "E"] {
        if number < 1000.0 {
            break;
        }
        number /= 1000.0;
        unit = next;
    }
    // Cut, not rounded: 999999 is not 1000k.
    match number < 100.0 {
        true => format!("{:.1}{unit}", (number * 10.0).floor() / 10.0),
        false => format!("{:.0}{unit}", number.floor()),
    }
}

/// How often a second: `0`, `0.4`, `12`, `123k`
pub(crate) fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".into(),
        0.0..0.1 => "<0.1".into(),
        0.1..9.95 => format!("{rate:.1}"),
        _ => count(rate.round() as u64),
    }
}

/// `97.1 %`, cut, so that it is 100 only where nothing is missing; `-` of nothing.
pub(crate) fn percent(part: Option<f64>) -> String {
    match part {
        None => "-".into(),
        Some(part) if part >= 1.0 => format!("{:.0} %", part * 100.0),
        Some(part) => format!("{:.1} %", (part * 1000.0).floor() / 10.0),
    }
}

/// `8.3 kB`
pub(crate) fn bytes(number: u64) -> String {
    match number {
        0..1000 => format!("{number} B"),
        1000..1_000_000 => format!("{:.1} kB", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number as f64 / 1e6),
        _ => format!("{:.1} GB", number as f64 / 1e9),
    }
}

/// The first names of a list.
pub(crate) fn some(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [one, two, ..] => format!("{one}, {two} and {} more", names.len() - 2),
    }
}

/// `2 s`
pub(crate) fn span(interval: Duration) -> String {
    match interval.as_secs_f64() {
        long if long >= 9.95 => format!("{long:.0} s"),
        short => format!("{} s", format!("{short:.1}").trim_end_matches(".0")),
    }
}

/// Whether the terminal has colours, and they are wanted. (See no-color.org; what crossterm writes
/// does not depend on the terminal.)
pub(crate) fn has_colors() -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    let term = env::var("TERM").unwrap_or_default();
    let without = ["dumb", "vt52", "vt100", "vt102", "vt220", "vt320"];
    !unwanted && !without.contains(&term.as_str()) && !term.ends_with("-mono")
}

/// The characters of bars.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Blocks,
    Ascii,
}

impl Ink {
    /// The characters that a terminal of this locale can show.
    pub(crate) fn of_locale() -> Self {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| env::var(name).unwrap_or_default());
        let locale = set.into_iter().find(|it| !it.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        match locale.ends_with("utf-8") || locale.ends_with("utf8") {
            true => Self::Blocks,
            false => Self::Ascii,
        }
    }

    /// A bar of up to `width` columns; it is empty only for 0.
    pub(crate) fn bar(self, part: f64, width: u16) -> String {
        let part = if part.is_finite() {
            part.clamp(0.0, 1.0)
        } else {
            0.0
        };
        let full = part * f64::from(width);
        if self == Self::Ascii {
            let columns = if part > 0.0 {
                full.round().max(1.0)
            } else {
                0.0
            };
            return "#".repeat(columns as usize);
        }
        let eighths = if part > 0.0 {
            (full * 8.0).round().max(1.0)
        } else {
            0.0
        } as usize;
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8);
        "█".repeat(eighths / 8) + rest.unwrap_or(&"")
    }
}
