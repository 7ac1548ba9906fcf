// SPDX-License-Identifier: GPL-2.0

//! The lines of `/proc/net/ip_vs_lblc_rs`:
//!
//! ```text
//! FWM 1 entries 2 buckets 1024 max 262144 expiration 86400 bytes 8320
//!   198.18.0.7 10.0.11.2:80 12
//!   198.18.0.9 10.0.12.2:80 0 removed
//! ```

use crate::{
    identity::Identity,
    tables::{Entry, Service},
};
use std::{fmt, time::Duration};

/// A line that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The service to which the lines below belong.
    Service(Identity),
    Entry(Entry),
    /// Empty, or a comment that begins with `#`.
    Nothing,
}

impl Line {
    /// Parses a line. Of the line of a service only the name is used, and the rest may be missing.
    /// The idle time of an entry may be missing.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next().filter(|it| !it.starts_with('#')) else {
            return Ok(Self::Nothing);
        };
        if let Ok(key) = first.parse() {
            let server = words.next().ok_or("the server is missing")?;
            let wrong = |_| format!("\"{server}\" is no server: address:port or [address]:port is");
            let server = server.parse().map_err(wrong)?;
            let idle = match words.next() {
                None => 0,
                Some(word) => word
                    .parse()
                    .ok()
                    .filter(|it| *it <= LONGEST)
                    .ok_or_else(|| format!("\"{word}\" is no number of seconds"))?,
            };
            let removed = match words.next() {
                None => false,
                Some("removed") => true,
                Some(word) => return Err(format!("\"{word}\" is not known")),
            };
            if let Some(word) = words.next() {
                return Err(format!("\"{word}\" is not known"));
            }
            return Ok(Self::Entry(Entry {
                key,
                server,
                idle: Duration::from_secs(idle),
                removed,
            }));
        }
        let Some(second) = words
            .next()
            .filter(|_| first.chars().all(char::is_alphanumeric))
        else {
            return Err(format!(
                "\"{first}\" is neither a destination nor a service"
            ));
        };
        let identity = format!("{first} {second}").parse()?;
        // Names and values.
        while let Some(name) = words.next() {
            let value = words.next().map(str::parse::<u64>);
            if !matches!(value, Some(Ok(_))) {
                return Err(format!("\"{name}\" has no value"));
            }
        }
        Ok(Self::Service(identity))
    }
}

/// The longest idle time that the kernel takes: 2^40 ms.
const LONGEST: u64 = (1 << 40) / 1000;

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} entries {} buckets {} max {} expiration {} bytes {}",
            self.identity,
            self.entries,
            self.buckets,
            self.max_entries,
            self.expiration.as_secs(),
            self.bytes
        )
    }
}

/// Without the indentation below the service.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle.as_secs();
        write!(f, "{} {} {idle}", self.key, self.server)?;
        if self.removed {
            write!(f, " removed")?;
        }
        Ok(())
    }
}
