#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""docs/monitoring.md: Debian's node exporter serves what lblctop writes, Debian's Prometheus scrapes it and evaluates the
alerts and the dashboard."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from documents import TOP, blocks, follow
from harness import Skip, case, eq, ge, has, lacks, main, run, unload_all, wait_until
from lab import Lab, Traffic, key

lab = Lab()
RULES = TOP + "monitoring/lblc-rules.yml"
UNIT = TOP + "monitoring/lblctop-textfile.service"
SHARE = "/usr/share/ip_vs_lblc_rs"
CONFIG = "/etc/prometheus/prometheus.yml"
FILE = "/var/lib/prometheus/node-exporter/lblc.prom"
EXPORTER, PROMETHEUS = "http://127.0.0.1:9100", "http://127.0.0.1:9090"


def needs(*programs):
    for it in programs:
        if not shutil.which(it):
            raise Skip(f"there is no {it}")


def unit(key_of_unit):
    """The command of a line of the unit, with lblctop where this guest has it."""
    with open(UNIT) as file:
        line = re.search(rf"^{key_of_unit}=(.*)$", file.read(), re.M)[1]
    return line.replace("/usr/sbin/lblctop", shutil.which("lblctop"))


def collect(**more):
    """Runs the commands of the unit, which write the file, or remove it."""
    needs("lblctop")
    done = subprocess.run(unit("ExecStart"), shell=True, text=True, capture_output=True, **more)
    stop(done.returncode)
    return done


def stop(status):
    """Runs the command that the unit runs when its first one has ended with `status`."""
    run(unit("ExecStopPost"), env={**os.environ, "EXIT_STATUS": str(status)})


def served():
    """{name and labels: value} of the file."""
    with open(FILE) as file:
        lines = [line.rsplit(" ", 1) for line in file if not line.startswith("#")]
    return {series: float(value) for series, value in lines}


