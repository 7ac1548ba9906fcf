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
mod filter;
mod screen;

use crate::{
    counters,
    figures::Ink,
    filter::Filter,
    ipvs,
    model::{self, DestinationOrder, Order, View},
    screen::{draw, text, Shown},
    table,
};
use ratatui::{buffer::Buffer, layout::Rect};
use std::{
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

static TABLE: LazyLock<&str> = LazyLock::new(|| file(include_str!("../../proc/ip_vs_lblc_rs")));
static STATS: LazyLock<&str> =
    LazyLock::new(|| file(include_str!("../../proc/ip_vs_lblc_rs_stats")));
static IPVS: LazyLock<&str> = LazyLock::new(|| file(include_str!("../../proc/ip_vs")));

/// A file of `/proc` as it was recorded, without the line that we added for its license.
fn file(text: &str) -> &str {
    text.split_once('\n').unwrap().1
}

fn view(stats: &str, table: &str, ipvs: &str) -> View {
    model::join(
        counters::parse(stats.as_bytes()).unwrap(),
        &table::parse(table.as_bytes(), None).unwrap(),
        virtuals(ipvs),
        |name| name == "lblc_rs",
    )
}

/// What netlink says where `/proc/net/ip_vs` says this; `FWM6` is a firewall mark of IPv6.
fn virtuals(text: &str) -> Vec<ipvs::Service> {
    let hexadecimal = |it: &str| u32::from_str_radix(it, 16).ok();
    let address = |it: &str| -> Option<SocketAddr> {
        let (address, port) = it.rsplit_once(':')?;
        let address = match address.strip_prefix('[') {
            Some(six) => IpAddr::V6(six.strip_suffix(']')?.parse().ok()?),
            None => IpAddr::V4(hexadecimal(address)?.into()),
        };
        Some((address, hexadecimal(port)? as u16).into())
    };
    let mut services: Vec<ipvs::Service> = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|it| it.parse().ok());
        match words[..] {
            ["->", it, _, _, _, _] => {
                let server = || {
                    Some(ipvs::Server {
                        address: address(it)?,
                        weight: number(3)? as i64,
                        active: number(4)?,
                        inactive: number(5)?,
                        threshold: 0,
                    })
                };
                let servers = services.last_mut().map(|it| &mut it.servers);
                servers.into_iter().for_each(|it| it.extend(server()));
            }
            [kind, it, scheduler, ..] => services.extend((|| {
                let what = match kind.starts_with("FWM") {
                    true => hexadecimal(it)?.to_string(),
                    false => address(it)?.to_string(),
                };
                let identity = format!("{kind} {what}").parse().ok()?;
                let mut service = ipvs::Service::new(identity, scheduler);
                service.persistent = words.contains(&"persistent");
                Some(service)
            })()),
            _ => {}
        }
    }
    services
}

fn recorded() -> View {
    view(&STATS, &TABLE, &IPVS)
}

/// A service whose counters grew by `grown` in a second.
fn after(table: &str, grown: &[(&str, u64)]) -> View {
    let line = |add: bool| {
        let values = grown
            .iter()
            .map(|(name, by)| format!(" {name} {}", 1000 + by * u64::from(add)));
        format!("FWM 1{}\n", values.collect::<String>())
    };
    let mut view = view(&line(true), table, &IPVS);
    let before = counters::parse(line(false).as_bytes()).unwrap();
    view.compare(Duration::from_secs(1), &before);
    view
}

const ALL: &Filter = &Filter::new();

fn shown(view: &View, chosen: usize, scroll: usize) -> Shown<'_> {
    Shown {
        view,
        chosen,
        scroll,
        order: Order::default(),
        ink: Ink::Blocks,
        note: "every 2 s".into(),
        trouble: None,
        keys: true,
        prompt: None,
        filtered: false,
        destinations: false,
        destination_order: DestinationOrder::default(),
        places: ALL,
        help: false,
    }
}

fn drawn(view: &View, width: u16, height: u16, chosen: usize, scroll: usize) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(&shown(view, chosen, scroll), &mut buffer);
    text(&buffer)
}
