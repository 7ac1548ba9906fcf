// SPDX-License-Identifier: GPL-2.0

//! Errors, and their exit status.

use liblblc::{
    netlink::Error,
    tables::{is_loaded, FAMILY},
};
use std::{
    fmt,
    io::{self, ErrorKind},
    path::Path,
    process::ExitCode,
};

#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line, or the input, is wrong: 1.
    Usage(String),
    /// The kernel refused it, or the state here does not allow it: 2.
    Refused(String),
    /// The reader of the output has closed it: success, without a message.
    Closed,
}

impl Failure {
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(1),
            Self::Refused(_) => ExitCode::from(2),
            Self::Closed => ExitCode::SUCCESS,
        }
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::Refused(format!("{}: {error}", path.display()))
    }

    /// The same error, with `more` after its message.
    pub(crate) fn and(self, more: &str) -> Self {
        match self {
            Self::Usage(what) => Self::Usage(format!("{what}{more}")),
            Self::Refused(what) => Self::Refused(format!("{what}{more}")),
            Self::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) | Self::Refused(what) => write!(f, "{what}"),
            Self::Closed => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(match error {
            Error::NoFamily(name) if name == FAMILY && is_loaded() => {
                "the module that is loaded has no netlink interface: it is older than 0.2.0".into()
            }
            Error::NoFamily(name) if name == FAMILY => {
                "the module is not loaded: modprobe ip_vs_lblc_rs".into()
            }
            error @ Error::Refused(..) if error.kind() == ErrorKind::PermissionDenied => {
                format!("{error}: this needs CAP_NET_ADMIN")
            }
            Error::Refused(..) => format!("the kernel refused it: {error}"),
            error => error.to_string(),
        })
    }
}

/// An error of the standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Refused(error.to_string()),
        }
    }
}