@contextlib.contextmanager
def program(url, *command):
    """Runs a program that listens, while its context is entered."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

        def listens():
            if process.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"{command[0]}: {log.read()[-2000:]}")
            with contextlib.suppress(OSError):
                return get(url)
            return None

        try:
            wait_until(listens, f"{command[0]} listens", 120)
            yield
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def ask(query):
    """The samples of an expression in Prometheus, as a list of (labels, value)."""
    try:
        answer = get(f"{PROMETHEUS}/api/v1/query?query={urllib.parse.quote(query)}")
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{query}: {error.read().decode()}") from error
    return [(it["metric"], float(it["value"][1])) for it in json.loads(answer)["data"]["result"]]


def alerts():
    """{name: state} of the alerts that fire or are pending."""
    answer = json.loads(get(f"{PROMETHEUS}/api/v1/alerts"))["data"]["alerts"]
    return {it["labels"]["alertname"]: it["state"] for it in answer}


@case
def the_alerts_pass_their_tests():
    needs("promtool")
    run(f"promtool check rules --lint=all --lint-fatal {RULES}")
    run(f"promtool test rules {TOP}tests/monitoring/lblc-rules.yml")


@case
def promtool_accepts_the_metrics():
    needs("promtool", "lblctop")
    lab.service()
    lab.service("rr", mark=2)
    lab.ask(key(1))
    run("lblctop --prometheus --interval 0.1 | promtool check metrics", executable="/bin/bash")
    eq(run("lblctop --prometheus --interval 0.1 | promtool check metrics 2>&1"), "", "what promtool says")


@case
def every_metric_is_in_the_page():
    lab.service()
    lab.service("rr", mark=2)
    collect()
    with open(TOP + "docs/monitoring.md") as file:
        page = file.read().split("## The metrics")[1].split("\n## ")[0]
    with open(FILE) as file:
        names = set(re.findall(r"^# HELP (\w+)", file.read(), re.M))
    eq(set(re.findall(r"`(lblc_\w+)`(?=[^|]*\|)", page)) - {"lblc_timestamp_seconds"}, names - {"lblc_timestamp_seconds"},
       "the metrics of the page")


@case
def old_metrics_do_not_stay():
    lab.service()
    lab.ask(key(1))
    eq(collect().returncode, 0, "the status")
    eq((served()["lblc_up"], served()["lblc_services"], oct(os.stat(FILE).st_mode)), (1, 1, "0o100644"))
    lab.clear()
    unload_all()
    done = collect()
    eq(done.returncode, 1, "the status without the module")
    has(done.stderr, "the module is not loaded")
    eq(set(served()), {"lblc_up", "lblc_timestamp_seconds"}, "what is left of the metrics")
    eq(served()["lblc_up"], 0)
    lab.service()
    collect()
    eq(served()["lblc_up"], 1)
    # It is killed, as when it takes too long, or it is not there.
    process = subprocess.Popen(unit("ExecStart") + " --interval 3000", shell=True, start_new_session=True)
    wait_until(lambda: b"3000" in open(f"/proc/{process.pid}/cmdline", "rb").read(), "it runs")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert os.path.exists(FILE)
    stop("KILL")
    eq(os.listdir(os.path.dirname(FILE)), [])
    collect()
    stop(203)
    eq(os.listdir(os.path.dirname(FILE)), [])


@case
def a_file_that_cannot_be_written_is_removed():
    lab.service()
    lab.ask(key(1))
    folder = os.path.dirname(FILE)
    run(f"mount -t tmpfs -o size=16k tmpfs {folder}")
    try:
        collect()
        eq(served()["lblc_up"], 1)
        with contextlib.suppress(OSError), open(folder + "/full", "wb", buffering=0) as file:
            while file.write(bytes(1024)):
                pass
        done = collect()
        eq(done.returncode, 1, "the status on a full disk")
        has(done.stderr, f"lblctop: {FILE}: No space left on device")
        eq(os.listdir(folder), ["full"])
        os.remove(folder + "/full")
        # A link in its place is not followed.
        os.symlink(folder + "/other", FILE + ".new")
        collect()
        eq(os.listdir(folder), ["lblc.prom"])
        eq(served()["lblc_up"], 1)
    finally:
        run(f"umount {folder}")


def set_up():
    """Follows docs/monitoring.md, and makes Prometheus look once a second and alert without delay."""
    needs("prometheus", "prometheus-node-exporter")
    os.makedirs(SHARE, exist_ok=True)
    shutil.copy(RULES, SHARE)
    *commands, _ = blocks("docs/monitoring.md", "On the Prometheus server")[0].splitlines()
    follow("\n".join(commands))
    with open(CONFIG) as file:
        text = file.read()
    has(text, "\nrule_files:\n  - /etc/prometheus/lblc-rules.yml\n")
    with open(CONFIG, "w") as file:
        file.write(re.sub(r"_interval: +\d+s", "_interval: 1s", re.sub(r"scrape_timeout:.*", "", text)))
    with open("/etc/prometheus/lblc-rules.yml", "r+") as file:
        text = re.sub(r" for: \w+", " for: 1s", file.read())
        file.seek(0)
        file.write(text)
        file.truncate()


def expressions():
    """(title of the panel, expression) of the dashboard."""
    with open(TOP + "monitoring/grafana-dashboard.json") as file:
        board = json.load(file)
    return [(panel["title"], target["expr"].replace("$instance", ".*").replace("$service", ".*")
             .replace("$__rate_interval", "1m"))
            for panel in board["panels"] for target in panel["targets"]]


@case
def prometheus_gets_the_metrics_and_alerts():
    set_up()
    lab.service()
    collect()
    with tempfile.TemporaryDirectory() as data, \
            program(EXPORTER, "prometheus-node-exporter"), \
            program(PROMETHEUS + "/-/ready", "prometheus", f"--config.file={CONFIG}", f"--storage.tsdb.path={data}"):
        with Traffic() as traffic:
            traffic.flows()
            collect()
            lines = follow(blocks("docs/monitoring.md", "On each director")[1]).splitlines()
            ge(len(lines), 30, "the number of samples that the node exporter serves")
            wait_until(lambda: ask("lblc_up == 1"), "Prometheus has the metrics", 60)
            before = traffic.served
            wait_until(lambda: traffic.served > before + 50, "some traffic")
            collect()
            for title, it in expressions():
                wait_until(lambda it=it: ask(it), f"the panel {title} shows something: {it}", 60)
        lacks(alerts(), "LblcModuleMissing")
        (labels, level), = ask('lblc_verdict{service="FWM 1"} == 1')
        eq(labels["level"] in ("good", "fair"), True, f"the verdict {labels} {level}")
        lab.clear()
        unload_all()
        collect()
        wait_until(lambda: alerts().get("LblcModuleMissing") == "firing", "Prometheus alerts", 60)
        lab.service()
        collect()
        wait_until(lambda: "LblcModuleMissing" not in alerts(), "the alert ends", 60)
        os.remove(FILE)
        wait_until(lambda: alerts().get("LblcMetricsMissing") == "firing", "Prometheus alerts", 60)


main(lab)
