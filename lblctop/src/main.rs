// SPDX-License-Identifier: GPL-2.0

//! lblctop(8): is the locality of `ip_vs_lblc_rs` working, and if not, why not?

#![forbid(unsafe_code)]

mod app;
mod counters;
mod detail;
mod figures;
mod filter;
mod json;
mod list;
mod misses;
mod model;
mod moves;
mod options;
mod prometheus;
mod screen;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod textfile;
mod verdict;

use liblblc::ipvs;
use model::View;
use options::{Options, Output};
use source::{Source, Trouble};
use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
};

fn main() -> ExitCode {
    let options = match options::parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            // The standard error may be closed.
            let _ = writeln!(io::stderr(), "lblctop: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Trouble> {
    let dropin = "/sys/module/ip_vs_lblc_rs/parameters/dropin";
    let mut source = Source::new("/proc/net", dropin, ipvs::read).by_netlink();
    match options.output() {
        Output::Screen => app::run(source, options),
        Output::Once => {
            options.find(&source.read()?.some()?)?;
            let view = after(&mut source, options)?.some()?;
            let chosen = options.find(&view)?;
            print(&screen::plain(&view, chosen))
        }
        Output::Json => {
            source.read()?;
            print(&json::text(&after(&mut source, options)?))
        }
        Output::Prometheus => print(&metrics(&mut source, options)?),
        Output::Textfile(path) => textfile::replace(path, metrics(&mut source, options)),
    }
}

fn metrics(source: &mut Source, options: &Options) -> Result<String, Trouble> {
    source.read()?;
    Ok(prometheus::text(&after(source, options)?))
}

/// The view after an interval.
fn after(source: &mut Source, options: &Options) -> Result<View, Trouble> {
    thread::sleep(options.interval());
    source.read()
}

/// Prints to stdout; a reader that has closed it is no error.
fn print(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Trouble::Output(error)),
        _ => Ok(()),
    }
}
