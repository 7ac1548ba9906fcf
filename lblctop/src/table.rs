// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_lblc_rs`: the table of each service. The file may be long, so it is read line
//! by line, and only the number of destinations of each server is kept; of one service, also the
//! destinations that were used last.
//!
//! ```text
//! FWM 1 entries 2 buckets 1024 max 262144 expiration 86400 bytes 8320
//!   198.18.0.7 10.0.11.2:80 12
//!   198.18.0.9 10.0.12.2:80 0 removed
//! ```

use crate::source::lines;
use liblblc::{identity::Identity, netlink::Error, tables};
use std::{
    collections::{BinaryHeap, HashMap},
    io::{self, BufRead},
    net::SocketAddr,
    time::Duration,
};

/// The table of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) entries: u64,
    pub(crate) buckets: u64,
    pub(crate) max: u64,
    /// In seconds.
    pub(crate) expiration: u64,
    pub(crate) bytes: u64,
    /// The destinations of each server.
    pub(crate) servers: HashMap<SocketAddr, Destinations>,
    /// The destinations that were used last, these first, if they are wanted.
    pub(crate) latest: Vec<Destination>,
}

/// A destination, which sorts by how long it was idle.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Destination {
    /// The number of seconds since its last use.
    pub(crate) idle: u64,
    pub(crate) address: String,
    pub(crate) server: String,
    /// The server is not in the service at present.
    pub(crate) removed: bool,
    /// The server that it had before, and for how long it has had this one, if it was seen to move.
    pub(crate) moved: Option<(String, Duration)>,
}

/// The destinations that a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Destinations {
    pub(crate) count: u64,
    /// The server is not in the service at present.
    pub(crate) removed: bool,
}

impl Table {
    /// The part of the limit that is used, from 0 to 1.
    pub(crate) fn filled(&self) -> f64 {
        self.entries as f64 / self.max.max(1) as f64
    }

    /// A table with these sizes, and nothing else.
    fn sizes(service: &tables::Service) -> Self {
        let mut table = Self::default();
        table.resize(service);
        table
    }

    /// Updates the sizes from netlink, and leaves the rest.
    pub(crate) fn resize(&mut self, service: &tables::Service) {
        self.entries = service.entries;
        self.buckets = service.buckets;
        self.max = service.max_entries;
        self.expiration = service.expiration.as_secs();
        self.bytes = service.bytes;
    }

    fn of<'a>(mut words: impl Iterator<Item = &'a str>) -> Self {
        let mut table = Self::default();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let Ok(value) = value.parse() else { continue };
            match name {
                "entries" => table.entries = value,
                "buckets" => table.buckets = value,
                "max" => table.max = value,
                "expiration" => table.expiration = value,
                "bytes" => table.bytes = value,
                _ => {}
            }
        }
        table
    }
}

/// The number of destinations of a service that are kept.
const LATEST: usize = 1000;

/// The services in the file's order, with names as they are written there, and the latest
/// destinations of the one that is called `wanted`.
pub(crate) fn parse(file: impl BufRead, wanted: Option<&str>) -> io::Result<Vec<(String, Table)>> {
    let mut latest = BinaryHeap::new();
    let mut wants = false;
    let mut services: Vec<(String, Table)> = Vec::new();
    // The servers of the current service, by their text: a million lines name only a few of them.
    let mut servers = HashMap::new();
    lines(file, |line| {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else {
            return;
        };
        if !line.starts_with(' ') {
            settle(&mut services, &mut servers);
            let name = format!("{first} {second}");
            if wants {
                keep(&mut services, &mut latest);
            }
            wants = wanted == Some(name.as_str());
            services.push((name, Table::of(words)));
        } else if let Some(idle) = words.next().filter(|it| is_number(it)) {
            let removed = words.any(|word| word == "removed");
            if wants {
                latest.push(Destination {
                    idle: idle.parse().unwrap_or(u64::MAX),
                    address: first.to_owned(),
                    server: second.to_owned(),
                    removed,
                    moved: None,
                });
                if latest.len() > LATEST {
                    latest.pop();
                }
            }
            if !servers.contains_key(second) {
                servers.insert(second.to_owned(), Destinations::default());
            }
            if let Some(it) = servers.get_mut(second) {
                it.count = it.count.saturating_add(1);
                it.removed = removed;
            }
        }
    })?;
    settle(&mut services, &mut servers);
    if wants {
        keep(&mut services, &mut latest);
    }
    Ok(services)
}

/// The tables from netlink: their sizes, and the destinations of one service, as above.
pub(crate) fn ask(
    tables: &mut tables::Tables,
    services: &[tables::Service],
    wanted: Option<&str>,
) -> Result<Vec<(String, Table)>, Error> {
    let mut found: Vec<_> = services
        .iter()
        .map(|it| (it.identity.to_string(), Table::sizes(it)))
        .collect();
    let places: HashMap<_, _> = services.iter().map(|it| it.identity).zip(0..).collect();
    let wanted = wanted.and_then(|it| it.parse::<Identity>().ok());
    let mut latest = BinaryHeap::new();
    // Most entries are of the service and the server of the one before.
    let mut place = (None, usize::MAX);
    tables.entries(None, &tables::Filter::default(), |service, entry| {
        if place.0 != Some(*service) {
            let found = places.get(service).copied().unwrap_or(usize::MAX);
            place = (Some(*service), found);
        }
        let Some((_, table)) = found.get_mut(place.1) else {
            return;
        };
        let server = table.servers.entry(entry.server).or_default();
        server.count = server.count.saturating_add(1);
        server.removed = entry.removed;
        let idle = entry.idle.as_secs();
        let is_full = latest.len() == LATEST;
        let is_late = |it: &Destination| is_full && it.idle <= idle;
        if wanted == Some(*service) && !latest.peek().is_some_and(is_late) {
            latest.push(Destination {
                idle,
                address: entry.key.to_string(),
                server: entry.server.to_string(),
                removed: entry.removed,
                moved: None,
            });
            if is_full {
                latest.pop();
            }
        }
    })?;
    let place = wanted.and_then(|it| places.get(&it));
    if let Some((_, table)) = place.and_then(|it| found.get_mut(*it)) {
        table.latest = latest.into_sorted_vec();
    }
    Ok(found)
}

/// Gives the service that was read last its destinations.
fn keep(services: &mut [(String, Table)], latest: &mut BinaryHeap<Destination>) {
    if let Some((_, table)) = services.last_mut() {
        table.latest = std::mem::take(latest).into_sorted_vec();
    }
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Gives the service that was read last its servers.
fn settle(services: &mut [(String, Table)], servers: &mut HashMap<String, Destinations>) {
    let known = servers
        .drain()
        .filter_map(|(text, it)| Some((text.parse().ok()?, it)));
    match services.last_mut() {
        Some((_, table)) => table.servers.extend(known),
        None => drop(known),
    }
}
