// SPDX-License-Identifier: GPL-2.0

//! Everything as JSON, for machines. Rates are theirs to compute: counters only grow.

use crate::{
    model::{Server, Service, View},
    verdict,
};
use serde_json::{json, Map, Value};

pub(crate) fn text(view: &View) -> String {
    let services: Vec<_> = view.services.iter().map(service).collect();
    format!("{:#}\n", json!({ "services": services }))
}

fn service(it: &Service) -> Value {
    let counters: Map<_, _> = it
        .total
        .0
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let servers: Vec<_> = it.servers.iter().map(server).collect();
    let table = it.table.as_ref().map(|table| {
        json!({
            "entries": table.entries,
            "max_entries": table.max,
            "buckets": table.buckets,
            "bytes": table.bytes,
            "expiration_seconds": table.expiration,
        })
    });
    let verdict = verdict::of(it);
    json!({
        "service": it.name,
        "scheduler": it.scheduler,
        "calls": it.total.calls(),
        "hit_ratio": it.total.hit_ratio(),
        "spills": it.total.spills(),
        "counters": counters,
        "table": table,
        "servers": servers,
        "verdict": {
            "level": verdict.level.name(),
            "answer": verdict.answer,
            "advice": verdict.advice,
        },
    })
}

fn server(it: &Server) -> Value {
    json!({
        "server": it.address.to_string(),
        "destinations": it.destinations,
        "removed": it.removed,
        "weight": it.listed.map(|it| it.weight),
        "active_connections": it.listed.map(|it| it.active),
        "inactive_connections": it.listed.map(|it| it.inactive),
    })
}
