# SPDX-License-Identifier: GPL-2.0
"""The cases of scripts/test-install that need a running machine. lblc.step=NAME on the kernel's command
line says which."""

import os
import re
import sys
import traceback

import operations
import verdict
from harness import eq, has, ksft, loaded, run
from lab import key

SAMPLES = "/usr/share/doc/ip-vs-lblc-rs-common/examples"
MODULE, FILE = "ip_vs_lblc_rs", "/proc/net/ip_vs_lblc_rs"
CONFIGURED = {"ip_vs_lblc_rs-modules.conf": "/etc/modules-load.d/ip_vs_lblc_rs.conf",
              "ip_vs_lblc_rs-sysctl.conf": "/etc/sysctl.d/ip_vs_lblc_rs.conf",
              "ip_vs_lblc_rs-dropin.conf": "/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf",
              "ipvsadm.rules": "/etc/ipvsadm.rules"}
RELEASE = os.uname().release


def the_machine_is_up():
    state = run("systemctl is-system-running --wait", check=False).stdout.strip()
    assert state == "running", run("systemctl --failed --no-legend")


def nothing_of_ours_is_there():
    assert MODULE not in loaded() and not os.path.exists(FILE)
    assert run(f"modprobe {MODULE}", check=False).returncode != 0
    eq(files_of_ours(), [], "the files that are left")
    assert not re.search(MODULE, open(f"/lib/modules/{RELEASE}/modules.dep").read())
    eq(operations.packages(), [], "the packages that are installed")


def files_of_ours():
    patterns = ("*lblc_rs*", "*lblc-rs*", "lblctop*", "lblcctl*", "lblc.prom")
    names = " -o ".join(f"-name '{pattern}'" for pattern in patterns)
    return run(r"find / -xdev \( -path /proof -o -path /var/lib/dpkg \) -prune -o"
               rf" \( {names} \) -print").splitlines()


def the_module_loads_by_its_name_and_by_its_use():
    run(f"modprobe {MODULE}")
    run(f"rmmod {MODULE}")
    run("ipvsadm -A -f 7 -s lblc_rs")
    assert MODULE in loaded()
    run("ipvsadm -D -f 7")
    version = run("dpkg-query -W -f '${Version}' ip-vs-lblc-rs-common")
    assert open(f"/sys/module/{MODULE}/version").read().strip() == version


def the_other_programs_are_installed():
    run("apt-get install -y /proof/build/deb/lblcctl_*.deb")


def the_samples_are_put_in_etc():
    for sample, path in CONFIGURED.items():
        run(f"cp {SAMPLES}/{sample} {path}")
    run("sed -i 's/^AUTO=.*/AUTO=\"true\"/' /etc/default/ipvsadm")


def the_service_is_up_after_the_boot():
    assert run("systemctl is-active ipvsadm") == "active"
    assert MODULE in loaded() and "ip_vs_lblc" not in loaded()
    assert "FWM  00000001 lblc_rs" in open("/proc/net/ip_vs").read()
    # The drop-in has both names.
    run("ipvsadm -A -f 7 -s lblc")
    run("ipvsadm -D -f 7")
    assert "ip_vs_lblc" not in loaded()
    assert run("sysctl -n net.ipv4.vs.lblc_expiration") == "3600"
    assert run("sysctl -n net.ipv4.vs.lblc_rs_max_entries") == "100000"


def each_destination_keeps_its_server():
    """Real requests through the service that was there since the boot, in the network of lab.py."""
    network = operations.network()
    keys = [key(number) for number in range(30)]
    # Held open, so that the servers have load and the keys are spread.
    first = [network.hold(key)[0].server for key in keys]
    assert set(first) == {"s1", "s2", "s3"}, first
    for _ in range(3):
        assert [network.ask(key) for key in keys] == first
    shown = open(FILE).read()
    assert all(f" {key} 10.0.1{server[1]}.2:" in shown for key, server in zip(keys, first)), shown
    for connection in network.conns:
        connection.close()


def apt_removes_the_packages_from_a_stopped_director():
    run("systemctl stop ipvsadm; ipvsadm -C")
    names = " ".join(operations.packages())
    run(f"apt-get remove -y {names}", env=operations.QUIET)
    kept = ("/etc/", "/var/lib/systemd/")
    eq([path for path in files_of_ours() if not path.startswith(kept)], [], "the files that are left")
    eq(run("systemctl list-units --no-legend 'lblctop*.timer'"), "", "our timers")
    # The drop-in is still there: lblc is C's again.
    assert MODULE not in loaded()
    run("ipvsadm -A -f 7 -s lblc")
    assert "ip_vs_lblc" in loaded()
    run("ipvsadm -C")
    run("rmmod ip_vs_lblc")
    for path in CONFIGURED.values():
        os.unlink(path)
    run(f"apt-get purge -y {names}", env=operations.QUIET)


