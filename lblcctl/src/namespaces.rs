// SPDX-License-Identifier: GPL-2.0

//! The other network namespaces that have services of the scheduler.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

/// One line for each service, with its counters.
const STATS: &str = "/proc/thread-self/net/ip_vs_lblc_rs_stats";

/// The names and paths of all network namespaces: those of `ip netns`, and then those of processes.
fn all() -> Vec<(String, PathBuf)> {
    let names = |folder: &str| {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.filter_map(|it| it.file_name().into_string().ok())
    };
    let named = names("/run/netns").map(|it| (it.clone(), Path::new("/run/netns").join(it)));
    let processes = names("/proc").filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    let processes = processes.map(|it| {
        let folder = Path::new("/proc").join(&it);
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        // Any user chooses the names of processes, which must not control the terminal.
        let what = format!("that of process {it} ({})", name.trim().escape_debug());
        (what, folder.join("ns/net"))
    });
    named.chain(processes).collect()
}

/// The number of services of the scheduler in a namespace; 0 if its files cannot be read.
fn services(of: &Path) -> usize {
    let mut inside = std::ffi::OsString::from("--net=");
    inside.push(of);
    let done = Command::new("nsenter")
        .arg(inside)
        .args(["cat", STATS])
        .output();
    let text = done.map(|it| it.stdout).unwrap_or_default();
    text.split(|it| *it == b'\n')
        .filter(|it| !it.is_empty())
        .count()
}

/// The other namespaces with services, as text.
pub(crate) fn with_services() -> Vec<String> {
    let identity = |path: &Path| -> io::Result<_> {
        let it = fs::metadata(path)?;
        Ok((it.dev(), it.ino()))
    };
    let mut seen: HashSet<_> = identity(Path::new("/proc/self/ns/net"))
        .into_iter()
        .collect();
    let mut found = Vec::new();
    for (name, path) in all() {
        if !identity(&path).is_ok_and(|it| seen.insert(it)) {
            continue;
        }
        let number = services(&path);
        if number > 0 {
            found.push(format!(
                "services of the network namespace {name}: {number}"
            ));
        }
    }
    found
}
