// SPDX-License-Identifier: GPL-2.0

//! The live upgrade: the module is loaded anew while its services run.
//!
//! The services get another scheduler meanwhile, so open connections go on and new ones are
//! scheduled. A file keeps their destinations from before the first change until all of them are
//! restored. A step that fails is undone; if it cannot be undone, the message says how to complete
//! the reload later.

use crate::{
    failure::Failure,
    plan::{self, Bound, Plan},
    restore, show,
};
use liblblc::{
    identity::Identity,
    ipvs::{Ipvs, Service},
    tables::{is_loaded, Mode, Tables},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{
    collections::{HashMap, HashSet},
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{atomic::AtomicBool, Arc},
    thread,
    time::{Duration, Instant},
};

const MODULE: &str = "ip_vs_lblc_rs";
const SYSFS: &str = "/sys/module/ip_vs_lblc_rs";
/// The time for which another program may be reading the tables.
const READERS: Duration = Duration::from_secs(1);
/// The time after which `rmmod` is not tried again: readers of the module's files and dumps hold a
/// reference to it.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Reload {
    pub(crate) scheduler: String,
    pub(crate) force: bool,
    pub(crate) old: Option<PathBuf>,
}

/// Prints a line. A closed standard output must not end a reload.
macro_rules! say {
    ($($what:tt)*) => {{
        let _ = writeln!(io::stdout(), $($what)*);
    }};
}

/// Runs a program; returns its output, or a line with the reason of its failure.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let path = env::var("PATH").unwrap_or_default();
    let done = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        let line = said.trim().lines().next_back().unwrap_or("failed");
        return Err(format!("{program} {}: {line}", arguments.join(" ")));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn sysfs(name: &str) -> String {
    let read = fs::read_to_string(Path::new(SYSFS).join(name));
    read.unwrap_or_default().trim().to_owned()
}

/// The version that is loaded, and the one that is installed. Fails if they are the same, unless
/// `force` is set.
fn versions(force: bool) -> Result<(String, String), Failure> {
    if !is_loaded() {
        let why = "the module is not loaded: modprobe ip_vs_lblc_rs";
        return Err(Failure::Refused(why.into()));
    }
    let field = |name: &str| run("modinfo", &["-F", name, MODULE]).map_err(Failure::Refused);
    let (loaded, installed) = (sysfs("version"), field("version")?);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let magic = field("vermagic")?;
    if magic.split(' ').next() != Some(release.trim()) {
        return Err(Failure::Refused(format!(
            "the module that is installed is for {magic}, not for {}",
            release.trim()
        )));
    }
    let same = loaded == installed && sysfs("srcversion") == field("srcversion")?;
    if same && !force {
        return Err(Failure::Refused(format!(
            "{loaded} is loaded and installed: there is nothing to do (--force reloads it)"
        )));
    }
    Ok((loaded, installed))
}

/// The services of this namespace that use the scheduler. Fails if the module has other users.
fn bound(tables: &mut Tables, ipvs: &mut Ipvs) -> Result<Vec<Service>, Failure> {
    let known = tables.services()?;
    let known: HashSet<Identity> = known.iter().map(|it| it.identity).collect();
    let mut services = ipvs.services()?;
    services.retain(|it| known.contains(&it.identity));
    let users = || sysfs("refcnt").parse::<usize>().unwrap_or_default();
    // Another program may be reading the tables at the moment, lblctop for example.
    let end = Instant::now() + READERS;
    while users() > services.len() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    let users = users();
    if users > services.len() {
        return Err(Failure::Refused(format!(
            "the module has {} more users than the services here: services of other network \
             namespaces, or programs that read its tables; nothing was changed",
            users - services.len()
        )));
    }
    Ok(services)
}

/// Ignores SIGHUP, SIGINT and SIGTERM, so that a reload that has begun is completed.
fn ignore_signals() {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // If this fails and a signal comes, the file still has all that `--resume` needs.
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
}

pub(crate) fn reload(options: &Reload) -> Result<(), Failure> {
    ignore_signals();
    let path = plan::path();
    if path.exists() {
        return Err(Failure::Refused(format!(
            "a reload has not ended, and {} has its services: lblcctl reload --resume",
            path.display()
        )));
    }
    let (loaded, installed) = versions(options.force)?;
    say!("{loaded} is loaded, {installed} is installed");
    let (mut tables, mut ipvs) = (Tables::open()?, Ipvs::open()?);
    let services = bound(&mut tables, &mut ipvs)?;
    let saved = show::saved(&mut tables, None, false)?;
    let since = Instant::now();
    drop(tables);
    let names = services.iter().map(|it| Bound {
        service: it.identity,
        scheduler: it.scheduler.clone(),
    });
    let mut plan = Plan::new(names.collect(), &saved)?;
    plan.write(&saved)?;
    let known: usize = plan.parts.iter().map(|it| it.entries.len()).sum();
    say!(
        "{}: {known} destinations of {} services",
        path.display(),
        services.len()
    );
    let undone = match replace(&services, &mut ipvs, &plan, options) {
        Ok(()) => {
            say!("{} is loaded", sysfs("version"));
            None
        }
        Err(Trouble::Undone(why)) => Some(why),
        Err(Trouble::Gone(why)) => {
            return Err(Failure::Refused(format!(
                "{why}; the services have the scheduler {} now, and {} has their destinations: \
                 when the module can be loaded, lblcctl reload --resume completes this",
                options.scheduler,
                path.display()
            )))
        }
    };
    plan.grow(since.elapsed());
    finish(&plan)?;
    match undone {
        None => {
            // The packages have kept the old module for this reload only.
            if let Some(old) = plan::old_module() {
                let _ = fs::remove_file(old);
            }
            Ok(())
        }
        Some(why) => Err(Failure::Refused(format!(
            "{why}; {} is loaded, with all destinations of the services",
            sysfs("version")
        ))),
    }
}

