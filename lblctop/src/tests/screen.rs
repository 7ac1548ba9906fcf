// SPDX-License-Identifier: GPL-2.0

//! What a screen of any size shows.

use super::{after, drawn, recorded, shown, view};
use crate::{
    counters::Counters,
    figures::{count, percent, rate, Ink},
    misses,
    screen::{draw, text, Shown},
    table::Destination,
};
use ratatui::{buffer::Buffer, layout::Rect};
use std::time::Duration;

#[test]
fn all_sizes_can_be_drawn() {
    let mut view = recorded();
    let before: Vec<_> = view
        .services
        .iter()
        .map(|it| (it.name.clone(), Counters::default()))
        .collect();
    for _ in 0..2 {
        for (width, height) in (0..140).flat_map(|x| [0, 1, 2, 3, 5, 8, 12, 24, 60].map(|y| (x, y)))
        {
            for chosen in [0, 4, 99] {
                let text = drawn(&view, width, height, chosen, 3);
                assert!(text.lines().count() <= usize::from(height).max(1));
                assert!(text
                    .lines()
                    .all(|line| line.chars().count() <= usize::from(width)));
            }
        }
        view.compare(Duration::from_millis(1500), &before);
    }
}

#[test]
fn eighty_by_twenty_four_answers() {
    let mut view = recorded();
    let before: Vec<_> = view
        .services
        .iter()
        .map(|it| (it.name.clone(), Counters::default()))
        .collect();
    view.compare(Duration::from_secs(2), &before);
    let text = drawn(&view, 80, 24, 0, 0);
    for part in [
        "FWM 1",
        "TCP [fd00:c::100]:80",
        "hits",
        "overloaded",
        "10.0.11.2:0",
        "weight 0",
        "q quit",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert_eq!(text.lines().count(), 24, "{text}");
}

#[test]
fn destinations_take_the_place_of_servers() {
    let mut view = recorded();
    let latest = (0..40).map(|n| Destination {
        idle: n,
        address: format!("198.18.0.{n}"),
        server: "10.0.11.2:0".into(),
        removed: n == 1,
        moved: (n == 0).then(|| ("10.0.99.2:0".into(), Duration::from_secs(3))),
    });
    view.services[0].table.as_mut().unwrap().latest = latest.collect();
    for (width, height, scroll) in [(0, 0, 2), (10, 5, 2), (80, 24, 2), (200, 60, 0)] {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        let shown = Shown {
            destinations: true,
            ..shown(&view, 0, scroll)
        };
        draw(&shown, &mut buffer);
        let text = text(&buffer);
        if height == 60 {
            assert!(
                text.contains(" 198.18.0.0  10.0.11.2:0       0 from 10.0.99.2:0 3 s ago"),
                "{text}"
            );
            assert!(
                text.contains(" 198.18.0.1  10.0.11.2:0       1 server removed"),
                "{text}"
            );
        } else if height == 24 {
            assert!(
                text.contains("MOVED      3-") && !text.contains(" 198.18.0.1 "),
                "{text}"
            );
        }
    }
}

#[test]
fn thousands_of_services_and_servers() {
    let line = |n: u32| format!("TCP 10.{}.{}.1:80 hits {n} unknown 3\n", n / 256, n % 256);
    let stats: String = (0..5000).map(line).collect();
    let servers: String = (0..3000)
        .map(|n| {
            format!(
                "  198.18.{}.{} 10.9.{}.{}:80 5\n",
                n / 256,
                n % 256,
                n / 256,
                n % 256
            )
        })
        .collect();
    let mut view = view(
        &stats,
        &format!("TCP 10.19.135.1:80 entries 3000 max 4000\n{servers}"),
        "",
    );
    assert_eq!(view.services[0].name, "TCP 10.19.135.1:80");
    assert_eq!(view.services[0].servers.len(), 3000);
    assert!(drawn(&view, 80, 24, 0, 2999).contains("of 3000"));
    assert!(drawn(&view, 80, 24, 2500, 0).contains(">TCP 10."));
    view.sort_by_misses();
    assert!(drawn(&view, 80, 24, 4999, 0).contains("5000 services"));
}

#[test]
fn all_reasons_fit_beside_their_bars() {
    for miss in &misses::ALL {
        assert!(miss.means.len() <= 31, "{}", miss.means);
        assert!(drawn(&after("", &[(miss.name, 3)]), 80, 24, 0, 0).contains(miss.means));
    }
}

#[test]
fn figures_are_short_and_never_flatter() {
    let counts = [
        0,
        99_999,
        100_000,
        999_999,
        1_000_000,
        123_456_789,
        u64::MAX,
    ]
    .map(count);
    assert_eq!(
        counts,
        ["0", "99999", "100k", "999k", "1.0M", "123M", "18.4E"]
    );
    let rates = [0.0, 0.05, 0.5, 9.94, 12.4, f64::INFINITY].map(rate);
    assert_eq!(rates, ["0", "<0.1", "0.5", "9.9", "12", "18.4E"]);
    let parts = [None, Some(0.0), Some(0.99999), Some(1.0), Some(1.25)].map(percent);
    assert_eq!(parts, ["-", "0.0 %", "99.9 %", "100 %", "125 %"]);
    assert_eq!(Ink::Blocks.bar(0.5, 9), "████▌");
    assert_eq!(Ink::Blocks.bar(0.0001, 9), "▏");
    assert_eq!(Ink::Ascii.bar(0.5, 8), "####");
    assert_eq!(
        [f64::NAN, -1.0].map(|part| Ink::Ascii.bar(part, 8)),
        ["", ""]
    );
    assert_eq!(Ink::Ascii.bar(7.0, 3), "###");
}
