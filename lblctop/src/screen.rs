// SPDX-License-Identifier: GPL-2.0

//! The screen, at any size: the services, then the verdict, the decisions and the servers of the
//! chosen one.

use crate::{
    detail::Detail,
    figures::{percent, rate, Ink},
    filter::Filter,
    list::list,
    model::{summary, DestinationOrder, Order, Other, Service, View},
    verdict::{self, Level},
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};
use std::io::IsTerminal;

const KEYS: &str = " q quit   h help   up/down service   / find   o, s order   d destinations";

const HELP: &str = "\
 up, down, k, j    choose a service
 Home, End, g, G   the first, the last service
 o                 services by connections since they were made, or by misses now
 /                 find: only services (or destinations) with a text
 s                 servers as listed, by active connections, destinations, weight;
                   destinations by last use, last move, server
 d                 its destinations in the place of servers: the last 1000 used
 PgUp, PgDn        scroll servers or destinations
 h, ?              this; any key leaves it
 q, Esc, Ctrl-C    quit

 The verdict is of the interval that it names; NOW/s and SHARE are of the same
 interval, EVER is since the service was made.
 A server that is \"stuck\" has open connections and completed none of late,
 while others did. lblctop(8) has more.";

/// The size of a terminal that does not say how large it is.
pub(crate) const USUAL: (u16, u16) = (80, 24);

/// A view, and the settings with which it is shown.
pub(crate) struct Shown<'a> {
    pub(crate) view: &'a View,
    /// The place of the service that was chosen.
    pub(crate) chosen: usize,
    /// The number of servers above the visible ones.
    pub(crate) scroll: usize,
    /// Of the servers.
    pub(crate) order: Order,
    pub(crate) ink: Ink,
    /// At the end of the first line.
    pub(crate) note: String,
    /// The error of the last reading.
    pub(crate) trouble: Option<String>,
    /// Whether keys can be read.
    pub(crate) keys: bool,
    /// The line in which a filter is typed, in the place of the keys.
    pub(crate) prompt: Option<String>,
    /// Whether only services with a text are listed.
    pub(crate) filtered: bool,
    /// Whether destinations are shown in the place of servers, in which order, and which of them.
    pub(crate) destinations: bool,
    pub(crate) destination_order: DestinationOrder,
    pub(crate) places: &'a Filter,
    /// Whether the keys are explained instead of all else.
    pub(crate) help: bool,
}

/// The screen as plain text: as large as the terminal, or 80x24 without one.
pub(crate) fn plain(view: &View, chosen: usize) -> String {
    let terminal = std::io::stdout().is_terminal();
    let size = terminal.then(|| ratatui::crossterm::terminal::size().ok());
    // A serial console says 0 by 0.
    let known = size
        .flatten()
        .filter(|(width, height)| *width > 0 && *height > 0);
    let (width, height) = known.unwrap_or(USUAL);
    // One line is left for the prompt.
    let mut buffer = Buffer::empty(Rect::new(0, 0, width.max(20), height.max(12) - 1));
    draw(
        &Shown {
            view,
            chosen,
            scroll: 0,
            order: Order::default(),
            ink: Ink::of_locale(),
            note: String::new(),
            trouble: None,
            keys: false,
            prompt: None,
            filtered: false,
            destinations: false,
            destination_order: DestinationOrder::default(),
            places: &Filter::new(),
            help: false,
        },
        &mut buffer,
    );
    text(&buffer)
}

/// A buffer as lines, without what is empty at their ends.
pub(crate) fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let lines = buffer.content.chunks(width).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    let text: String = lines.collect();
    text.trim_end().to_owned() + "\n"
}

