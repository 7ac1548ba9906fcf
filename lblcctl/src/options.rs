// SPDX-License-Identifier: GPL-2.0

//! The command line.

use clap::{error::ErrorKind, ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use liblblc::{identity::Identity, tables::Filter};
use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

/// Shows, changes, saves and restores which server each destination of the IPVS scheduler lblc_rs
/// goes to.
#[derive(Parser)]
#[command(version, after_help = "See lblcctl(8).")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// The service, for example "FWM 1" or "TCP 192.0.2.1:80"
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) service: Option<Identity>,

    /// Print JSON
    #[arg(short, long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show services with their counters, or destinations
    Show {
        /// What to show; a filter means destinations
        #[arg(value_enum, default_value = "services")]
        what: What,
        #[command(flatten)]
        filter: FilterOptions,
    },
    /// Show the server of one destination
    Get {
        /// Its address
        destination: IpAddr,
    },
    /// Set the server of one destination, or of many
    #[command(group(ArgGroup::new("input").required(true).args(["destination", "batch"])))]
    Set {
        /// Its address
        #[arg(requires = "server")]
        destination: Option<IpAddr>,
        /// The server; without a port, the only one of this address
        server: Option<Server>,
        /// How long ago the destination was last used
        #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
        idle: Duration,
        /// Read lines of destination, server and idle time from a file, or from stdin if it is -
        #[arg(long, value_name = "FILE", conflicts_with_all = ["idle", "force"])]
        batch: Option<PathBuf>,
        /// Keep destinations that were used more recently
        #[arg(long)]
        keep_newer: bool,
        /// Set it even if the service does not have the server
        #[arg(long)]
        force: bool,
    },
    /// Move the destinations of a server to another one
    Move {
        /// The server that has them; without a port, each of this address
        #[arg(long, value_name = "SERVER")]
        from: Server,
        /// The server that gets them; without a port, the only one of this address
        #[arg(long, value_name = "SERVER")]
        to: Server,
        /// Only destinations of this prefix
        #[arg(long, value_name = "ADDRESS/LENGTH")]
        prefix: Option<Prefix>,
        /// Only destinations that were last used at least this many seconds ago
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        idle: Option<Duration>,
        /// Move them even if a service does not have the server
        #[arg(long)]
        force: bool,
    },
    /// Forget destinations
    Del {
        /// Their addresses
        destinations: Vec<IpAddr>,
        #[command(flatten)]
        filter: FilterOptions,
    },
    /// Forget all destinations
    Flush,
    /// Print the destinations of all services, or write them to a file
    Save {
        /// The file, which is replaced when all of them are read
        file: Option<PathBuf>,
    },
    /// Set the destinations that were saved
    Restore {
        /// The file, or stdin if it is - or missing
        file: Option<PathBuf>,
        /// Keep destinations that were used more recently
        #[arg(long)]
        keep_newer: bool,
        /// Leave out services that are not here
        #[arg(long)]
        existing: bool,
    },
    /// Print changes as they happen
    Monitor,
    /// Load the module that is installed in the place of the one that is loaded
    Reload {
        /// The scheduler that the services have meanwhile
        #[arg(long, value_name = "NAME", default_value = "wlc")]
        scheduler: String,
        /// The file of a module to load if the one that is installed cannot be loaded
        #[arg(long, value_name = "FILE")]
        old: Option<PathBuf>,
        /// Reload even if both are the same version
        #[arg(long)]
        force: bool,
        /// Complete a reload that could not be completed before
        #[arg(long, conflicts_with_all = ["scheduler", "old", "force"])]
        resume: bool,
    },
    /// Print a script that completes this program's arguments in a shell
    Completion {
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Services,
    Entries,
}

#[derive(Args)]
pub(crate) struct FilterOptions {
    /// Destinations of this server; without a port, of each of this address
    #[arg(long, value_name = "SERVER")]
    server: Option<Server>,
    /// Destinations of this prefix
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    prefix: Option<Prefix>,
    /// Destinations that were last used at least this many seconds ago
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle: Option<Duration>,
    /// Destinations whose server was removed from the service
    #[arg(long)]
    removed: bool,
}

impl FilterOptions {
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            server: self.server.map(|it| it.address),
            port: self.server.and_then(|it| it.port),
            prefix: self.prefix.map(|it| (it.0, it.1)),
            idle: self.idle,
            removed: self.removed,
        }
    }
}

/// An address, with a port or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: IpAddr,
    pub(crate) port: Option<u16>,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(it) = text.parse::<SocketAddr>() {
            return Ok(Self {
                address: it.ip(),
                port: Some(it.port()),
            });
        }
        let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        match bare.unwrap_or(text).parse() {
            Ok(address) => Ok(Self {
                address,
                port: None,
            }),
            Err(_) => Err("a server is an address, address:port or [address]:port".into()),
        }
    }
}

/// A prefix: an address, and the number of its bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(pub(crate) IpAddr, pub(crate) u8);

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a prefix is an address, a slash and a number of bits".to_owned();
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            "" if !text.contains('/') => most,
            _ => length
                .parse()
                .ok()
                .filter(|it| *it <= most)
                .ok_or_else(wrong)?,
        };
        Ok(Self(address, length))
    }
}

/// The longest idle time that the kernel takes: 2^40 ms.
const LONGEST: f64 = (1u64 << 40) as f64 / 1000.0;

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds is needed".into()),
    }
}

/// The options; or the exit status, after a line with the error was printed.
pub(crate) fn parse() -> Result<Options, ExitCode> {
    Options::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::FAILURE
        }
        _ => {
            let text = error.to_string();
            // Missing arguments are in the lines below.
            let lines = text.lines().map(str::trim).take_while(|it| !it.is_empty());
            let line = lines.collect::<Vec<_>>().join(" ");
            let line = line.trim_start_matches("error: ");
            let _ = writeln!(io::stderr(), "lblcctl: {line} (see lblcctl --help)");
            ExitCode::FAILURE
        }
    })
}
