// SPDX-License-Identifier: GPL-2.0

//! Reads the files and asks IPVS, one after the other, and what can go wrong with that.

use crate::{
    counters::{self, Counters},
    ipvs,
    model::{self, View},
    moves::Moves,
    table::{self, Table},
};
use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const TABLE: &str = "ip_vs_lblc_rs";
const STATS: &str = "ip_vs_lblc_rs_stats";

/// Reading the table may take one part in so many of our time.
const SHARE: u32 = 10;

/// What cannot be helped here.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// And what has other schedulers.
    NotLoaded(String),
    NotAllowed,
    Unreadable(PathBuf, io::Error),
    Unwritable(PathBuf, io::Error),
    /// And what has other schedulers.
    NoServices(String),
    /// And which there are.
    NoSuchService(String, String),
    NoTerminal,
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

/// What IPVS says, with the servers of services whose scheduler is ours.
type Ipvs = fn(&dyn Fn(&str) -> bool) -> io::Result<Vec<ipvs::Service>>;

/// The files, and what they said before.
pub(crate) struct Source {
    proc_net: PathBuf,
    /// The parameter of the module that says whether `lblc` is ours.
    dropin: PathBuf,
    ipvs: Ipvs,
    counted: Option<(Instant, Vec<(String, Counters)>)>,
    tables: Vec<(String, Table)>,
    /// The service whose destinations are wanted, which another thread says.
    wanted: Wanted,
    moves: Moves,
    /// When the table was read, and when it may be again.
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
            counted: None,
            tables: Vec::new(),
            wanted: Wanted::default(),
            moves: Moves::default(),
            read_at: None,
        }
    }

    /// Says whose destinations are to be read.
    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// What there is to see now, and what has changed since the last time.
    pub(crate) fn read(&mut self) -> Result<View, Trouble> {
        let (now, counted) = (Instant::now(), self.parse(STATS, counters::parse)?);
        let known = |(name, _): &(String, Counters)| self.tables.iter().any(|(it, _)| it == name);
        let wanted = self.wanted.get();
        let due = self.read_at.is_none_or(|(_, again)| now >= again) || !self.moves.of(&wanted);
        // A new service is not left without its table.
        if due || !counted.iter().all(known) {
            self.tables = self.parse(TABLE, |file| table::parse(file, wanted.as_deref()))?;
            self.moves.watch(wanted.as_deref());
            for (_, table) in &mut self.tables {
                self.moves.note(&mut table.latest);
            }
            let (took, end) = (now.elapsed(), Instant::now());
            self.read_at = Some((end, end + pause(took)));
        }
        let dropin = self.dropin()?;
        let ours = |name: &str| name == "lblc_rs" || (dropin && name == "lblc");
        let virtuals = (self.ipvs)(&ours).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Trouble::NotAllowed,
            _ => Trouble::Unreadable("netlink interface of IPVS".into(), error),
        })?;
        let before = self.counted.replace((now, counted.clone()));
        let mut view = model::join(counted, &self.tables, virtuals, ours);
        if let Some((then, before)) = before {
            view.compare(now - then, &before);
        }
        view.table_age = self.read_at.map_or(Duration::ZERO, |(at, _)| at.elapsed());
        Ok(view)
    }

    /// The services that there are without our module.
    fn others(&self) -> String {
        // To ask IPVS would load it.
        if !self.proc_net.join("ip_vs").exists() {
            return String::new();
        }
        let all = (self.ipvs)(&|_| false).unwrap_or_default();
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

/// For how long a table is left alone that took so long to read.
pub(crate) fn pause(took: Duration) -> Duration {
    // What takes no time needs no pause.
    if took < Duration::from_millis(20) {
        return Duration::ZERO;
    }
    took * (SHARE - 1)
}
