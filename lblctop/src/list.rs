// SPDX-License-Identifier: GPL-2.0

//! The list of services.

use crate::{
    counters::Counters,
    figures::{count, percent, rate},
    model::{Service, View},
    screen::{color, fit, heading, Shown},
    verdict::{self, Level},
};
use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

/// The columns of the list after the name: title, width, cell.
type Column = (&'static str, usize, fn(&View, &Service) -> String);

const COLUMNS: [Column; 6] = [
    ("CONN/s", 8, |view, it| recently(view, it, |it| it.calls())),
    ("HITS", 8, |_, it| {
        percent(it.recent.as_ref().unwrap_or(&it.total).hit_ratio())
    }),
    ("SPILL/s", 9, |view, it| {
        recently(view, it, |it| it.spills())
    }),
    ("EVICT/s", 9, |view, it| {
        recently(view, it, |it| it.get("evictions"))
    }),
    ("ENTRIES", 9, |_, it| {
        it.table.as_ref().map_or("-".into(), |it| count(it.entries))
    }),
    ("OF CAP", 8, |_, it| {
        percent(it.table.as_ref().map(|it| it.filled()))
    }),
];

fn recently(view: &View, it: &Service, number: fn(&Counters) -> u64) -> String {
    it.recent
        .as_ref()
        .map_or("-".into(), |it| rate(view.rate(number(it))))
}

/// The list of services: a heading, and this number of rows around the chosen one.
pub(crate) fn list(shown: &Shown<'_>, width: u16, rows: usize) -> Vec<Line<'static>> {
    let services = &shown.view.services;
    let width = usize::from(width);
    let longest = services
        .iter()
        .map(|it| it.name.len())
        .max()
        .unwrap_or(0)
        .max(7);
    // A name that is cut to 24 still has both ends of an address.
    let least = longest.clamp(13, 24) + 1;
    let mut columns = COLUMNS.as_slice();
    while let Some((_, fewer)) = columns.split_last() {
        if total(columns) + least <= width {
            break;
        }
        columns = fewer;
    }
    let room = width.saturating_sub(total(columns) + 1);
    // A gauge takes what is left.
    let name = if longest + 6 <= room { longest } else { room };
    let gauge = (room - name).min(20).saturating_sub(1) as u16;
    let first = shown
        .chosen
        .saturating_sub(rows / 2)
        .min(services.len().saturating_sub(rows));
    let what = match services.len() {
        all if all > rows => format!("{}-{} of {all}", first + 1, first + rows),
        _ => "SERVICE".into(),
    };
    let mut heads = format!(" {:name$}", fit(&what, name));
    for (title, width, _) in columns {
        heads += &format!("{title:>width$}");
    }
    let mut lines = vec![heading(heads)];
    for (at, service) in services.iter().enumerate().skip(first).take(rows) {
        let level = verdict::of(service).level;
        let mark = match level {
            _ if at == shown.chosen => ">",
            Level::Bad => "!",
            _ => " ",
        };
        let mut spans = vec![Span::raw(format!(
            "{mark}{:name$}",
            fit(&service.name, name)
        ))];
        for (title, width, cell) in columns {
            let text = format!("{:>width$}", cell(shown.view, service));
            let style = match *title {
                "HITS" => Style::new().fg(color(level)),
                _ => Style::new(),
            };
            spans.push(Span::styled(text, style));
        }
        if columns.len() == COLUMNS.len() && gauge > 0 {
            let filled = service.table.as_ref().map_or(0.0, |it| it.filled());
            spans.push(Span::styled(
                format!(" {}", shown.ink.bar(filled, gauge)),
                Style::new().fg(Color::Blue),
            ));
        }
        let mut line = Line::from(spans);
        if at == shown.chosen {
            line = line.style(Style::new().add_modifier(Modifier::BOLD));
        }
        lines.push(line);
    }
    lines
}

fn total(columns: &[Column]) -> usize {
    columns.iter().map(|(_, width, _)| width).sum()
}
