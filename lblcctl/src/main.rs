// SPDX-License-Identifier: GPL-2.0

//! lblcctl(8): shows, changes, saves and restores the tables of `ip_vs_lblc_rs`.

#![forbid(unsafe_code)]

mod change;
mod choice;
mod failure;
mod monitor;
mod namespaces;
mod options;
mod plan;
mod reload;
mod restore;
mod show;
#[cfg(test)]
mod tests;

use clap::CommandFactory;
use failure::Failure;
use options::{Command, Options, What};
use reload::Reload;
use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let options = match options::parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::Closed) {
                // The standard error may be closed.
                let _ = writeln!(io::stderr(), "lblcctl: {failure}");
            }
            failure.status()
        }
    }
}

fn run(options: Options) -> Result<(), Failure> {
    let (service, json) = (options.service, options.json);
    match options.command {
        Command::Show { what, filter } => {
            let filter = filter.filter();
            match what {
                What::Services if filter.is_empty() => show::services(service, json),
                _ => show::entries(service, &filter, json),
            }
        }
        Command::Get { destination } => show::entry(service, destination, json),
        Command::Set {
            batch: Some(file),
            keep_newer,
            ..
        } => restore::batch(service, &file, keep_newer, json),
        Command::Set {
            destination: Some(destination),
            server: Some(server),
            idle,
            keep_newer,
            force,
            ..
        } => change::set(service, destination, server, idle, keep_newer, force, json),
        Command::Set { .. } => Err(Failure::Usage(
            "a destination and a server are needed".into(),
        )),
        Command::Move {
            from,
            to,
            prefix,
            idle,
            force,
        } => change::shift(service, from, to, prefix, idle, force, json),
        Command::Del {
            destinations,
            filter,
        } => change::delete(service, &destinations, &filter.filter(), json),
        Command::Flush => change::flush(service, json),
        Command::Save { file } => show::save(service, file.as_deref(), json),
        Command::Restore {
            file,
            keep_newer,
            existing,
        } => restore::restore(service, file.as_deref(), keep_newer, existing, json),
        Command::Monitor => monitor::monitor(service, json),
        Command::Reload {
            scheduler,
            resume: true,
            ..
        } => reload::resume(&scheduler),
        Command::Reload {
            scheduler,
            force,
            old,
            ..
        } => reload::reload(&Reload {
            scheduler,
            force,
            old,
        }),
        Command::Completion { shell } => {
            let mut command = Options::command();
            clap_complete::generate(shell, &mut command, "lblcctl", &mut io::stdout());
            Ok(())
        }
    }
}
