"""Every library uses as many threads as this process may; waiting threads are passive."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cpp_pipe.pipeline import threads
from cpp_pipe.pipeline.threads import free_processors, limited_to, processors, read_quota

QUOTAS = {
    "none": ("0::/\n", {}, None),
    "version 2, no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
    "version 2": ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
    "version 2, of a folder above": (
        "0::/a/b\n",
        {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"},
        1.5,
    ),
    "version 2, the least of all": (
        "0::/a/b\n",
        {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "400000 100000\n"},
        3.0,
    ),
    "version 2, a container's folder that is not mounted": (
        "0::/docker/1234\n",
        {"cpu.max": "200000 100000\n"},
        2.0,
    ),
    "version 1, no limit": (
        "2:cpu,cpuacct:/\n",
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        None,
    ),
    "version 1": (
        "9:name=systemd:/x\n2:cpuacct,cpu:/job\n",
        {"cpu/job/cpu.cfs_quota_us": "50000\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
        0.5,
    ),
    "both versions": (
        "1:cpu:/\n0::/\n",
        {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"},
        4.0,
    ),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_the_quota_of_a_cgroup_is_that_of_its_version_and_its_place(tmp_path: Path, case: str):
    own, files, quota = QUOTAS[case]
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert read_quota(tmp_path / "own", tmp_path / "cgroup") == quota


def test_without_cgroups_there_is_no_quota(tmp_path: Path):
    assert read_quota(tmp_path / "own", tmp_path / "cgroup") is None


@pytest.mark.parametrize(
    ("variable", "count"),
    [("3", 3), ("4,2", 4), (" 2 ", 2), ("0", None), ("-1", None), ("", None), ("many", None)],
)
def test_the_number_of_threads_named_by_the_user_is_used(
    monkeypatch: pytest.MonkeyPatch, variable: str, count: int | None
):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    own = processors()
    assert 1 <= own <= (os.cpu_count() or 1)
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert processors() == (own if count is None else count)
    assert 1 <= free_processors() <= processors()


@pytest.mark.parametrize("variable", ["4,2", "0", "", "many", None])
def test_a_limit_leaves_the_variable_of_the_user_as_it_was(
    monkeypatch: pytest.MonkeyPatch, variable: str | None
):
    """What is no single number ended the command in a traceback, once its parts were made."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with limited_to(1):  # at its end the libraries have as many threads as before
        if variable is None:
            monkeypatch.delenv("OMP_NUM_THREADS")
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", variable)
        usual = processors()
        with limited_to(1):
            assert processors() == 1
        assert os.environ.get("OMP_NUM_THREADS") == variable
        assert processors() == usual


SPINNING = "while True: pass"


def test_processors_that_others_use_are_not_free(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    busy = [subprocess.Popen([sys.executable, "-c", SPINNING]) for _ in range(processors())]
    try:
        free_processors()  # from here on it measures
        assert free_processors() <= max(1, processors() - 1)
    finally:
        for process in busy:
            process.kill()
            process.wait()


REPORT = """
import json, os, sys
from cpp_pipe.pipeline import threads
threads.begin()
import numpy, scipy.linalg, torch, faiss, threadpoolctl
def counted():
    found = {"spins": set(), "sleeps": {torch.get_num_threads(), faiss.omp_get_max_threads()}}
    for pool in threadpoolctl.threadpool_info():
        name = "spins" if pool.get("threading_layer") == "pthreads" else "sleeps"
        found[name].add(pool["num_threads"])
    return [sorted(found["sleeps"]), sorted(found["spins"])]
found = [os.environ["OMP_WAIT_POLICY"], counted()]
with threads.limited_to(1):
    found.append(counted())
found += [counted(), os.environ["OMP_NUM_THREADS"]]
print(json.dumps(found))
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="MKL takes no more threads than processors")
@pytest.mark.parametrize(
    ("given", "policy", "spinning"),
    [
        ({}, "PASSIVE", 1),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", 1),
        ({"OPENBLAS_NUM_THREADS": "2"}, "PASSIVE", 2),
    ],
)
def test_libraries_with_sleeping_threads_take_that_number_and_others_one(given, policy, spinning):
    environment = {
        name: value
        for name, value in os.environ.items()
        if "OMP_" not in name and name != "OPENBLAS_NUM_THREADS"
    }
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        env=environment | {"OMP_NUM_THREADS": "2", "OMP_DISPLAY_ENV": "TRUE"} | given,
        capture_output=True,
        text=True,
        check=True,
    )
    as_ever, one = [[2], [spinning]], [[1], [1]]
    assert json.loads(done.stdout) == [policy, as_ever, one, as_ever, "2"]
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
    assert (
        f"OMP_WAIT_POLICY = '{'ACTIVE' if policy == 'PASSIVE' else 'PASSIVE'}'" not in done.stderr
    )


def test_a_quota_of_less_than_one_processor_still_gives_one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: 0.5)
    assert processors() == 1
