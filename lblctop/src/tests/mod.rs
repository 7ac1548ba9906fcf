// SPDX-License-Identifier: GPL-2.0

//! On files as a director had them (`proc/`), and on what no director has yet.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_collect
)]

mod answers;
mod files;
mod screen;

use crate::{
    counters,
    figures::Ink,
    ipvs,
    model::{self, View},
    screen::{draw, text, Shown},
    table,
};
use ratatui::{buffer::Buffer, layout::Rect};
use std::time::Duration;

const TABLE: &str = include_str!("../../proc/ip_vs_lblc_rs");
const STATS: &str = include_str!("../../proc/ip_vs_lblc_rs_stats");
const IPVS: &str = include_str!("../../proc/ip_vs");

fn view(stats: &str, table: &str, ipvs: &str) -> View {
    model::join(
        counters::parse(stats.as_bytes()).unwrap(),
        &table::parse(table.as_bytes()).unwrap(),
        ipvs::parse(ipvs.as_bytes()).unwrap(),
    )
}

fn recorded() -> View {
    view(STATS, TABLE, IPVS)
}

/// A service whose counters grew by `grown` in a second.
fn after(table: &str, grown: &[(&str, u64)]) -> View {
    let line = |add: bool| {
        let values = grown
            .iter()
            .map(|(name, by)| format!(" {name} {}", 1000 + by * u64::from(add)));
        format!("FWM 1{}\n", values.collect::<String>())
    };
    let mut view = view(&line(true), table, IPVS);
    let before = counters::parse(line(false).as_bytes()).unwrap();
    view.compare(Duration::from_secs(1), &before);
    view
}

fn drawn(view: &View, width: u16, height: u16, chosen: usize, scroll: usize) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    let shown = Shown {
        view,
        chosen,
        scroll,
        ink: Ink::Blocks,
        note: "every 2 s".into(),
        trouble: None,
        keys: true,
    };
    draw(&shown, &mut buffer);
    text(&buffer)
}
