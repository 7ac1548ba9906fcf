// SPDX-License-Identifier: GPL-2.0

//! The details of the chosen service: the verdict, its decisions and its servers.

use crate::{
    figures::{bytes, count, percent, rate, Ink},
    misses::{self, Miss},
    model::{latest, DestinationOrder, Order, Server, Service, View},
    screen::{bold, color, dim, fit, heading, Shown},
    table::Destination,
    verdict::{self, Verdict},
};
use ratatui::{
    style::{Color, Style},
    text::{Line, Span},
};
use std::{collections::HashMap, time::Duration};

/// The details of the chosen service.
pub(crate) struct Detail {
    head: Vec<Line<'static>>,
    decisions: Vec<Line<'static>>,
    /// Without the heading, which depends on how many there is room for.
    servers: Vec<Line<'static>>,
    server_heading: String,
}

impl Detail {
    pub(crate) fn of(shown: &Shown<'_>, service: &Service, width: u16) -> Self {
        let (servers, server_heading) = match shown.destinations {
            true => destinations(service, shown),
            false => servers(service, shown, width),
        };
        Self {
            head: head(shown.view, service, usize::from(width)),
            decisions: decisions(shown.view, service, shown.ink, width),
            servers,
            server_heading,
        }
    }

    /// The number of lines that show everything.
    pub(crate) fn height(&self) -> usize {
        // The servers' heading is not counted yet.
        self.head.len() + self.decisions.len() + 1 + self.servers.len()
    }

    /// The most important lines, up to this number.
    pub(crate) fn lines(mut self, height: usize, shown: &Shown<'_>) -> Vec<Line<'static>> {
        // With an empty line before each part, if that hides no more than servers beyond the fifth.
        let hidden = self.servers.len().saturating_sub(5);
        let airy = height >= self.height() - hidden + 3;
        let gap = || airy.then(|| Line::raw(""));
        let gaps = 3 * usize::from(airy);
        let free = height.saturating_sub(self.head.len() + gaps + 1);
        // The heading, the hits and some reasons; the more, the more servers can still be seen.
        let decisions = free.saturating_sub(self.servers.len()).max(free / 2).max(4);
        self.decisions.truncate(decisions);
        let room = free.saturating_sub(self.decisions.len());
        let all = self.servers.len();
        let scroll = shown.scroll.min(all.saturating_sub(room));
        if all > room && room > 0 {
            let last = scroll + room;
            self.server_heading += &format!("  {}-{last} of {all}", scroll + 1);
        }
        let mut lines: Vec<_> = gap().into_iter().chain(self.head).collect();
        lines.extend(gap());
        lines.append(&mut self.decisions);
        lines.extend(gap());
        lines.push(heading(self.server_heading));
        if all == 0 {
            lines.push(Line::raw(" none"));
        }
        lines.extend(self.servers.into_iter().skip(scroll).take(room));
        lines
    }
}

/// The verdict, and the state of the table.
fn head(view: &View, service: &Service, width: usize) -> Vec<Line<'static>> {
    let Verdict {
        level,
        answer,
        advice,
    } = verdict::of(service);
    let name = format!(" {}: ", service.name);
    let mut lines = Vec::new();
    for (number, line) in wrap(&format!("{name}{answer}"), width.saturating_sub(1))
        .into_iter()
        .enumerate()
    {
        let indent = if number == 0 { " " } else { "   " };
        lines.push(Line::styled(format!("{indent}{line}"), bold(color(level))));
    }
    for line in wrap(&advice, width.saturating_sub(3)) {
        lines.push(Line::raw(format!("   {line}")));
    }
    if let Some(table) = &service.table {
        let mut text = format!(
            "   {} of {} entries, {}, {} buckets, expiration {} s",
            count(table.entries),
            count(table.max),
            bytes(table.bytes),
            count(table.buckets),
            table.expiration
        );
        for flag in &service.flags {
            text += &format!(", {flag}");
        }
        if view.table_age >= Duration::from_secs(5) {
            text += &format!(" ({} s ago)", view.table_age.as_secs());
        }
        lines.push(Line::styled(text, dim()));
    }
    let work: Vec<_> = service
        .total
        .0
        .iter()
        .filter(|(name, value)| {
            *value > 0 && name != "hits" && misses::ALL.iter().all(|it| it.name != *name)
        })
        .map(|(name, value)| match &service.recent {
            Some(recent) => format!("{name} {}/s", rate(view.rate(recent.get(name)))),
            None => format!("{name} {}", count(*value)),
        })
        .collect();
    if !work.is_empty() {
        lines.push(Line::styled(format!("   {}", work.join(", ")), dim()));
    }
    lines
}

