// SPDX-License-Identifier: GPL-2.0

//! The services as the module and IPVS describe them together.

use crate::{
    counters::Counters,
    filter::Filter,
    ipvs,
    source::Trouble,
    table::{Destination, Destinations, Table},
};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fmt,
    net::SocketAddr,
    time::Duration,
};

/// The number of connections from which on a server is judged.
const FEW: u128 = 5;

/// All services; those with the most connections come first.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) services: Vec<Service>,
    /// Since the last refresh, if there was one.
    pub(crate) elapsed: Option<Duration>,
    /// The age of the table's reading.
    pub(crate) table_age: Duration,
    /// The module is too old to be asked by netlink.
    pub(crate) is_old: bool,
    /// Services with other schedulers, which are not shown.
    pub(crate) others: Vec<Other>,
}

/// The order of servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// As IPVS lists them.
    #[default]
    Listed,
    Active,
    Destinations,
    Weight,
}

impl Order {
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Listed => Self::Active,
            Self::Active => Self::Destinations,
            Self::Destinations => Self::Weight,
            Self::Weight => Self::Listed,
        }
    }
}

/// The order of destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DestinationOrder {
    /// Those that were used last first.
    #[default]
    Used,
    /// Those that moved last first.
    Moved,
    /// Those of one server together.
    Server,
}

impl DestinationOrder {
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Used => Self::Moved,
            Self::Moved => Self::Server,
            Self::Server => Self::Used,
        }
    }
}

/// The latest destinations of a service whose address or server the filter takes, in an order.
pub(crate) fn latest<'a>(
    service: &'a Service,
    filter: &Filter,
    order: DestinationOrder,
) -> Vec<&'a Destination> {
    let latest = service.table.iter().flat_map(|it| &it.latest);
    let taken = |it: &&Destination| {
        let before = it.moved.as_ref().map(|(server, _)| server.as_str());
        filter.takes([&*it.address, &*it.server].into_iter().chain(before))
    };
    let mut latest: Vec<_> = latest.filter(taken).collect();
    match order {
        DestinationOrder::Used => {}
        DestinationOrder::Moved => latest.sort_by_key(|it| match &it.moved {
            Some((_, ago)) => *ago,
            None => Duration::MAX,
        }),
        DestinationOrder::Server => latest.sort_by(|a, b| a.server.cmp(&b.server)),
    }
    latest
}

/// A service that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) scheduler: String,
}

impl Other {
    /// The module that `lblc` is of, if the scheduler is that: one that is not ours is C's.
    pub(crate) fn module(&self) -> Option<&'static str> {
        (self.scheduler == "lblc").then_some("ip_vs_lblc")
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {}", self.name, self.scheduler)?;
        self.module().map_or(Ok(()), |it| write!(f, " of {it}"))
    }
}

/// The first services that are not ours, and how many more there are.
pub(crate) fn summary(others: &[Other], most: usize) -> String {
    let named: Vec<_> = others.iter().take(most).map(Other::to_string).collect();
    let more = others.len().saturating_sub(most);
    match more {
        0 => named.join(", "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}

/// A service of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) scheduler: String,
    pub(crate) persistent: bool,
    /// The scheduler's flags that are set: `flag-1`, `flag-2`.
    pub(crate) flags: Vec<&'static str>,
    /// Since it was made.
    pub(crate) total: Counters,
    /// Since the last refresh, and how long that is.
    pub(crate) recent: Option<Counters>,
    pub(crate) interval: Duration,
    pub(crate) table: Option<Table>,
    pub(crate) servers: Vec<Server>,
    /// Those that complete no connection.
    pub(crate) stuck: Vec<SocketAddr>,
}

/// A server, of the service or of its memory.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Its weight and connections, if it is in the service.
    pub(crate) listed: Option<ipvs::Server>,
    pub(crate) destinations: u64,
    pub(crate) removed: bool,
}

impl Service {
    /// What was counted since the last refresh, or, before there was one, since the service was
    /// made.
    pub(crate) fn current(&self) -> &Counters {
        self.recent.as_ref().unwrap_or(&self.total)
    }

    /// The state of a server of the service, in a word.
    pub(crate) fn state(&self, server: &Server) -> &'static str {
        match server.listed {
            None if server.removed => "removed",
            None => "",
            Some(it) if it.weight <= 0 => "weight 0",
            Some(_) if self.stuck.contains(&server.address) => "stuck",
            Some(it) if it.active > it.weight.unsigned_abs() => "overloaded",
            Some(it) if it.is_full() => "full",
            _ => "",
        }
    }

    /// The servers in an order: of numbers, the greatest first.
    pub(crate) fn servers(&self, order: Order) -> Vec<&Server> {
        let mut servers: Vec<_> = self.servers.iter().collect();
        match order {
            Order::Listed => {}
            Order::Active => servers.sort_by_key(|it| Reverse(it.listed.map(|it| it.active))),
            Order::Destinations => servers.sort_by_key(|it| Reverse(it.destinations)),
            Order::Weight => servers.sort_by_key(|it| Reverse(it.listed.map(|it| it.weight))),
        }
        servers
    }

    /// The number of misses since the last refresh.
    fn misses(&self) -> u64 {
        let recent = self.recent.as_ref();
        recent.map_or(0, |it| it.calls().saturating_sub(it.get("hits")))
    }
}

