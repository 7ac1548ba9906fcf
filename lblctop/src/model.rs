// SPDX-License-Identifier: GPL-2.0

//! What the three files say together.

use crate::{
    counters::Counters,
    ipvs,
    source::Trouble,
    table::{Destinations, Table},
};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

/// Everything there is to see, the services that were asked for most often first.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) services: Vec<Service>,
    /// Since the last refresh, if there was one.
    pub(crate) elapsed: Option<Duration>,
    /// How long ago the table was read.
    pub(crate) table_age: Duration,
    /// Services with other schedulers.
    pub(crate) others: Vec<String>,
}

/// A service of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) scheduler: String,
    /// Since it was made.
    pub(crate) total: Counters,
    /// Since the last refresh.
    pub(crate) recent: Option<Counters>,
    pub(crate) table: Option<Table>,
    pub(crate) servers: Vec<Server>,
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

impl Server {
    /// What is to be known of it, in a word.
    pub(crate) fn state(&self) -> &'static str {
        match self.listed {
            None if self.removed => "removed",
            None => "",
            Some(it) if it.weight <= 0 => "weight 0",
            Some(it) if it.active > it.weight.unsigned_abs() => "overloaded",
            _ => "",
        }
    }
}

impl Service {
    /// What was counted of late, if there was anything, or else since the service was made.
    pub(crate) fn current(&self) -> &Counters {
        match &self.recent {
            Some(recent) if recent.calls() > 0 => recent,
            _ => &self.total,
        }
    }

    /// How often its connections missed their server since the last refresh.
    fn misses(&self) -> u64 {
        let recent = self.recent.as_ref();
        recent.map_or(0, |it| it.calls().saturating_sub(it.get("hits")))
    }
}

impl View {
    /// Puts those first that were asked for most often: an order that hardly changes.
    pub(crate) fn sort_by_calls(&mut self) {
        self.services.sort_by_key(|it| Reverse(it.total.calls()));
    }

    /// Puts those first that miss most often at present.
    pub(crate) fn sort_by_misses(&mut self) {
        self.services.sort_by_key(|it| Reverse(it.misses()));
    }

    /// The view, if it has a service to look at.
    pub(crate) fn some(self) -> Result<Self, Trouble> {
        if self.services.is_empty() {
            return Err(Trouble::NoServices(self.others.into_iter().next()));
        }
        Ok(self)
    }

    /// Notes what has been counted since `before`.
    pub(crate) fn compare(&mut self, elapsed: Duration, before: &[(String, Counters)]) {
        let before: HashMap<_, _> = before.iter().map(|(name, it)| (name, it)).collect();
        let nothing = Counters::default();
        for service in &mut self.services {
            let start = before.get(&service.name).copied().unwrap_or(&nothing);
            service.recent = Some(service.total.since(start));
        }
        self.elapsed = Some(elapsed);
    }

    /// How often a second, of what was counted since the last refresh.
    pub(crate) fn rate(&self, count: u64) -> f64 {
        let seconds = self.elapsed.unwrap_or_default().as_secs_f64();
        if seconds > 0.0 {
            count as f64 / seconds
        } else {
            0.0
        }
    }
}

/// Puts together what belongs to one service.
pub(crate) fn join(
    counted: Vec<(String, Counters)>,
    tables: &[(String, Table)],
    virtuals: Vec<ipvs::Service>,
) -> View {
    let tables: HashMap<_, _> = tables.iter().map(|(name, it)| (name, it)).collect();
    let (mut ours, mut others) = (HashMap::<_, Vec<_>>::new(), Vec::new());
    for it in virtuals {
        match it.is_ours() {
            true => ours.entry(it.name.clone()).or_default().push(it),
            false => others.push(format!("{} has {}", it.name, it.scheduler)),
        }
    }
    let services = counted
        .into_iter()
        .map(|(name, total)| {
            let table = tables.get(&name).copied().cloned();
            let (ipv6, mark) = (name.starts_with("FWM6 "), name.replacen("FWM6 ", "FWM ", 1));
            let it = ours.get_mut(&mark).and_then(|all| take(all, ipv6));
            let it = it.unwrap_or_default();
            Service {
                servers: servers(it.servers, table.as_ref()),
                scheduler: it.scheduler,
                recent: None,
                name,
                total,
                table,
            }
        })
        .collect();
    let mut view = View {
        services,
        others,
        ..View::default()
    };
    view.sort_by_calls();
    view
}

/// Of services with one name, which are of one firewall mark, that of the family.
fn take(all: &mut Vec<ipvs::Service>, ipv6: bool) -> Option<ipvs::Service> {
    // Without servers it may be of either.
    let rank = |it: &ipvs::Service| {
        let differs = |server: &ipvs::Server| 2 * u8::from(server.address.is_ipv6() != ipv6);
        it.servers.first().map_or(1, differs)
    };
    let at = (0..all.len()).min_by_key(|at| all.get(*at).map(rank))?;
    Some(all.remove(at))
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
