// SPDX-License-Identifier: GPL-2.0

//! The live upgrade: the module is loaded anew while its services run.
//!
//! The services get another scheduler meanwhile, so open connections go on and new ones are
//! scheduled. A file keeps their destinations from before the first change until all of them are
//! restored. A step that fails is undone; if it cannot be undone, the message says how to complete
//! the reload later.

use crate::{
    failure::Failure,
    namespaces,
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
        let mut others = namespaces::with_services().join(", ");
        if others.is_empty() {
            others = "programs that read its tables, or services of a network namespace without a \
                      name and without a process"
                .into();
        }
        return Err(Failure::Refused(format!(
            "the module has {} more users than the services here: {others}; nothing was changed",
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
            "a reload has not ended, and {} has its services: lblcctl reload --resume completes \
             it, or remove the file",
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
    let undone = match replace(&mut ipvs, &plan, options) {
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
    let (ended, undone) = match (finish(&plan), undone) {
        (Err(failure), None) => {
            let since = Instant::now();
            // The new version does not take the destinations.
            let why = back(&plan, options, failure)?;
            plan.grow(since.elapsed());
            (finish(&plan), Some(why))
        }
        (ended, undone) => (ended, undone),
    };
    ended.map_err(|failure| failure.and(&later()))?.report()?;
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

/// Gives the services another scheduler, and unloads the module.
fn remove(plan: &Plan, ipvs: &mut Ipvs, scheduler: &str) -> Result<(), String> {
    let bound: HashSet<_> = plan.bound.iter().map(|it| it.service).collect();
    let mut services = ipvs.services().map_err(|error| error.to_string())?;
    services.retain(|it| bound.contains(&it.identity));
    for service in &services {
        // A service that was deleted meanwhile needs no scheduler.
        let set = ipvs.set_scheduler(service, scheduler);
        if let Err(error) = set.or_else(gone) {
            let name = service.identity;
            return Err(format!(
                "{name} cannot have the scheduler {scheduler}: {error}"
            ));
        }
    }
    say!("{} services have the scheduler {scheduler}", services.len());
    unload()?;
    say!("the module is unloaded");
    Ok(())
}

/// Replaces the module.
fn replace(ipvs: &mut Ipvs, plan: &Plan, options: &Reload) -> Result<(), Trouble> {
    remove(plan, ipvs, &options.scheduler).map_err(Trouble::Undone)?;
    let parameters = plan.parameters.iter().map(String::as_str);
    let arguments: Vec<_> = [MODULE].into_iter().chain(parameters.clone()).collect();
    let Err(why) = run("modprobe", &arguments) else {
        return Ok(());
    };
    match options.old.clone().or_else(plan::old_module) {
        None => Err(Trouble::Gone(why)),
        Some(old) => match insert(&old, plan) {
            Ok(()) => Err(Trouble::Undone(why)),
            Err(too) => Err(Trouble::Gone(format!("{why}; {too}"))),
        },
    }
}

/// Loads the module of a file.
fn insert(file: &Path, plan: &Plan) -> Result<(), String> {
    let file = file.to_string_lossy();
    let parameters = plan.parameters.iter().map(String::as_str);
    let arguments: Vec<_> = [&*file].into_iter().chain(parameters).collect();
    run("insmod", &arguments).map(|_| ())
}

/// Loads the old version again, after [`finish()`] has failed with the new one. Returns why; fails
/// if there is no old version, or it cannot be loaded.
fn back(plan: &Plan, options: &Reload, failure: Failure) -> Result<String, Failure> {
    let Some(old) = options.old.clone().or_else(plan::old_module) else {
        return Err(failure.and(&later()));
    };
    let why = failure.to_string();
    let version = sysfs("version");
    say!("{version} does not take the destinations of the services: {why}");
    let undo = || -> Result<(), Failure> {
        remove(plan, &mut Ipvs::open()?, &options.scheduler).map_err(Failure::Refused)?;
        insert(&old, plan).map_err(Failure::Refused)
    };
    match undo() {
        Ok(()) => Ok(why),
        Err(too) => Err(Failure::Refused(format!("{why}; {too}{}", later()))),
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

/// The end of a message about a reload that is not complete.
fn later() -> String {
    format!(
        "; {} has the destinations of the services: lblcctl reload --resume tries again",
        plan::path().display()
    )
}

/// What could not be restored although all steps were done.
struct Ended {
    sysctls: Vec<String>,
    no_room: Vec<String>,
}

impl Ended {
    fn report(self) -> Result<(), Failure> {
        if !self.no_room.is_empty() {
            let what = format!("no room for {}", self.no_room.join(", "));
            return Err(Failure::Refused(what + &later()));
        }
        if !self.sysctls.is_empty() {
            return Err(Failure::Refused(format!(
                "these sysctls could not be set again: {}",
                self.sysctls.join(" ")
            )));
        }
        Ok(())
    }
}

/// Completes a reload after a module was loaded: sysctls, schedulers, destinations.
fn finish(plan: &Plan) -> Result<Ended, Failure> {
    let mut ended = Ended {
        sysctls: plan.set_sysctls(),
        no_room: Vec::new(),
    };
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
                Failure::Refused(what)
            })?;
        }
        back.push(it.service);
    }
    say!("{} services have their scheduler again", back.len());
    let mut tables = Tables::open()?;
    let here: HashSet<_> = back.into_iter().collect();
    let parts = plan.parts.iter().filter(|it| here.contains(&it.service));
    let mut known = 0;
    for part in parts {
        let done = restore::set(&mut tables, std::slice::from_ref(part), Mode::Replace)?;
        if done.failed > 0 {
            let what = format!("{} destinations of {}", done.failed, part.service);
            ended.no_room.push(what);
        }
        known += part.entries.len() as u64 - done.failed;
    }
    say!("{known} destinations are known again");
    if ended.no_room.is_empty() {
        // If this fails, the next reload reports it.
        let _ = fs::remove_file(plan::path());
    }
    Ok(ended)
}

/// Completes a reload that could not load a module, or could not restore the destinations. In the
/// second case another version may be installed now.
pub(crate) fn resume(scheduler: &str) -> Result<(), Failure> {
    ignore_signals();
    let plan = Plan::read()?;
    if is_loaded() && versions(false).is_ok() {
        let why = |why| Failure::Refused(why).and(&later());
        remove(&plan, &mut Ipvs::open()?, scheduler).map_err(why)?;
    }
    if !is_loaded() {
        let parameters = plan.parameters.iter().map(String::as_str);
        let arguments: Vec<_> = [MODULE].into_iter().chain(parameters).collect();
        run("modprobe", &arguments).map_err(Failure::Refused)?;
    }
    say!("{} is loaded", sysfs("version"));
    let ended = finish(&plan).map_err(|failure| failure.and(&later()))?;
    ended.report()
}
