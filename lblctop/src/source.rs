// SPDX-License-Identifier: GPL-2.0

//! Reads the module and IPVS, one after the other; and the errors of that.

use crate::{
    counters::{self, Counters},
    ipvs,
    model::{self, View},
    moves::Moves,
    table::{self, Table},
};
use liblblc::{
    identity::Identity,
    tables::{Service, Tables},
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read},
    iter::once_with,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const TABLE: &str = "ip_vs_lblc_rs";
const STATS: &str = "ip_vs_lblc_rs_stats";

/// Reading the table may take this fraction of the time: 1 / `SHARE`.
const SHARE: u32 = 10;

/// An error that is shown to the user.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// With the services of other schedulers, if there are any.
    NotLoaded(String),
    NotAllowed,
    Unreadable(PathBuf, io::Error),
    Unwritable(PathBuf, io::Error),
    /// With the services of other schedulers, if there are any.
    NoServices(String),
    /// The name, and the names of the services that exist.
    NoSuchService(String, String),
    NoTerminal,
    DumbTerminal,
    Output(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoaded(others) => {
                write!(
                    f,
                    "the module is not loaded, or not in this network namespace"
                )?;
                if !others.is_empty() {
                    write!(f, " ({others})")?;
                }
                write!(f, ": modprobe ip_vs_lblc_rs")
            }
            Self::NotAllowed => write!(f, "only root may read /proc/net/{TABLE}"),
            Self::Unreadable(path, error) | Self::Unwritable(path, error) => {
                write!(f, "{}: {error}", path.display())
            }
            Self::NoServices(others) if others.is_empty() => write!(
                f,
                "there are no services in this network namespace: ipvsadm -A ... -s lblc_rs"
            ),
            Self::NoServices(others) => write!(
                f,
                "no service here uses the scheduler ({others}): ipvsadm -E ... -s lblc_rs"
            ),
            Self::NoSuchService(name, all) => {
                write!(f, "no service here is called \"{name}\": there is {all}")
            }
            Self::NoTerminal => write!(
                f,
                "this is not a terminal: try --once, --json or --prometheus"
            ),
            Self::DumbTerminal => write!(
                f,
                "this terminal (TERM=dumb) has no cursor to move: try --once"
            ),
            Self::Output(error) => write!(f, "{error}"),
        }
    }
}

/// Gives `each` the whole lines of a file that are text: one without an end was cut off.
pub(crate) fn lines(mut file: impl BufRead, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        if let Some(text) = line.strip_suffix(b"\n") {
            if let Ok(text) = std::str::from_utf8(text) {
                each(text);
            }
        }
        line.clear();
    }
    Ok(())
}

/// The name of a service, which one thread sets and another one reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Arc<Mutex<Option<String>>>);

impl Wanted {
    fn get(&self) -> Option<String> {
        self.0.lock().ok().and_then(|it| it.clone())
    }

    pub(crate) fn set(&self, name: Option<String>) {
        if let Ok(mut it) = self.0.lock() {
            *it = name;
        }
    }
}

/// Reads the services of IPVS: with their servers if the first function selects the scheduler, and
/// also with the servers' thresholds if the second one selects the service.
type Ipvs = fn(&dyn Fn(&str) -> bool, &dyn Fn(&Identity) -> bool) -> io::Result<Vec<ipvs::Service>>;

/// The interface by which the module is read.
enum Module {
    /// By netlink, with the socket if there is one already.
    Netlink(Option<Tables>),
    /// By its files in `/proc`: the module is too old for netlink.
    Files,
}

/// The interfaces, and the last readings.
pub(crate) struct Source {
    proc_net: PathBuf,
    /// The file of the module parameter that makes `lblc` a name of ours.
    dropin: PathBuf,
    ipvs: Ipvs,
    module: Module,
    counted: Option<(Instant, Vec<(String, Counters)>)>,
    tables: Vec<(String, Table)>,
    /// The service whose destinations are wanted, which another thread sets.
    wanted: Wanted,
    moves: Moves,
    /// When the table was read, and when it may be read again.
    read_at: Option<(Instant, Instant)>,
}

impl Source {
    pub(crate) fn new(
        proc_net: impl Into<PathBuf>,
        dropin: impl Into<PathBuf>,
        ipvs: Ipvs,
    ) -> Self {
        Self {
            proc_net: proc_net.into(),
            dropin: dropin.into(),
            ipvs,
            module: Module::Files,
            counted: None,
            tables: Vec::new(),
            wanted: Wanted::default(),
            moves: Moves::default(),
            read_at: None,
        }
    }

    /// Reads the module by netlink, if it has that.
    pub(crate) fn by_netlink(self) -> Self {
        Self {
            module: Module::Netlink(None),
            ..self
        }
    }

