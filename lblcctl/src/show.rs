// SPDX-License-Identifier: GPL-2.0

//! Shows services and destinations, and saves them.

use crate::{choice, failure::Failure};
use liblblc::{
    identity::Identity,
    tables::{Entry, Filter, Service, Tables},
};
use serde_json::{json, Map, Value};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write},
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The number of attempts to get a complete dump.
const ATTEMPTS: u32 = 5;

pub(crate) fn services(named: Option<Identity>, json: bool) -> Result<(), Failure> {
    let services = choice::services(&mut Tables::open()?, named)?;
    let mut out = io::stdout().lock();
    if json {
        let all: Vec<_> = services.iter().map(service_json).collect();
        writeln!(out, "{:#}", Value::from(all))?;
        return Ok(());
    }
    for service in services {
        let counters = service.counters.iter();
        let counters: Vec<_> = counters.map(|(name, it)| format!("{name} {it}")).collect();
        writeln!(out, "{service}\n    {}", counters.join(" "))?;
    }
    Ok(())
}

fn service_json(it: &Service) -> Value {
    let counters = it.counters.iter();
    let counters: Map<_, _> = counters
        .map(|(name, it)| ((*name).to_owned(), json!(it)))
        .collect();
    json!({
        "service": it.identity.to_string(),
        "entries": it.entries,
        "buckets": it.buckets,
        "max_entries": it.max_entries,
        "expiration_seconds": it.expiration.as_secs(),
        "bytes": it.bytes,
        "counters": counters,
    })
}

fn entry_json(service: &Identity, it: &Entry) -> Value {
    json!({
        "service": service.to_string(),
        "destination": it.key.to_string(),
        "server": it.server.to_string(),
        "idle_seconds": it.idle.as_secs_f64(),
        "removed": it.removed,
    })
}

pub(crate) fn entries(named: Option<Identity>, filter: &Filter, json: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let incomplete = write(&mut Tables::open()?, named, filter, json, &mut out)?;
    out.flush()?;
    if incomplete {
        return Err(Failure::Refused(
            "a table got another hash key meanwhile: some destinations may be missing".into(),
        ));
    }
    Ok(())
}

/// Writes services and their destinations in the format of `/proc/net/ip_vs_lblc_rs`. Returns
/// whether some may be missing.
fn write(
    tables: &mut Tables,
    named: Option<Identity>,
    filter: &Filter,
    json: bool,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let services = choice::services(tables, named)?;
    let mut writer = Writer {
        places: services.iter().map(|it| it.identity).zip(0..).collect(),
        lines: services.iter().map(Service::to_string).collect(),
        begun: 0,
        first: true,
        json,
    };
    let mut wrote = Ok(());
    let named = named.as_ref();
    let incomplete = tables.entries(named, filter, |service, entry| {
        if wrote.is_ok() {
            wrote = writer.entry(service, &entry, out);
        }
    })?;
    wrote?;
    writer.end(out)?;
    Ok(incomplete)
}

/// Writes the line of each service before its destinations.
struct Writer {
    places: HashMap<Identity, usize>,
    lines: Vec<String>,
    /// The number of services whose line was written.
    begun: usize,
    /// Whether no entry was written yet.
    first: bool,
    json: bool,
}

impl Writer {
    fn entry(&mut self, service: &Identity, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
        // A service that was bound after the services were read is left out.
        let Some(place) = self.places.get(service) else {
            return Ok(());
        };
        if self.json {
            let before = if self.first { "[\n" } else { ",\n" };
            self.first = false;
            return write!(out, "{before}{}", entry_json(service, entry));
        }
        // The dump has the services in this order.
        self.begin(place + 1, out)?;
        writeln!(out, "  {entry}")
    }

    /// Writes the lines of the first services.
    fn begin(&mut self, end: usize, out: &mut impl Write) -> io::Result<()> {
        while self.begun < end {
            if let Some(line) = self.lines.get(self.begun) {
                writeln!(out, "{line}")?;
            }
            self.begun += 1;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        match (self.json, self.first) {
            (true, true) => writeln!(out, "[]"),
            (true, false) => writeln!(out, "\n]"),
            (false, _) => self.begin(self.lines.len(), out),
        }
    }
}

/// The server of one destination, of the service that was named or of each that knows it.
pub(crate) fn entry(named: Option<Identity>, key: IpAddr, json: bool) -> Result<(), Failure> {
    let mut tables = Tables::open()?;
    let services = choice::services(&mut tables, named)?;
    let mut found = Vec::new();
    for service in services {
        if service.identity.is_ipv6() != key.is_ipv6() {
            continue;
        }
        match tables.entry(&service.identity, key) {
            Ok(entry) => found.extend(entry.map(|it| (service.identity, it))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut out = io::stdout().lock();
    if json {
        let all: Vec<_> = found.iter().map(|(of, it)| entry_json(of, it)).collect();
        writeln!(out, "{:#}", Value::from(all))?;
    } else {
        for (service, entry) in &found {
            writeln!(out, "{service}\n  {entry}")?;
        }
    }
    if found.is_empty() {
        return Err(Failure::Refused(format!("nothing is known of {key}")));
    }
    Ok(())
}

/// The output of `lblcctl save`.
pub(crate) fn saved(
    tables: &mut Tables,
    named: Option<Identity>,
    json: bool,
) -> Result<Vec<u8>, Failure> {
    for _ in 0..ATTEMPTS {
        let mut text = Vec::new();
        if !write(tables, named, &Filter::default(), json, &mut text)? {
            return Ok(text);
        }
    }
    Err(Failure::Refused(
        "the tables get other hash keys all the time: they are under attack".into(),
    ))
}

pub(crate) fn save(
    named: Option<Identity>,
    file: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let text = saved(&mut Tables::open()?, named, json)?;
    match file {
        None => Ok(io::stdout().lock().write_all(&text)?),
        Some(path) => replace(path, &text).map_err(|error| Failure::file(path, &error)),
    }
}

/// Replaces a file atomically; only its owner may read it.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new: PathBuf = path.with_file_name(name);
    let write = || {
        let mut file = File::create_new(&new)?;
        fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().inspect_err(|_| {
        // The file may not exist.
        let _ = fs::remove_file(&new);
    })
}
