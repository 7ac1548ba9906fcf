// SPDX-License-Identifier: GPL-2.0

//! Everything as JSON, for programs: counters since the services were made, which only grow, and
//! their increase in one interval.

use crate::{
    counters::Counters,
    model::{Other, Server, Service, View},
    verdict,
};
use serde_json::{json, Value};

pub(crate) fn text(view: &View) -> String {
    let others: Vec<_> = view.others.iter().map(other).collect();
    let interval = json!(view.elapsed.map(|it| it.as_secs_f64()));
    // One service at a time: all of them at once take a lot of memory.
    let services: Vec<_> = view
        .services
        .iter()
        .map(|it| pretty(&service(it)))
        .collect();
    let (services, others) = (services.join(",\n"), pretty(&json!(others)));
    format!(
        "{{\n\"interval_seconds\": {interval},\n\"services\": [\n{services}\n],\n\
         \"other_services\": {others}\n}}\n"
    )
}

fn pretty(it: &Value) -> String {
    serde_json::to_string_pretty(it).unwrap_or_default()
}

fn other(it: &Other) -> Value {
    json!({ "service": it.name, "scheduler": it.scheduler, "module": it.module() })
}

fn counters(it: &Counters) -> Value {
    let all =
        it.0.iter()
            .map(|(name, value)| (name.clone().into_owned(), json!(value)));
    Value::Object(all.collect())
}

fn service(it: &Service) -> Value {
    let servers = it.servers.iter().map(|server| self::server(it, server));
    let servers: Vec<_> = servers.collect();
    let table = it.table.as_ref().map(|table| {
        json!({
            "entries": table.entries,
            "max_entries": table.max,
            "buckets": table.buckets,
            "bytes": table.bytes,
            "expiration_seconds": table.expiration,
        })
    });
    let interval = it.recent.as_ref().map(|recent| {
        json!({
            "seconds": it.interval.as_secs_f64(),
            "calls": recent.calls(),
            "hit_ratio": recent.hit_ratio(),
            "spills": recent.spills(),
            "counters": counters(recent),
        })
    });
    let verdict = verdict::of(it);
    json!({
        "service": it.name,
        "scheduler": it.scheduler,
        "persistent": it.persistent,
        "flags": it.flags,
        "calls": it.total.calls(),
        "counters": counters(&it.total),
        "interval": interval,
        "table": table,
        "servers": servers,
        "verdict": {
            "level": verdict.level.name(),
            "answer": verdict.answer,
            "advice": verdict.advice,
        },
    })
}

fn server(service: &Service, it: &Server) -> Value {
    json!({
        "server": it.address.to_string(),
        "destinations": it.destinations,
        "removed": it.removed,
        "state": service.state(it),
        "weight": it.listed.map(|it| it.weight),
        "active_connections": it.listed.map(|it| it.active),
        "inactive_connections": it.listed.map(|it| it.inactive),
    })
}
