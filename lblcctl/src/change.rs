// SPDX-License-Identifier: GPL-2.0

//! Changes entries: single ones, those that match a filter, or all.

use crate::{
    choice,
    failure::Failure,
    options::{Prefix, Server},
};
use liblblc::{
    identity::Identity,
    ipvs::Ipvs,
    tables::{Done, Entry, Filter, Mode, Tables, BATCH},
};
use serde_json::json;
use std::{
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

pub(crate) fn mode(keep_newer: bool) -> Mode {
    match keep_newer {
        true => Mode::KeepNewer,
        false => Mode::Replace,
    }
}

/// Prints the numbers of entries that were created, changed and kept.
pub(crate) fn report(done: Done, json: bool) -> Result<(), Failure> {
    let Done {
        created,
        changed,
        kept,
        failed,
    } = done;
    let mut out = io::stdout().lock();
    if json {
        let all = json!({ "created": created, "changed": changed, "kept": kept, "failed": failed });
        writeln!(out, "{all}")?;
    } else {
        writeln!(out, "{created} created, {changed} changed, {kept} kept")?;
    }
    if failed > 0 {
        return Err(Failure::Refused(format!(
            "{failed} could not be set: there was no memory, or no room for them"
        )));
    }
    Ok(())
}

fn deleted(number: u64, json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match json {
        true => writeln!(out, "{}", json!({ "deleted": number }))?,
        false => writeln!(out, "{number} deleted")?,
    }
    Ok(())
}

pub(crate) fn set(
    named: Option<Identity>,
    key: IpAddr,
    server: Server,
    idle: Duration,
    keep_newer: bool,
    force: bool,
    json: bool,
) -> Result<(), Failure> {
    let mut tables = Tables::open()?;
    let service = choice::service(&mut tables, named)?;
    let server = choice::server(&mut Ipvs::open()?, &service, server, force)?;
    let entry = Entry {
        key,
        server,
        idle,
        removed: false,
    };
    let done = tables.set(&service, &[entry], mode(keep_newer))?;
    report(done, json)
}

/// Moves destinations to another server. Each keeps its idle time.
pub(crate) fn shift(
    named: Option<Identity>,
    from: Server,
    to: Server,
    prefix: Option<Prefix>,
    idle: Option<Duration>,
    force: bool,
    json: bool,
) -> Result<(), Failure> {
    let filter = Filter {
        server: Some(from.address),
        port: from.port,
        prefix: prefix.map(|it| (it.0, it.1)),
        idle,
        removed: false,
    };
    let (mut tables, mut ipvs) = (Tables::open()?, Ipvs::open()?);
    // Find everything that could be refused before the first change.
    let mut moves = Vec::new();
    for service in choice::services(&mut tables, named)? {
        let mut entries = Vec::new();
        tables.entries(Some(&service.identity), &filter, |_, it| entries.push(it))?;
        if entries.is_empty() {
            continue;
        }
        let server = choice::server(&mut ipvs, &service.identity, to, force)?;
        entries.retain(|it| it.server != server);
        entries.iter_mut().for_each(|it| it.server = server);
        moves.push((service.identity, entries));
    }
    let mut moved = 0;
    for (service, entries) in moves {
        for batch in entries.chunks(BATCH) {
            let done = tables
                .set(&service, batch, Mode::Replace)
                .map_err(|error| {
                    Failure::from(error).and(&format!("; {moved} were moved before that"))
                })?;
            moved += done.created + done.changed;
        }
    }
    let mut out = io::stdout().lock();
    match json {
        true => writeln!(out, "{}", json!({ "moved": moved }))?,
        false => writeln!(out, "{moved} moved")?,
    }
    Ok(())
}

pub(crate) fn delete(
    named: Option<Identity>,
    keys: &[IpAddr],
    filter: &Filter,
    json: bool,
) -> Result<(), Failure> {
    match (keys.is_empty(), filter.is_empty()) {
        (true, true) => {
            let why = "name destinations, or a filter (all destinations: lblcctl flush)";
            return Err(Failure::Usage(why.into()));
        }
        (false, false) => {
            return Err(Failure::Usage(
                "name destinations or a filter, not both".into(),
            ));
        }
        (true, false) => {
            let number = Tables::open()?.delete(named.as_ref(), filter)?;
            return deleted(number, json);
        }
        (false, true) => {}
    }
    let mut tables = Tables::open()?;
    let service = choice::service(&mut tables, named)?;
    if let Some(wrong) = keys.iter().find(|it| it.is_ipv6() != service.is_ipv6()) {
        return Err(Failure::Usage(format!(
            "{wrong} is not of the family of {service}"
        )));
    }
    let mut number = 0;
    for batch in keys.chunks(BATCH) {
        number += tables.delete_keys(&service, batch)?;
    }
    deleted(number, json)?;
    match keys.len() as u64 - number {
        0 => Ok(()),
        missing => Err(Failure::Refused(format!(
            "nothing was known of {missing} of {}",
            keys.len()
        ))),
    }
}

pub(crate) fn flush(named: Option<Identity>, json: bool) -> Result<(), Failure> {
    let number = Tables::open()?.delete(named.as_ref(), &Filter::default())?;
    deleted(number, json)
}
