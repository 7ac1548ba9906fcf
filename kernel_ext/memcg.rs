// SPDX-License-Identifier: GPL-2.0

//! Memory cgroups: charging the allocations of a work item to the cgroup of the process for which
//! it works.
//!
//! C headers: [`include/linux/memcontrol.h`](srctree/include/linux/memcontrol.h),
//! [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h).

use crate::bindings;
use kernel::prelude::*;

/// A counted reference to a memory cgroup, or to none in a kernel without them.
///
/// # Invariants
///
/// `0` is null, or a `struct mem_cgroup` to which this value owns a reference.
pub(crate) struct MemCgroup(*mut c_void);

// SAFETY: A memory cgroup is not tied to a thread; its reference count is atomic.
unsafe impl Send for MemCgroup {}
// SAFETY: As above; `charge()` changes a field of the calling task only.
unsafe impl Sync for MemCgroup {}

impl MemCgroup {
    /// The memory cgroup of the current process. Process context.
    /// C: `get_mem_cgroup_from_mm()`.
    pub(crate) fn of_current() -> Self {
        // INVARIANT: `get_mem_cgroup_from_mm()` returns null or a new reference.
        // SAFETY: `get_mem_cgroup_from_mm()` accepts the `mm` of the current task, or null.
        Self(unsafe { bindings::lblc_rs_get_current_memcg() })
    }

    /// Calls `f`, whose allocations with `__GFP_ACCOUNT` are charged to this cgroup. Process
    /// context; `f` may sleep. C: `set_active_memcg()`.
    pub(crate) fn charge<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: By the type invariants `self.0` is null or a cgroup to which `self` owns a
        // reference, so it is valid until the scope ends below.
        let before = unsafe { bindings::lblc_rs_set_active_memcg(self.0) };
        let result = f();
        // SAFETY: `before` was the active cgroup of this task, and is valid for the scope around
        // this one.
        unsafe { bindings::lblc_rs_set_active_memcg(before) };
        result
    }
}

impl Drop for MemCgroup {
    /// Any context.
    fn drop(&mut self) {
        // SAFETY: By the type invariants `self` owns a reference, or `self.0` is null.
        unsafe { bindings::lblc_rs_put_memcg(self.0) };
    }
}
