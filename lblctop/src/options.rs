// SPDX-License-Identifier: GPL-2.0

//! The command line.

use crate::{model::View, source::Trouble};
use clap::{error::ErrorKind, Parser};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Shows what the IPVS scheduler lblc_rs does: is locality working, and if not, why not?
#[derive(Parser)]
#[command(version, after_help = "Key h shows the keys. See lblctop(8).")]
pub(crate) struct Options {
    /// Seconds between two refreshes
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    interval: Duration,

    /// The service to begin with, for example "FWM 1" or "TCP 192.0.2.1:80"
    #[arg(short, long, value_name = "NAME")]
    service: Option<String>,

    /// Print one screen as plain text, after one interval
    #[arg(long, group = "output")]
    once: bool,

    /// Print everything as JSON, after one interval
    #[arg(long, group = "output")]
    json: bool,

    /// Print everything for Prometheus' textfile collector, after one interval
    #[arg(long, group = "output")]
    prometheus: bool,

    /// Replace FILE, in the folder of Prometheus' textfile collector, by what --prometheus prints
    #[arg(long, group = "output", value_name = "FILE")]
    textfile: Option<PathBuf>,
}

/// The form of the output.
pub(crate) enum Output<'a> {
    Screen,
    Once,
    Json,
    Prometheus,
    Textfile(&'a Path),
}

impl Options {
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn output(&self) -> Output<'_> {
        if let Some(path) = &self.textfile {
            return Output::Textfile(path);
        }
        match (self.once, self.json, self.prometheus) {
            (true, ..) => Output::Once,
            (_, true, _) => Output::Json,
            (.., true) => Output::Prometheus,
            _ => Output::Screen,
        }
    }

    /// Whether a service was asked for.
    pub(crate) fn names_one(&self) -> bool {
        self.service.is_some()
    }

    /// The place in `view` of the service that was asked for, or the first one.
    pub(crate) fn find(&self, view: &View) -> Result<usize, Trouble> {
        let Some(name) = &self.service else {
            return Ok(0);
        };
        let found = view.services.iter().position(|it| same(&it.name, name));
        found.ok_or_else(|| Trouble::NoSuchService(name.clone(), view.names(5)))
    }
}

/// Whether a service of the first name is meant by the second one: `fwm1` is `FWM 1`.
fn same(name: &str, wanted: &str) -> bool {
    let letters = |it: &str| it.replace(' ', "").to_ascii_lowercase();
    letters(name) == letters(wanted)
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("it has to be from 0.1 to 3600".into()),
    }
}

/// The options; or the exit status, after a line with the error was printed.
pub(crate) fn parse() -> Result<Options, ExitCode> {
    Options::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            let line = line.trim_start_matches("error: ");
            let _ = writeln!(io::stderr(), "lblctop: {line} (see lblctop --help)");
            ExitCode::from(2)
        }
    })
}
