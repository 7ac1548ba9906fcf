// SPDX-License-Identifier: GPL-2.0

//! The state that a reload of the module must restore, and the file that keeps it meanwhile: the
//! output of `lblcctl save`, and everything else in comments.
//!
//! ```text
//! # parameter dropin=Y
//! # sysctl lblc_expiration 86400
//! # scheduler lblc_rs FWM 1
//! FWM 1 entries 1 buckets 1024 max 262144 expiration 86400 bytes 8320
//!   198.18.0.7 10.0.11.2:80 12
//! ```

use crate::{
    failure::Failure,
    restore::{self, Part},
};
use liblblc::identity::Identity;
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const FOLDER: &str = "/run/lblcctl";
const SYSCTLS: &str = "/proc/sys/net/ipv4/vs";
const PARAMETERS: &str = "/sys/module/ip_vs_lblc_rs/parameters";

/// The file of a reload that is not complete.
pub(crate) fn path() -> PathBuf {
    Path::new(FOLDER).join("reload")
}

/// A service that uses the scheduler, by one of its names (`lblc_rs` or `lblc`).
pub(crate) struct Bound {
    pub(crate) service: Identity,
    pub(crate) scheduler: String,
}

pub(crate) struct Plan {
    /// In the form of modprobe's arguments.
    pub(crate) parameters: Vec<String>,
    sysctls: Vec<(String, String)>,
    pub(crate) bound: Vec<Bound>,
    pub(crate) parts: Vec<Part>,
}

impl Plan {
    /// Reads the module's parameters and sysctls; `saved` is the output of `lblcctl save`.
    pub(crate) fn new(bound: Vec<Bound>, saved: &[u8]) -> Result<Self, Failure> {
        let files = |folder: &str, begins: &str| -> Vec<(String, String)> {
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            let files = files.filter_map(|it| {
                let name = it.file_name().into_string().ok()?;
                let value = fs::read_to_string(it.path()).ok()?;
                let is_ours = name.starts_with(begins);
                is_ours.then(|| (name, value.trim().to_owned()))
            });
            files.collect()
        };
        let parameters = files(PARAMETERS, "").into_iter();
        Ok(Self {
            parameters: parameters
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            sysctls: files(SYSCTLS, "lblc_"),
            bound,
            parts: restore::parse(saved, None)?,
        })
    }

    /// Reads the file of a reload that is not complete, and adds its age to the idle times.
    pub(crate) fn read() -> Result<Self, Failure> {
        let path = path();
        let read = || -> io::Result<_> {
            let age = SystemTime::now().duration_since(fs::metadata(&path)?.modified()?);
            Ok((fs::read(&path)?, age.unwrap_or_default()))
        };
        let (text, age) = read().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Failure::Refused("there is no reload that has not ended".into())
            }
            _ => Failure::file(&path, &error),
        })?;
        let mut plan = Self {
            parameters: Vec::new(),
            sysctls: Vec::new(),
            bound: Vec::new(),
            parts: restore::parse(&text, None)?,
        };
        plan.grow(age);
        for line in String::from_utf8_lossy(&text).lines() {
            let Some(line) = line.strip_prefix("# ") else {
                continue;
            };
            match line.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
                ["parameter", it] => plan.parameters.push((*it).to_owned()),
                ["sysctl", name, value] => {
                    plan.sysctls.push(((*name).to_owned(), (*value).to_owned()))
                }
                ["scheduler", name, service] => plan.bound.push(Bound {
                    service: service.parse().map_err(Failure::Usage)?,
                    scheduler: (*name).to_owned(),
                }),
                _ => {}
            }
        }
        Ok(plan)
    }

    /// Writes the file, which must not exist yet; `saved` is the output of `lblcctl save`.
    pub(crate) fn write(&self, saved: &[u8]) -> Result<(), Failure> {
        let mut text = String::new();
        for it in &self.parameters {
            text += &format!("# parameter {it}\n");
        }
        for (name, value) in &self.sysctls {
            text += &format!("# sysctl {name} {value}\n");
        }
        for it in &self.bound {
            text += &format!("# scheduler {} {}\n", it.scheduler, it.service);
        }
        let path = path();
        let write = || {
            let mut folder = fs::DirBuilder::new();
            folder.recursive(true).mode(0o700).create(FOLDER)?;
            crate::show::replace(&path, &[text.as_bytes(), saved].concat())
        };
        write().map_err(|error| Failure::file(&path, &error))
    }

    /// Adds to all idle times.
    pub(crate) fn grow(&mut self, by: Duration) {
        for part in &mut self.parts {
            for entry in &mut part.entries {
                entry.idle += by;
            }
        }
    }

    /// Sets the sysctls that have other values now; returns those that could not be set.
    pub(crate) fn set_sysctls(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for (name, value) in &self.sysctls {
            let path = Path::new(SYSCTLS).join(name);
            let now = fs::read_to_string(&path).unwrap_or_default();
            if now.trim() != value && fs::write(&path, value).is_err() {
                failed.push(format!("net.ipv4.vs.{name}={value}"));
            }
        }
        failed
    }
}

/// A file of the module that was loaded before an upgrade of its package.
pub(crate) fn old_module() -> Option<PathBuf> {
    let files = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let mut files = files.map(|it| it.path());
    files.find(|it| {
        let name = it.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("ip_vs_lblc_rs.ko")
    })
}