def a_module_whose_key_is_not_enrolled_is_refused():
    """DKMS signs with a key of its own; here the kernel requires a key that it knows."""
    eq(verdict.read("/sys/module/module/parameters/sig_enforce").strip(), "Y", "sig_enforce")
    has(open("/sys/kernel/security/lockdown").read(), "[integrity]")
    eq(run(f"modinfo -F signer {MODULE}"), "DKMS module signing key", "the signer")
    said = "Key was rejected by service"
    has(open("/proof/docs/install.md").read(), f"`modprobe` says `{said}`")
    done = run(f"modprobe {MODULE}", check=False)
    eq(done.stderr, f"modprobe: ERROR: could not insert '{MODULE}': {said}\n", "what modprobe says")
    # As at boot: the machine is up, but for what needs the module.
    eq(run("systemctl is-system-running --wait", check=False).stdout.strip(), "degraded")
    has(run("systemctl --failed --no-legend"), "systemd-modules-load.service")
    # What the unit has said: the journal of this boot may have been rotated since.
    has(run("/usr/lib/systemd/systemd-modules-load", check=False).stderr, f"'{MODULE}': {said}")


def without_the_module_lblc_is_cs():
    run(f"cp {SAMPLES}/ip_vs_lblc_rs-dropin.conf {CONFIGURED['ip_vs_lblc_rs-dropin.conf']}")
    run("ipvsadm -A -f 7 -s lblc")
    assert "ip_vs_lblc" in loaded() and MODULE not in loaded()
    run("ipvsadm -C")
    tainted = int(verdict.read("/proc/sys/kernel/tainted"))
    assert tainted == 0, tainted


def this_is_secure_boot():
    variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    if not os.path.exists(variable):
        run("mount -t efivarfs efivarfs /sys/firmware/efi/efivars")
    assert open(variable, "rb").read()[4] == 1
    assert "[integrity]" in open("/sys/kernel/security/lockdown").read()
    assert open("/sys/module/module/parameters/sig_enforce").read().strip() == "Y"
    assert "MOK of this machine" in run("cat /proc/keys")


def without_a_known_signature_it_is_refused():
    run("modprobe ip_vs")
    for name in ("unsigned", "stranger"):
        done = run(f"insmod /root/keys/{name}.ko", check=False)
        assert done.returncode != 0 and "Key was rejected" in done.stderr, done
        assert MODULE not in loaded()


def with_the_owners_signature_it_loads_and_works():
    assert "MOK of this machine" in run(f"modinfo -F signer {MODULE}")
    run("ipvsadm -A -f 7 -s lblc_rs")
    assert MODULE in loaded()
    run("ipvsadm -D -f 7")


def the_kernel_holds_it_for_signed():
    assert verdict.taints() == [f"tainted is {verdict.OUT_OF_TREE}, not {verdict.OUT_OF_TREE | verdict.UNSIGNED}"]


def the_kernel_is_unharmed():
    assert not verdict.taints(), verdict.taints()


STEPS = {
    "install": [the_machine_is_up, nothing_of_ours_is_there,
                operations.the_readmes_packages_are_installed,
                the_module_loads_by_its_name_and_by_its_use, operations.the_readmes_cache_has_hits,
                the_other_programs_are_installed, the_samples_are_put_in_etc,
                the_kernel_is_unharmed],
    "operate": [the_machine_is_up, the_service_is_up_after_the_boot,
                each_destination_keeps_its_server, operations.the_timer_writes_metrics,
                operations.the_unit_writes_them_anew,
                operations.without_the_module_the_unit_fails_and_says_so,
                operations.a_lblctop_that_is_killed_or_missing_leaves_no_old_metrics,
                operations.an_upgrade_says_that_a_reload_is_due,
                operations.lblcctl_reload_takes_it_into_use_and_keeps_the_table,
                operations.with_reload_yes_the_upgrade_does_it, the_kernel_is_unharmed],
    "service": [the_machine_is_up, the_service_is_up_after_the_boot, each_destination_keeps_its_server,
                the_kernel_is_unharmed],
    "remove": [the_machine_is_up, the_service_is_up_after_the_boot,
               apt_removes_the_packages_from_a_stopped_director, nothing_of_ours_is_there, the_kernel_is_unharmed],
    "fallback": [the_machine_is_up, without_the_module_lblc_is_cs],
    "unenrolled": [a_module_whose_key_is_not_enrolled_is_refused, without_the_module_lblc_is_cs],
    "signed": [this_is_secure_boot, without_a_known_signature_it_is_refused,
               with_the_owners_signature_it_loads_and_works, the_kernel_holds_it_for_signed],
}
step = re.search(r"lblc\.step=(\w+)", open("/proc/cmdline").read())[1]
sys.stdout.reconfigure(line_buffering=True)
ksft.print_header()
ksft.set_plan(len(STEPS[step]))
for case in STEPS[step]:
    try:
        case()
    except Exception as error:  # whatever it is, it is this case's failure
        for text in f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-2)}".splitlines():
            ksft.print_msg(text)
        ksft.test_result_fail(case.__name__)
    else:
        ksft.test_result_pass(case.__name__)
ksft.finished()
