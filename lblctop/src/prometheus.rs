// SPDX-License-Identifier: GPL-2.0

//! Everything in Prometheus' text format, for the textfile collector of its node exporter.

use crate::{
    ipvs, misses,
    model::{Server, Service, View},
    table::Table,
    verdict::{self, Level},
};
use std::{
    fmt::{Display, Write},
    time::{SystemTime, UNIX_EPOCH},
};

/// The page if the scheduler could not be read.
pub(crate) fn down() -> String {
    Page::new(false).0
}

pub(crate) fn text(view: &View) -> String {
    let mut page = Page::new(true);
    let all = &view.services;
    page.family("lblc_services", "gauge", "Services that the scheduler has.");
    page.sample("lblc_services", &[], all.len());

    let name = "lblc_other_services";
    page.family(name, "gauge", "Services of other schedulers, by scheduler.");
    let mut schedulers: Vec<_> = view.others.iter().map(|it| it.scheduler.as_str()).collect();
    schedulers.sort_unstable();
    for same in schedulers.chunk_by(|a, b| a == b) {
        if let Some(scheduler) = same.first() {
            page.sample(name, &[("scheduler", scheduler)], same.len());
        }
    }
    let name = "lblc_interval_seconds";
    page.family(
        name,
        "gauge",
        "Length of the interval that lblc_verdict judges.",
    );
    if let Some(interval) = view.elapsed {
        page.sample(name, &[], interval.as_secs_f64());
    }
    let name = "lblc_verdict";
    page.family(
        name,
        "gauge",
        "Whether locality works, judged by one interval: 1 for the level that it has, else 0.",
    );
    for it in all {
        let level = verdict::of(it).level;
        for each in Level::ALL {
            let labels = [("service", it.name.as_str()), ("level", each.name())];
            page.sample(name, &labels, u8::from(each == level));
        }
    }
    let name = "lblc_decisions_total";
    page.family(
        name,
        "counter",
        "Decisions of the scheduler, by result: hits, or the reason of a miss.",
    );
    for it in all {
        for result in ["hits"]
            .into_iter()
            .chain(misses::ALL.iter().map(|miss| miss.name))
        {
            page.sample(
                name,
                &[("service", &it.name), ("result", result)],
                it.total.get(result),
            );
        }
    }
    let name = "lblc_table_events_total";
    page.family(name, "counter", "Changes of the table, by event.");
    for it in all {
        for (event, value) in it.total.0.iter().filter(|(event, _)| !is_result(event)) {
            page.sample(name, &[("service", &it.name), ("event", event)], value);
        }
    }
    page.tables(all, "lblc_entries", "Destinations in the table.", |it| {
        it.entries
    });
    page.tables(
        all,
        "lblc_max_entries",
        "Limit of the destinations in the table.",
        |it| it.max,
    );
    page.tables(all, "lblc_buckets", "Buckets of the table's hash.", |it| {
        it.buckets
    });
    page.tables(
        all,
        "lblc_table_bytes",
        "Memory that the table takes, in bytes.",
        |it| it.bytes,
    );
    page.tables(
        all,
        "lblc_expiration_seconds",
        "Idle time after which a destination is forgotten, in seconds.",
        |it| it.expiration,
    );
    page.servers(
        all,
        "lblc_server_destinations",
        "Destinations that belong to a server.",
        |it| Some(it.destinations),
    );
    page.listed(all, "lblc_server_weight", "Weight of a server.", |it| {
        it.weight
    });
    page.listed(
        all,
        "lblc_server_active_connections",
        "Active connections of a server.",
        |it| it.active,
    );
    page.listed(
        all,
        "lblc_server_inactive_connections",
        "Connections of a server that are not active.",
        |it| it.inactive,
    );
    let name = "lblc_server_stuck";
    let help = "Whether a server has open connections and completed none lately.";
    page.family(name, "gauge", help);
    for it in all {
        for server in it.servers.iter().filter(|it| it.listed.is_some()) {
            let address = server.address.to_string();
            let stuck = u8::from(it.stuck.contains(&server.address));
            page.sample(name, &[("service", &it.name), ("server", &address)], stuck);
        }
    }
    page.0
}

/// Whether a counter counts decisions.
fn is_result(name: &str) -> bool {
    name == "hits" || misses::ALL.iter().any(|miss| miss.name == name)
}

struct Page(String);

impl Page {
    /// A page with the metrics that tell whether the scheduler could be read, and when.
    fn new(up: bool) -> Self {
        let mut page = Self(String::new());
        let help = "Whether the scheduler could be read: 0 if its module is not loaded.";
        page.family("lblc_up", "gauge", help);
        page.sample("lblc_up", &[], u8::from(up));
        let name = "lblc_timestamp_seconds";
        page.family(name, "gauge", "Unix time at which these metrics were read.");
        // A clock before 1970 is as wrong as one that says 1970.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        page.sample(name, &[], now.unwrap_or_default().as_secs());
        page
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        match labels.is_empty() {
            true => self.write(format_args!("{name} {value}\n")),
            false => self.write(format_args!("{name}{{{}}} {value}\n", labels.join(","))),
        }
    }

    fn tables(&mut self, all: &[Service], name: &str, help: &str, value: fn(&Table) -> u64) {
        self.family(name, "gauge", help);
        for it in all {
            if let Some(table) = &it.table {
                self.sample(name, &[("service", &it.name)], value(table));
            }
        }
    }

    fn servers<T: Display>(
        &mut self,
        all: &[Service],
        name: &str,
        help: &str,
        value: impl Fn(&Server) -> Option<T>,
    ) {
        self.family(name, "gauge", help);
        for it in all {
            for server in &it.servers {
                if let Some(value) = value(server) {
                    let address = server.address.to_string();
                    self.sample(name, &[("service", &it.name), ("server", &address)], value);
                }
            }
        }
    }

    fn listed<T: Display>(
        &mut self,
        all: &[Service],
        name: &str,
        help: &str,
        value: fn(&ipvs::Server) -> T,
    ) {
        self.servers(all, name, help, |it| it.listed.as_ref().map(value));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A String takes everything.
        let _ = self.0.write_fmt(text);
    }
}

/// The value of a label, escaped.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
