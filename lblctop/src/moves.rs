// SPDX-License-Identifier: GPL-2.0

//! The destinations of a service that have changed their server since the table was read before.

use crate::table::Destination;
use std::{collections::HashMap, time::Instant};

/// The number of destinations that are watched.
const MOST: usize = 20_000;

/// The destinations of one service that were seen.
#[derive(Default)]
pub(crate) struct Moves {
    service: Option<String>,
    /// The server of each, and the one before it with the time of the change.
    seen: HashMap<String, (String, Option<(String, Instant)>)>,
}

impl Moves {
    /// Whether `service` is the one that is watched.
    pub(crate) fn of(&self, service: &Option<String>) -> bool {
        self.service == *service
    }

    /// Begins anew, unless `service` is the one that is watched.
    pub(crate) fn watch(&mut self, service: Option<&str>) {
        if self.service.as_deref() != service {
            self.service = service.map(str::to_owned);
            self.seen.clear();
        }
    }

    /// Records the present servers of these destinations, and fills in the servers before.
    pub(crate) fn note(&mut self, latest: &mut [Destination]) {
        if self.seen.len() > MOST {
            self.seen.clear();
        }
        for it in latest {
            let (server, before) = self
                .seen
                .entry(it.address.clone())
                .or_insert_with(|| (it.server.clone(), None));
            if *server != it.server {
                let old = std::mem::replace(server, it.server.clone());
                *before = Some((old, Instant::now()));
            }
            let before = before.as_ref();
            it.moved = before.map(|(server, at)| (server.clone(), at.elapsed()));
        }
    }
}