    /// Sets the service whose destinations are read.
    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Reads everything; returns it with the changes since the last reading.
    pub(crate) fn read(&mut self) -> Result<View, Trouble> {
        let now = Instant::now();
        let services = self.services()?;
        let counted = match &services {
            Some(services) => services
                .iter()
                .map(|it| (it.identity.to_string(), counters::of(it)))
                .collect(),
            None => self.parse(STATS, counters::parse)?,
        };
        let known: HashSet<_> = self.tables.iter().map(|(name, _)| name).collect();
        let all_known = counted.iter().all(|(name, _)| known.contains(name));
        let wanted = self.wanted.get();
        let due = self.read_at.is_none_or(|(_, again)| now >= again) || !self.moves.of(&wanted);
        // A new service is not left without its table.
        if due || !all_known {
            self.tables = self.read_tables(services.as_deref(), wanted.as_deref())?;
            self.moves.watch(wanted.as_deref());
            for (_, table) in &mut self.tables {
                self.moves.note(&mut table.latest);
            }
            let (took, end) = (now.elapsed(), Instant::now());
            self.read_at = Some((end, end + pause(took)));
        } else {
            let services = services.iter().flatten();
            let services: HashMap<_, _> =
                services.map(|it| (it.identity.to_string(), it)).collect();
            for (name, table) in &mut self.tables {
                if let Some(service) = services.get(name) {
                    table.resize(service);
                }
            }
        }
        let dropin = self.dropin()?;
        let ours = |name: &str| name == "lblc_rs" || (dropin && name == "lblc");
        // Of many services, only those for which servers at their threshold matter.
        let full: HashSet<_> = counted
            .iter()
            .filter(|(_, it)| it.get("threshold") + it.get("none") > 0)
            .filter_map(|(name, _)| name.parse::<Identity>().ok())
            .collect();
        let exact = |service: &Identity| full.contains(service);
        let virtuals = (self.ipvs)(&ours, &exact).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Trouble::NotAllowed,
            _ => Trouble::Unreadable("netlink interface of IPVS".into(), error),
        })?;
        let before = self.counted.replace((now, counted.clone()));
        let mut view = model::join(counted, &self.tables, virtuals, ours);
        if let Some((then, before)) = before {
            view.compare(now - then, &before);
        }
        view.table_age = self.read_at.map_or(Duration::ZERO, |(at, _)| at.elapsed());
        view.is_old = matches!(self.module, Module::Files);
        Ok(view)
    }

    /// Reads the services by netlink, if the module has that.
    fn services(&mut self) -> Result<Option<Vec<Service>>, Trouble> {
        let Module::Netlink(socket) = &mut self.module else {
            return Ok(None);
        };
        // The family has another number after the module was loaded anew.
        for mut tables in socket
            .take()
            .map(Ok)
            .into_iter()
            .chain(once_with(Tables::open))
        {
            match tables.as_mut().map(Tables::services) {
                Ok(Ok(services)) => {
                    *socket = tables.ok();
                    return Ok(Some(services));
                }
                Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(Trouble::NotAllowed);
                }
                Ok(Err(_)) => {}
                Err(_) => break,
            }
        }
        // Without a family: the module is not loaded, or too old.
        if self.proc_net.join(TABLE).exists() {
            self.module = Module::Files;
        }
        Ok(None)
    }

    fn read_tables(
        &mut self,
        services: Option<&[Service]>,
        wanted: Option<&str>,
    ) -> Result<Vec<(String, Table)>, Trouble> {
        match (&mut self.module, services) {
            (Module::Netlink(Some(tables)), Some(services)) => table::ask(tables, services, wanted)
                .map_err(|error| {
                    Trouble::Unreadable("netlink interface of the module".into(), error.into())
                }),
            _ => self.parse(TABLE, |file| table::parse(file, wanted)),
        }
    }

    /// The services of other schedulers, if our module is not loaded.
    fn others(&self) -> String {
        // A netlink request to IPVS would load its module.
        if !self.proc_net.join("ip_vs").exists() {
            return String::new();
        }
        let all = (self.ipvs)(&|_| false, &|_| false).unwrap_or_default();
        let view = model::join(Vec::new(), &[], all, |_| false);
        model::summary(&view.others, 3)
    }

    /// Whether the scheduler `lblc` is ours.
    fn dropin(&self) -> Result<bool, Trouble> {
        let mut text = String::new();
        match File::open(&self.dropin).and_then(|mut it| it.read_to_string(&mut text)) {
            Ok(_) => Ok(text.starts_with('Y')),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Trouble::Unreadable(self.dropin.clone(), error)),
        }
    }

    fn parse<T>(
        &self,
        name: &str,
        parse: impl FnOnce(BufReader<File>) -> io::Result<T>,
    ) -> Result<T, Trouble> {
        let path = self.proc_net.join(name);
        let open = || parse(BufReader::with_capacity(1 << 16, File::open(&path)?));
        open().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Trouble::NotLoaded(self.others()),
            ErrorKind::PermissionDenied => Trouble::NotAllowed,
            _ => Trouble::Unreadable(path, error),
        })
    }
}

/// The pause before a table is read again, if reading it took this time.
pub(crate) fn pause(took: Duration) -> Duration {
    // A table that is read at once needs no pause.
    if took < Duration::from_millis(20) {
        return Duration::ZERO;
    }
    took * (SHARE - 1)
}
