// SPDX-License-Identifier: GPL-2.0

//! The reasons for which a connection does not go to the server that its destination had.

/// A reason. Each decision of the scheduler that is not a hit has one.
pub(crate) struct Miss {
    /// As the module counts it.
    pub(crate) name: &'static str,
    /// In a few words.
    pub(crate) means: &'static str,
}

pub(crate) const ALL: [Miss; 7] = [
    Miss {
        name: "unknown",
        means: "new destination, or forgotten",
    },
    Miss {
        name: "expired",
        means: "idle longer than the expiration",
    },
    Miss {
        name: "unavailable",
        means: "its server was removed",
    },
    Miss {
        name: "weight0",
        means: "its server has the weight 0",
    },
    Miss {
        name: "overloaded",
        means: "its server is over its weight",
    },
    Miss {
        name: "threshold",
        means: "its server is at its threshold",
    },
    Miss {
        name: "none",
        means: "REFUSED: no server can take it",
    },
];