impl View {
    /// Sorts by the number of all connections, which hardly changes the order.
    pub(crate) fn sort_by_calls(&mut self) {
        self.services
            .sort_by_cached_key(|it| Reverse(it.total.calls()));
    }

    /// Sorts by the misses since the last refresh.
    pub(crate) fn sort_by_misses(&mut self) {
        self.services.sort_by_cached_key(|it| Reverse(it.misses()));
    }

    /// The names of the first services, and how many more there are.
    pub(crate) fn names(&self, most: usize) -> String {
        let names = self.services.iter().take(most).map(|it| it.name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        match self.services.len().saturating_sub(most) {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    }

    /// The view, if it has a service.
    pub(crate) fn some(self) -> Result<Self, Trouble> {
        if self.services.is_empty() {
            return Err(Trouble::NoServices(summary(&self.others, 3)));
        }
        Ok(self)
    }

    /// Computes the increase of the counters since `before`.
    pub(crate) fn compare(&mut self, elapsed: Duration, before: &[(String, Counters)]) {
        let before: HashMap<_, _> = before.iter().map(|(name, it)| (name, it)).collect();
        let nothing = Counters::default();
        for service in &mut self.services {
            let start = before.get(&service.name).copied().unwrap_or(&nothing);
            service.recent = Some(service.total.since(start));
            service.interval = elapsed;
        }
        self.elapsed = Some(elapsed);
    }

    /// The rate a second of a number that was counted since the last refresh.
    pub(crate) fn rate(&self, count: u64) -> f64 {
        let seconds = self.elapsed.unwrap_or_default().as_secs_f64();
        if seconds > 0.0 {
            count as f64 / seconds
        } else {
            0.0
        }
    }
}

/// Joins the data of each service. `ours` returns whether a scheduler's name is one of ours.
pub(crate) fn join(
    counted: Vec<(String, Counters)>,
    tables: &[(String, Table)],
    virtuals: Vec<ipvs::Service>,
    ours: impl Fn(&str) -> bool,
) -> View {
    let tables: HashMap<_, _> = tables.iter().map(|(name, it)| (name, it)).collect();
    let (mine, others): (Vec<_>, Vec<_>) = virtuals.into_iter().partition(|it| ours(&it.scheduler));
    let mine = mine.into_iter().map(|it| (it.identity.to_string(), it));
    let mut mine: HashMap<_, _> = mine.collect();
    let others = others.into_iter().map(|it| Other {
        name: it.identity.to_string(),
        scheduler: it.scheduler,
    });
    let services = counted
        .into_iter()
        .map(|(name, total)| {
            let table = tables.get(&name).copied().cloned();
            let it = mine.remove(&name);
            let (scheduler, persistent, flags, listed) = it.map_or_else(Default::default, |it| {
                (it.scheduler, it.persistent, it.flags, it.servers)
            });
            Service {
                stuck: stuck(&listed),
                servers: servers(listed, table.as_ref()),
                scheduler,
                persistent,
                flags,
                recent: None,
                interval: Duration::ZERO,
                name,
                total,
                table,
            }
        })
        .collect();
    let mut view = View {
        services,
        others: others.collect(),
        ..View::default()
    };
    view.sort_by_calls();
    view
}

/// The servers that have open connections but closed none lately, while five or more were to be
/// expected from the number that the other servers closed. (IPVS keeps a closed connection for two
/// minutes. A connection that was never answered is not closed: it expires.)
fn stuck(servers: &[ipvs::Server]) -> Vec<SocketAddr> {
    let alive = servers.iter().filter(|it| it.inactive > 0);
    let (open, closed) = alive.fold((0, 0), |(open, closed), it| {
        (
            open + u128::from(it.active),
            closed + u128::from(it.inactive),
        )
    });
    let is_stuck = |it: &&ipvs::Server| {
        let active = u128::from(it.active);
        let expected = active * closed >= FEW * open;
        it.weight > 0 && it.inactive == 0 && active >= FEW && closed >= FEW && expected
    };
    servers
        .iter()
        .filter(is_stuck)
        .map(|it| it.address)
        .collect()
}

/// The servers of the service, in IPVS' order, then those that only the table knows.
fn servers(listed: Vec<ipvs::Server>, table: Option<&Table>) -> Vec<Server> {
    let nothing = HashMap::new();
    let known = table.map_or(&nothing, |table| &table.servers);
    let mut there = HashSet::new();
    // A file that changes while it is read may have a line twice.
    let listed = listed.into_iter().filter(|it| there.insert(it.address));
    let listed: Vec<_> = listed.map(|it| (it.address, Some(it))).collect();
    let mut gone: Vec<_> = known.keys().filter(|it| !there.contains(it)).collect();
    gone.sort();
    let gone = gone.into_iter().map(|address| (*address, None));
    let servers = listed.into_iter().chain(gone).map(|(address, listed)| {
        let Destinations { count, removed } = known.get(&address).copied().unwrap_or_default();
        Server {
            address,
            listed,
            destinations: count,
            removed,
        }
    });
    servers.collect()
}
