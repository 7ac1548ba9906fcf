// SPDX-License-Identifier: GPL-2.0

//! Everything in Prometheus' text format, for the textfile collector of its node exporter.

use crate::{
    ipvs, misses,
    model::{Server, Service, View},
    table::Table,
    verdict::{self, Level},
};
use std::fmt::{Display, Write};

pub(crate) fn text(view: &View) -> String {
    let mut page = Page(String::new());
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
    page.family(name, "gauge", "The interval that lblc_verdict is of.");
    if let Some(interval) = view.elapsed {
        page.sample(name, &[], interval.as_secs_f64());
    }
    let name = "lblc_verdict";
    page.family(
        name,
        "gauge",
        "Whether locality works: 1 for the level that it has.",
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
    page.family(name, "counter", "What became of the table, by event.");
    for it in all {
        for (event, value) in it.total.0.iter().filter(|(event, _)| !is_result(event)) {
            page.sample(name, &[("service", &it.name), ("event", event)], value);
        }
    }
    page.tables(
        all,
        "lblc_entries",
        "Destinations that are remembered.",
        |it| it.entries,
    );
    page.tables(
        all,
        "lblc_max_entries",
        "How many may be remembered.",
        |it| it.max,
    );
    page.tables(all, "lblc_buckets", "Buckets of the table.", |it| {
        it.buckets
    });
    page.tables(all, "lblc_table_bytes", "Memory of the table.", |it| {
        it.bytes
    });
    page.tables(
        all,
        "lblc_expiration_seconds",
        "How long a destination may be idle.",
        |it| it.expiration,
    );
    page.servers(
        all,
        "lblc_server_destinations",
        "Destinations that a server has.",
        |it| Some(it.destinations),
    );
    page.listed(all, "lblc_server_weight", "The weight of a server.", |it| {
        it.weight
    });
    page.listed(
        all,
        "lblc_server_active_connections",
        "Its active connections.",
        |it| it.active,
    );
    page.listed(
        all,
        "lblc_server_inactive_connections",
        "Its other connections.",
        |it| it.inactive,
    );
    page.0
}

/// Whether a counter is of decisions.
fn is_result(name: &str) -> bool {
    name == "hits" || misses::ALL.iter().any(|miss| miss.name == name)
}

struct Page(String);

impl Page {
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

/// As a label's value is written.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
