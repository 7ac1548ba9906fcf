// SPDX-License-Identifier: GPL-2.0

//! Finds the services and servers that the arguments name.

use crate::{failure::Failure, options::Server};
use liblblc::{
    identity::Identity,
    ipvs::Ipvs,
    tables::{self, Tables},
};
use std::net::SocketAddr;

/// The service that was named, or all.
pub(crate) fn services(
    tables: &mut Tables,
    named: Option<Identity>,
) -> Result<Vec<tables::Service>, Failure> {
    let mut services = tables.services()?;
    let Some(named) = named else {
        return Ok(services);
    };
    services.retain(|it| it.identity == named);
    if services.is_empty() {
        return Err(no_service(&named));
    }
    Ok(services)
}

pub(crate) fn no_service(named: &Identity) -> Failure {
    Failure::Refused(format!("no service {named} here uses the scheduler"))
}

/// The service that was named, or the only one.
pub(crate) fn service(tables: &mut Tables, named: Option<Identity>) -> Result<Identity, Failure> {
    let services = services(tables, named)?;
    match services.as_slice() {
        [] => Err(Failure::Refused(
            "no service here uses the scheduler".into(),
        )),
        [one] => Ok(one.identity),
        all => Err(Failure::Usage(format!(
            "{} services use the scheduler: name one with --service",
            all.len()
        ))),
    }
}

/// The server that the arguments name. With `force` and a port it need not be a server of the
/// service.
pub(crate) fn server(
    ipvs: &mut Ipvs,
    of: &Identity,
    meant: Server,
    force: bool,
) -> Result<SocketAddr, Failure> {
    let listed = ipvs.servers(of)?;
    let mut fitting = listed.iter().filter(|it| {
        it.address.ip() == meant.address && meant.port.is_none_or(|port| port == it.address.port())
    });
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.address),
        (Some(_), Some(_)) => Err(Failure::Usage(format!(
            "{of} has more than one server {}: name its port",
            meant.address
        ))),
        _ => match meant.port {
            Some(port) if force => Ok(SocketAddr::new(meant.address, port)),
            None if force => Err(Failure::Usage(
                "with --force a server needs its port".into(),
            )),
            _ => {
                let name = meant.port.map_or_else(
                    || meant.address.to_string(),
                    |port| SocketAddr::new(meant.address, port).to_string(),
                );
                Err(Failure::Refused(format!(
                    "{of} has no server {name} (--force sets it nevertheless)"
                )))
            }
        },
    }
}