/// Hits, and the busiest reasons for misses.
fn decisions(view: &View, service: &Service, ink: Ink, width: u16) -> Vec<Line<'static>> {
    let now = service.current();
    let calls = now.calls();
    let bar = width.saturating_sub(74).clamp(10, 40);
    let mut lines = vec![heading(format!(
        " {:11}{:>8}{:>9}{:>8} {:bar$} {}",
        "DECISION",
        "NOW/s",
        "EVER",
        "SHARE",
        "",
        "MEANS",
        bar = usize::from(bar)
    ))];
    let mut row = |name: &str, means: &str, color: Color| {
        let part = (calls > 0).then(|| now.get(name) as f64 / calls as f64);
        let recent = service
            .recent
            .as_ref()
            .map(|it| rate(view.rate(it.get(name))));
        lines.push(Line::from(vec![
            Span::raw(format!(
                " {name:11}{:>8}{:>9}{:>8} ",
                recent.unwrap_or("-".into()),
                count(service.total.get(name)),
                percent(part),
            )),
            Span::styled(
                format!(
                    "{:1$} ",
                    ink.bar(part.unwrap_or(0.0), bar),
                    usize::from(bar)
                ),
                Style::new().fg(color),
            ),
            Span::raw(means.to_owned()),
        ]));
    };
    row("hits", "went where it was before", Color::Green);
    let mut reasons = verdict::busiest(now);
    let others = verdict::busiest(&service.total).into_iter();
    let known: Vec<_> = reasons.iter().map(|it| it.name).collect();
    reasons.extend(others.filter(|it| !known.contains(&it.name)));
    for Miss { name, means } in reasons {
        row(
            name,
            means,
            if *name == "none" {
                Color::Red
            } else {
                Color::Yellow
            },
        );
    }
    lines
}

/// The servers, with bars, and their heading.
fn servers(service: &Service, shown: &Shown<'_>, width: u16) -> (Vec<Line<'static>>, String) {
    let width = usize::from(width);
    let sorted = service.servers(shown.order);
    let names: Vec<_> = sorted.iter().map(|it| it.address.to_string()).collect();
    let longest = names.iter().map(String::len).max().unwrap_or(0).max(6);
    let name = longest.min(width.saturating_sub(53).max(14));
    let bar = width.saturating_sub(name + 44).min(60) as u16;
    let most = service
        .servers
        .iter()
        .map(|it| it.destinations)
        .max()
        .unwrap_or(0)
        .max(1);
    let rows = sorted.into_iter().zip(names).map(|(server, text)| {
        let Server {
            listed,
            destinations,
            ..
        } = *server;
        let number = |it: Option<String>| it.unwrap_or("-".into());
        let state = service.state(server);
        Line::from(vec![
            Span::raw(format!(
                " {:name$}{:>8}{:>8}{:>8} ",
                fit(&text, name),
                number(listed.map(|it| it.weight.to_string())),
                number(listed.map(|it| count(it.active))),
                number(listed.map(|it| count(it.inactive))),
            )),
            Span::styled(format!("{state:10}"), Style::new().fg(Color::Yellow)),
            Span::raw(format!("{:>7} ", count(destinations))),
            Span::styled(
                shown.ink.bar(destinations as f64 / most as f64, bar),
                Style::new().fg(Color::Cyan),
            ),
        ])
    });
    let title = |text: &str, order| match shown.order == order {
        true => format!(">{text}"),
        false => text.into(),
    };
    let heading = format!(
        " {:name$}{:>8}{:>8}{:>8} {:10}{:>7} ",
        "SERVER",
        title("WEIGHT", Order::Weight),
        title("ACTIVE", Order::Active),
        "INACT",
        "",
        title("DESTS", Order::Destinations)
    );
    (rows.collect(), heading)
}

/// The destinations that were used last, and their heading.
fn destinations(service: &Service, shown: &Shown<'_>) -> (Vec<Line<'static>>, String) {
    let latest = latest(service, shown.places, shown.destination_order);
    let states: HashMap<_, _> = service
        .servers
        .iter()
        .map(|it| (it.address.to_string(), service.state(it)))
        .collect();
    let longest = |of: fn(&Destination) -> &str| latest.iter().map(|it| of(it).len()).max();
    let name = longest(|it| &it.address).unwrap_or(0).max(11);
    let server = longest(|it| &it.server).unwrap_or(0).max(7);
    let rows = latest.iter().map(|it| {
        let moved = match &it.moved {
            Some((from, ago)) => {
                // The present state of the server before, which may be the reason.
                let state = states.get(from).filter(|it| !it.is_empty());
                let state = state.map_or(String::new(), |it| format!(" ({it})"));
                format!("from {from}{state} {} s ago", ago.as_secs())
            }
            None if it.removed => "server removed".into(),
            None => String::new(),
        };
        let row = format!(" {:name$} {:server$}{:>8} ", it.address, it.server, it.idle);
        let moved = Span::styled(moved, Style::new().fg(Color::Yellow));
        Line::from(vec![Span::raw(row), moved])
    });
    let title = |text: &str, order| match shown.destination_order == order {
        true => format!(">{text}"),
        false => text.into(),
    };
    let heading = format!(
        " {:name$} {:server$}{:>8} {:9}{}",
        "DESTINATION",
        title("SERVER", DestinationOrder::Server),
        title("IDLE s", DestinationOrder::Used),
        title("MOVED", DestinationOrder::Moved),
        shown.places.note().trim_start_matches(',')
    );
    (rows.collect(), heading)
}

/// Words in lines of at most `width`.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|it| !it.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}