pub(crate) fn draw(shown: &Shown<'_>, buffer: &mut Buffer) {
    let (width, height) = (buffer.area.width, usize::from(buffer.area.height));
    let mut page = vec![title(shown)];
    let others = others(&shown.view.others, usize::from(width));
    let last = match &shown.trouble {
        Some(trouble) => Some(Line::styled(format!(" {trouble}"), bold(Color::Red))),
        None => shown.keys.then(|| match &shown.prompt {
            Some(prompt) => Line::raw(prompt.clone()),
            None => Line::styled(KEYS, dim()),
        }),
    };
    let free = height.saturating_sub(2 + usize::from(last.is_some()) + others.iter().len());
    let services = &shown.view.services;
    if shown.help {
        page.push(Line::raw(""));
        page.extend(HELP.lines().map(Line::raw));
    } else if let Some(chosen) = services.get(shown.chosen) {
        let detail = Detail::of(shown, chosen, width);
        let wanted = free.saturating_sub(detail.height());
        let rows = services.len().min(wanted.max(free / 5).max(1));
        page.extend(list(shown, width, rows));
        page.extend(others);
        page.extend(detail.lines(free.saturating_sub(rows), shown));
    } else if shown.trouble.is_none() {
        page.push(Line::raw(""));
        page.push(Line::raw(match shown.filtered {
            true => " No service has this text in its name.",
            false => " No service uses the scheduler.",
        }));
        page.extend(others);
    }
    page.truncate(height.saturating_sub(usize::from(last.is_some())));
    if let Some(last) = last {
        page.resize(height.saturating_sub(1), Line::raw(""));
        page.push(last);
    }
    for (y, line) in (buffer.area.y..buffer.area.bottom()).zip(&page) {
        buffer.set_line(buffer.area.x, y, line, width);
        buffer.set_style(Rect::new(buffer.area.x, y, width, 1), line.style);
    }
}

/// The services that are not ours, in a line.
fn others(others: &[Other], width: usize) -> Option<Line<'static>> {
    if others.is_empty() {
        return None;
    }
    // C's `lblc` first: it may be taken for ours.
    let mut sorted = others.to_vec();
    sorted.sort_by_key(|it| it.module().is_none());
    let all: Vec<_> = (1..=sorted.len().min(9))
        .rev()
        .map(|most| format!(" Not shown: {}", summary(&sorted, most)))
        .collect();
    let fits = all.iter().find(|it| it.chars().count() <= width);
    let text = fits.or(all.last()).cloned().unwrap_or_default();
    let warns = others.iter().any(|it| it.module().is_some());
    let style = if warns {
        Style::new().fg(Color::Yellow)
    } else {
        dim()
    };
    Some(Line::styled(text, style))
}

pub(crate) fn bold(color: Color) -> Style {
    Style::new().fg(color).add_modifier(Modifier::BOLD)
}

pub(crate) fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

pub(crate) fn heading(text: String) -> Line<'static> {
    Line::styled(text, Style::new().add_modifier(Modifier::REVERSED))
}

pub(crate) fn color(level: Level) -> Color {
    match level {
        Level::Unknown => Color::Reset,
        Level::Good => Color::Green,
        Level::Fair => Color::Yellow,
        Level::Bad => Color::Red,
    }
}

/// All services in a line.
fn title(shown: &Shown<'_>) -> Line<'static> {
    let view = shown.view;
    let all = |it: fn(&Service) -> u64| view.services.iter().map(it).fold(0, u64::saturating_add);
    let recent = all(|it| it.recent.as_ref().map_or(0, |it| it.calls()));
    let hits = all(|it| it.recent.as_ref().map_or(0, |it| it.get("hits")));
    let services = match view.services.len() {
        1 => "1 service".into(),
        number => format!("{number} services"),
    };
    let mut text = format!(" lblctop  {services}");
    if view.elapsed.is_some() {
        text += &format!(", {} connections/s", rate(view.rate(recent)));
    }
    if recent > 0 {
        text += &format!(", {} hits", percent(Some(hits as f64 / recent as f64)));
    }
    let mut spans = vec![Span::styled(
        text,
        Style::new().add_modifier(Modifier::BOLD),
    )];
    let bad = |it: &&Service| verdict::of(it).level == Level::Bad;
    match view.services.iter().filter(bad).count() {
        0 => {}
        bad => spans.push(Span::styled(
            format!(", {bad} in trouble"),
            bold(Color::Red),
        )),
    }
    spans.push(Span::styled(format!("  {}", shown.note), dim()));
    if view.is_old {
        let hint = "  read from /proc: the module is older than 0.2.0";
        spans.push(Span::styled(hint, dim()));
    }
    Line::from(spans)
}

/// Shortens a text to this number of columns by removing its middle: long addresses differ at their
/// ends.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.into();
    }
    let room = width.saturating_sub(1);
    let mut short: String = text.chars().take(room.div_ceil(2)).collect();
    short.push('~');
    short.extend(text.chars().skip(length - room / 2));
    short
}

/// Takes the colours out of what is drawn, and leaves it bold, dim and reversed.
pub(crate) fn without_colors(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        cell.fg = Color::Reset;
        cell.bg = Color::Reset;
    }
}
