// SPDX-License-Identifier: GPL-2.0

//! Sets the entries of a file. All of it is read and checked before anything is changed.

use crate::{
    change::{mode, report},
    choice,
    failure::Failure,
};
use liblblc::{
    identity::Identity,
    lines::Line,
    tables::{Done, Entry, Mode, Service, Tables, BATCH},
};
use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    path::Path,
};

/// The entries of a service, with the numbers of their lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) service: Identity,
    /// The number of the line that names it.
    pub(crate) line: usize,
    pub(crate) entries: Vec<Entry>,
    pub(crate) lines: Vec<usize>,
}

fn wrong(line: usize, why: &str) -> Failure {
    Failure::Usage(format!("line {line}: {why}; nothing was changed"))
}

/// Parses the output of `lblcctl save`. Lines before the first that names a service belong to
/// `first`, if that is given.
pub(crate) fn parse(text: &[u8], first: Option<Identity>) -> Result<Vec<Part>, Failure> {
    let part = |service, line| Part {
        service,
        line,
        entries: Vec::new(),
        lines: Vec::new(),
    };
    let mut parts: Vec<Part> = first.map(|it| part(it, 0)).into_iter().collect();
    let mut number = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        number += 1;
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err(wrong(number, "it has no end: the input was cut off"));
        };
        let line = std::str::from_utf8(line).map_err(|_| wrong(number, "it is not text"))?;
        match Line::parse(line).map_err(|why| wrong(number, &why))? {
            Line::Nothing => {}
            Line::Service(service) => parts.push(part(service, number)),
            Line::Entry(entry) => {
                let Some(part) = parts.last_mut() else {
                    return Err(wrong(number, "no line above names the service"));
                };
                if entry.key.is_ipv6() != part.service.is_ipv6() {
                    let why = format!("{} is not of the family of {}", entry.key, part.service);
                    return Err(wrong(number, &why));
                }
                part.entries.push(entry);
                part.lines.push(number);
            }
        }
    }
    Ok(parts)
}

/// Checks that the services are in this namespace, and that the entries fit into their tables.
fn check(parts: &mut Vec<Part>, here: &[Service], existing: bool) -> Result<(), Failure> {
    let here: HashMap<_, _> = here
        .iter()
        .map(|it| (it.identity, it.max_entries))
        .collect();
    if existing {
        parts.retain(|it| here.contains_key(&it.service));
    }
    for part in parts {
        let Some(most) = here.get(&part.service) else {
            let why = choice::no_service(&part.service);
            let what = format!("line {}: {why} (--existing leaves it out); ", part.line);
            return Err(Failure::Refused(format!("{what}nothing was changed")));
        };
        let number = part.entries.len();
        if number as u64 > *most {
            return Err(Failure::Refused(format!(
                "line {}: {number} destinations are more than {most}, which is \
                 net.ipv4.vs.lblc_rs_max_entries; nothing was changed",
                part.line
            )));
        }
    }
    Ok(())
}

/// Sets all entries. If the kernel refuses one, the error names the lines that were set before.
pub(crate) fn set(tables: &mut Tables, parts: &[Part], mode: Mode) -> Result<Done, Failure> {
    let mut all = Done::default();
    for part in parts {
        for (entries, lines) in part.entries.chunks(BATCH).zip(part.lines.chunks(BATCH)) {
            let done = tables.set(&part.service, entries, mode).map_err(|error| {
                let (first, last) = (lines.first(), lines.last());
                let (first, last) = (first.unwrap_or(&0), last.unwrap_or(&0));
                Failure::Refused(format!(
                    "lines {first} to {last}: {}; what is before line {first} was set, and the \
                     rest was not",
                    Failure::from(error)
                ))
            })?;
            all.add(done);
        }
    }
    Ok(all)
}

fn read(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match file.filter(|it| *it != Path::new("-")) {
        Some(path) => fs::read(path).map_err(|error| Failure::file(path, &error)),
        None => {
            let mut text = Vec::new();
            io::stdin().lock().read_to_end(&mut text)?;
            Ok(text)
        }
    }
}

/// `lblcctl restore`, of the service that was named, or of all.
pub(crate) fn restore(
    named: Option<Identity>,
    file: Option<&Path>,
    keep_newer: bool,
    existing: bool,
    json: bool,
) -> Result<(), Failure> {
    let mut parts = parse(&read(file)?, None)?;
    if let Some(named) = named {
        parts.retain(|it| it.service == named);
    }
    set_checked(parts, keep_newer, existing, json)
}

/// `lblcctl set --batch`: the file need not name a service if an argument does, or if there is only
/// one.
pub(crate) fn batch(
    named: Option<Identity>,
    file: &Path,
    keep_newer: bool,
    json: bool,
) -> Result<(), Failure> {
    let text = read(Some(file))?;
    let first = choice::service(&mut Tables::open()?, named).ok();
    set_checked(parse(&text, named.or(first))?, keep_newer, false, json)
}

fn set_checked(
    mut parts: Vec<Part>,
    keep_newer: bool,
    existing: bool,
    json: bool,
) -> Result<(), Failure> {
    let mut tables = Tables::open()?;
    let here = tables.services()?;
    check(&mut parts, &here, existing)?;
    let done = set(&mut tables, &parts, mode(keep_newer))?;
    report(done, json)
}
