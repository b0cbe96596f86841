"""Where a run happened: commit, versions, hardware."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hpo_bench.core.device import describe_accelerator, describe_processor

PACKAGES = ("hpo-bench", "torch", "numpy", "scipy", "scikit-learn", "rdkit", "torch-geometric", "optuna", "ray")


def describe() -> dict[str, Any]:
    """The `environment` part of run.json."""
    commit = _git("rev-parse", "HEAD")
    return {
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "processor": describe_processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": describe_accelerator(),
    }


def describe_node() -> dict[str, Any]:
    """The machine of a worker process: what its results and its seconds may depend on."""
    return {
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in ("hpo-bench", "torch")},
        "processor": describe_processor(),
        "cores": os.cpu_count(),
        "accelerator": describe_accelerator(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Output of git on the checkout that this package lies in; None when it is installed without one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    # Reading takes no lock: a run killed meanwhile would leave the checkout's index locked.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
