// SPDX-License-Identifier: GPL-2.0

//! The file that the textfile collector of Prometheus' node exporter reads.

use crate::{prometheus, source::Trouble};
use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Replaces the file atomically, so that a reader never sees a part of it: by the metrics or, if
/// the scheduler could not be read, by `lblc_up 0` alone. If that fails, the file is removed:
/// missing metrics can be noticed, old ones cannot.
pub(crate) fn replace(path: &Path, metrics: Result<String, Trouble>) -> Result<(), Trouble> {
    let (text, read) = match metrics {
        Ok(text) => (text, Ok(())),
        Err(trouble) => (prometheus::down(), Err(trouble)),
    };
    let mut new = OsString::from(path);
    // The collector reads files whose names end with ".prom".
    new.push(".new");
    let new = PathBuf::from(new);
    write(&new, &text)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| {
            let _ = fs::remove_file(&new);
            let _ = fs::remove_file(path);
            Trouble::Unwritable(path.into(), error)
        })?;
    read
}

/// Writes a file that was not there before. An ordinary user may own the folder: a link that is in
/// the place of the file is removed, not followed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(text.as_bytes())
}
