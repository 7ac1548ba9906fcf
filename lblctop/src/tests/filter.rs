// SPDX-License-Identifier: GPL-2.0

//! Which services and destinations are listed, and in which order.

use super::{recorded, shown, text};
use crate::{
    filter::Filter,
    model::{latest, DestinationOrder},
    screen::{draw, fit, without_colors, Shown},
    table::Destination,
};
use ratatui::{
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    layout::Rect,
    style::Color,
};
use std::time::Duration;

fn typed(keys: &str) -> Filter {
    let mut filter = Filter::new();
    filter.open();
    for it in keys.chars() {
        let code = match it {
            '\n' => KeyCode::Enter,
            '\x08' => KeyCode::Backspace,
            '\x1b' => KeyCode::Esc,
            it => KeyCode::Char(it),
        };
        filter.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    filter
}

#[test]
fn a_filter_takes_what_has_its_text() {
    assert!(typed("").takes(["TCP 192.0.2.1:80"]));
    assert!(typed("tcp").takes(["TCP 192.0.2.1:80"]));
    assert!(typed("2.1:8\n").takes(["x", "TCP 192.0.2.1:80"]));
    assert!(!typed("fwm").takes(["TCP 192.0.2.1:80"]));
    assert!(typed("tcx\x08p").takes(["TCP 192.0.2.1:80"]));
    assert!(typed("fwm\x1b").takes(["TCP 192.0.2.1:80"]));
    let (open, kept) = (typed("fwm"), typed("fwm\n"));
    assert!(open.is_open() && open.prompt().unwrap().starts_with(" /fwm_"));
    assert!(!kept.is_open() && kept.prompt().is_none());
    assert_eq!(kept.note(), ", with \"fwm\" only");
    assert_eq!(typed("fwm\x1b").note(), "");
}

#[test]
fn destinations_are_sorted_and_found_by_server() {
    let mut view = recorded();
    let latest_ones = (0..6).map(|n| Destination {
        idle: n,
        address: format!("198.18.0.{n}"),
        server: format!("10.0.1{}.2:0", n % 3 + 1),
        removed: false,
        moved: (n % 2 == 1).then(|| ("10.0.14.2:0".into(), Duration::from_secs(10 - n))),
    });
    view.services[0].table.as_mut().unwrap().latest = latest_ones.collect();
    let service = &view.services[0];
    let found = |text, order| {
        let found = latest(service, &typed(text), order);
        found.iter().map(|it| it.idle).collect::<Vec<_>>()
    };
    assert_eq!(found("", DestinationOrder::Used), [0, 1, 2, 3, 4, 5]);
    assert_eq!(found("", DestinationOrder::Moved), [5, 3, 1, 0, 2, 4]);
    assert_eq!(found("", DestinationOrder::Server), [0, 3, 1, 4, 2, 5]);
    assert_eq!(found("10.0.12.2", DestinationOrder::Used), [1, 4]);
    assert_eq!(found("10.0.14.2", DestinationOrder::Used), [1, 3, 5]);
    assert_eq!(found("198.18.0.4", DestinationOrder::Used), [4]);
}

#[test]
fn a_name_is_cut_in_its_middle() {
    let name = "TCP [2001:db8:1111:2222:3333:4444:5555:6666]:65535";
    assert_eq!(fit(name, 24), "TCP [2001:db~6666]:65535");
    assert_eq!(fit(name, 100), name);
    for width in 0..60 {
        assert!(fit(name, width).chars().count() <= width.max(1));
    }
}

#[test]
fn the_widths_of_terminals_show_long_names() {
    let mut view = recorded();
    view.services[0].name = "TCP [2001:db8:1111:2222:3333:4444:5555:6666]:65535".into();
    for width in [60, 80, 100, 132, 200, 300] {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 40));
        draw(&shown(&view, 1, 0), &mut buffer);
        let text = text(&buffer);
        let row = text.lines().find(|it| it.contains("TCP [2001:")).unwrap();
        assert!(row.contains("6]:65535 "), "{width}: {row}");
        assert!(text.contains("HITS"), "{width}: {text}");
    }
}

#[test]
fn without_colors_nothing_is_coloured() {
    let view = recorded();
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    let shown = Shown {
        ..shown(&view, 0, 0)
    };
    draw(&shown, &mut buffer);
    assert!(buffer.content.iter().any(|it| it.fg != Color::Reset));
    let before = text(&buffer);
    without_colors(&mut buffer);
    assert!(buffer
        .content
        .iter()
        .all(|it| it.fg == Color::Reset && it.bg == Color::Reset));
    assert_eq!(text(&buffer), before);
}
