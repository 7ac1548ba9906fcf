// SPDX-License-Identifier: GPL-2.0

//! The scheduler that users know as `lblc_rs`, or as `lblc` if the module is to be a drop-in.

use super::{
    gc::{self, Collector},
    policy::{self, Server},
    show,
    table::Table, //
};
use crate::{
    ipvs::{Address, Dest, Header, Scheduler, Service},
    rcu::ReadSide,
};
use kernel::{prelude::*, seq_file::SeqFile, time::Jiffies};

/// The state of one service.
#[pin_data]
pub(crate) struct Lblc {
    #[pin]
    table: Table,
    collector: Collector,
}

impl Scheduler for Lblc {
    const TICK: Jiffies = gc::TICK;

    fn init_service(_service: &Service) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table <- Table::new(),
            collector: Collector::new(),
        })
    }

    #[inline(always)]
    fn schedule<'g>(
        &'g self,
        service: &'g Service,
        header: &Header<'_>,
        rcu: ReadSide<'g>,
    ) -> Option<&'g Dest> {
        let key = key(header);
        let known = self
            .table
            .find(&key, service.lblc_expiration(), rcu)
            .map(|entry| entry.dest());
        // UDP connections never count as active: `ipvsadm -b flag-1` lets all count.
        let count_all = service.flag_1();
        let chosen = policy::choose(
            // A server in the core's trash may be freed by the core at any time: it is no choice.
            known.filter(|dest| dest.is_available()),
            service.dests(rcu),
            |a, b| a.is(b),
            |dest| read(dest, count_all),
        );
        match (chosen, known) {
            (None, _) => service.error(c"no destination available", rcu),
            (Some(chosen), Some(known)) if chosen.is(known) => {}
            (Some(chosen), _) => self.table.remember(&key, chosen),
        }
        chosen
    }

    fn tick(&self, service: &Service) {
        self.collector.tick(&self.table, service.lblc_expiration());
    }

    const RECORDS: usize = show::RECORDS;

    fn show(&self, service: &Service, number: usize, out: &SeqFile) {
        show::record(&self.table, service, number, out);
    }

    fn done_service(&self) {
        self.table.close();
    }
}

/// The address that the client talks to. In the header that an ICMP error quotes, that is where the
/// packet came from; C takes the client's address there.
#[inline(always)]
fn key(header: &Header<'_>) -> Address {
    if header.is_inverse() {
        header.source()
    } else {
        header.destination()
    }
}

#[inline(always)]
fn read(dest: &Dest, count_all: bool) -> Server {
    Server::new(
        dest.weight(),
        (dest.active(), dest.others()),
        Dest::OTHERS_ARE_ALL,
        dest.is_overload(),
        count_all,
    )
}
