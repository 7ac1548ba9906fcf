// SPDX-License-Identifier: GPL-2.0

//! Prints the changes of entries as they happen.

use crate::failure::Failure;
use liblblc::{
    changes::{Change, Changes, Event},
    identity::Identity,
};
use serde_json::{json, Value};
use std::io::{self, BufWriter, Write};

pub(crate) fn monitor(named: Option<Identity>, json: bool) -> Result<(), Failure> {
    let mut changes = Changes::open()?;
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        let mut wrote = Ok(());
        changes.wait(|event| {
            let unwanted = |it: &Identity| named.is_some_and(|named| named != *it);
            match &event {
                Event::Change(service, _) if unwanted(service) => return,
                _ => {}
            }
            if wrote.is_ok() {
                wrote = match json {
                    true => writeln!(out, "{}", as_json(&event)),
                    false => writeln!(out, "{}", text(&event)),
                };
            }
        })?;
        wrote?;
        out.flush()?;
    }
}

pub(crate) fn text(event: &Event) -> String {
    match event {
        Event::Change(service, change) => {
            let Change {
                kind,
                entry,
                reason,
                old_server,
            } = change;
            let (key, server, idle) = (entry.key, entry.server, entry.idle.as_secs());
            let mut line = format!("{service} {kind} {key} {server}");
            if let Some(old) = old_server {
                line += &format!(" from {old}");
            }
            match reason {
                Some(reason) => line += &format!(" {reason}"),
                None => line += &format!(" idle {idle}"),
            }
            line
        }
        Event::PassedOver(Some(number)) => format!("{number} changes were passed over"),
        Event::PassedOver(None) => {
            "some changes were passed over: they were not read in time".into()
        }
        Event::Unloaded => "the module was unloaded".into(),
        Event::Loaded => "the module was loaded".into(),
    }
}

pub(crate) fn as_json(event: &Event) -> Value {
    match event {
        Event::Change(service, it) => json!({
            "service": service.to_string(),
            "change": it.kind,
            "destination": it.entry.key.to_string(),
            "server": it.entry.server.to_string(),
            "old_server": it.old_server.map(|it| it.to_string()),
            "reason": it.reason,
            "idle_seconds": it.entry.idle.as_secs_f64(),
        }),
        Event::PassedOver(number) => json!({ "passed_over": number }),
        Event::Unloaded => json!({ "module": "unloaded" }),
        Event::Loaded => json!({ "module": "loaded" }),
    }
}