/// The reason why the new module is not loaded.
enum Trouble {
    /// The old module is loaded; services may have the other scheduler.
    Undone(String),
    /// No module is loaded.
    Gone(String),
}

/// Replaces the module.
fn replace(
    services: &[Service],
    ipvs: &mut Ipvs,
    plan: &Plan,
    options: &Reload,
) -> Result<(), Trouble> {
    let scheduler = &options.scheduler;
    for service in services {
        // A service that was deleted meanwhile needs no scheduler.
        let set = ipvs.set_scheduler(service, scheduler);
        if let Err(error) = set.or_else(gone) {
            let name = service.identity;
            return Err(Trouble::Undone(format!(
                "{name} cannot have the scheduler {scheduler}: {error}"
            )));
        }
    }
    say!("{} services have the scheduler {scheduler}", services.len());
    unload().map_err(Trouble::Undone)?;
    say!("the module is unloaded");
    let parameters = plan.parameters.iter().map(String::as_str);
    let arguments: Vec<_> = [MODULE].into_iter().chain(parameters.clone()).collect();
    let Err(why) = run("modprobe", &arguments) else {
        return Ok(());
    };
    let Some(old) = options.old.clone().or_else(plan::old_module) else {
        return Err(Trouble::Gone(why));
    };
    let file = old.to_string_lossy();
    let arguments: Vec<_> = [&*file].into_iter().chain(parameters).collect();
    match run("insmod", &arguments) {
        Ok(_) => Err(Trouble::Undone(why)),
        Err(too) => Err(Trouble::Gone(format!("{why}; {too}"))),
    }
}

/// No error if the service was deleted meanwhile.
fn gone(error: liblblc::netlink::Error) -> Result<(), liblblc::netlink::Error> {
    // ESRCH
    match &error {
        liblblc::netlink::Error::Refused(it, _) if it.raw_os_error() == Some(3) => Ok(()),
        _ => Err(error),
    }
}

/// Unloads the module, while another program may be reading its files and tables.
fn unload() -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match run("rmmod", &[MODULE]) {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Completes a reload after a module was loaded: sysctls, schedulers, destinations.
fn finish(plan: &Plan) -> Result<(), Failure> {
    let path = plan::path();
    let later = format!(
        "; {} has the destinations of the services: lblcctl reload --resume tries again",
        path.display()
    );
    let failed = plan.set_sysctls();
    let mut ipvs = Ipvs::open()?;
    let services = ipvs.services()?.into_iter();
    let services: HashMap<_, _> = services.map(|it| (it.identity, it)).collect();
    let mut back = Vec::new();
    for it in &plan.bound {
        let Some(service) = services.get(&it.service) else {
            continue;
        };
        if service.scheduler != it.scheduler {
            let set = ipvs.set_scheduler(service, &it.scheduler);
            set.or_else(gone).map_err(|error| {
                let what = format!("{} cannot have {}: {error}", it.service, it.scheduler);
                Failure::Refused(what + &later)
            })?;
        }
        back.push(it.service);
    }
    say!("{} services have their scheduler again", back.len());
    let mut tables = Tables::open().map_err(|error| Failure::from(error).and(&later))?;
    let here: HashSet<_> = back.into_iter().collect();
    let parts = plan.parts.iter().filter(|it| here.contains(&it.service));
    let mut known = 0;
    for part in parts {
        let set = restore::set(&mut tables, std::slice::from_ref(part), Mode::Replace);
        let done = set.map_err(|failure| failure.and(&later))?;
        if done.failed > 0 {
            let what = format!(
                "no room for {} destinations of {}",
                done.failed, part.service
            );
            return Err(Failure::Refused(what + &later));
        }
        known += part.entries.len();
    }
    say!("{known} destinations are known again");
    // If this fails, the next reload reports it.
    let _ = fs::remove_file(&path);
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Refused(format!(
            "these sysctls could not be set again: {}",
            failed.join(" ")
        ))),
    }
}

/// Completes a reload that could not load a module, or give services their scheduler.
pub(crate) fn resume() -> Result<(), Failure> {
    ignore_signals();
    let plan = Plan::read()?;
    if !is_loaded() {
        let parameters = plan.parameters.iter().map(String::as_str);
        let arguments: Vec<_> = [MODULE].into_iter().chain(parameters).collect();
        run("modprobe", &arguments).map_err(Failure::Refused)?;
    }
    say!("{} is loaded", sysfs("version"));
    finish(&plan)
}
