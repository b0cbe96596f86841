"""Records as MLflow runs; needs the extra `hpo-bench[mlflow]`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from hpo_bench.compare.export.tensorboard import scalars
from hpo_bench.errors import UserError
from hpo_bench.records.load import readable

KEY = "hpo_bench.folder"  # a tag: which record an MLflow run stands for
STATUS = {"done": "FINISHED", "running": "RUNNING"}
MOST = 1000  # metrics in one call, MLflow's own limit


def log_runs(path: Path, tracking_uri: str, experiment: str = "hpo_bench") -> list[str]:
    """Log every run below `path` that is not there yet; returns the ids of new MLflow runs.

    Parameters are the configuration, metrics the result, the bill and the curves of `scalars`, tags the status, commit
    and folder (relative to `path`). A run that has not ended is left out: it would never be updated.

    Raises:
        UserError: mlflow is not installed, or the tracking store cannot be used.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        remedy = 'install the extra: pip install "hpo-bench[mlflow]"'
        raise UserError(f"MLflow is not installed ({error})", remedy) from error
    runs = readable(path)
    try:
        client = MlflowClient(tracking_uri=tracking_uri)
        known = client.get_experiment_by_name(experiment)
        number = known.experiment_id if known else client.create_experiment(experiment)
        logged = _logged(client, number)
        made = []
        for folder, record in runs:
            key = folder.relative_to(path).as_posix()
            if record["status"] != "running" and key not in logged:
                made.append(_log(client, number, folder, key, record))
    except MlflowException as error:
        raise UserError(f"MLflow cannot use {tracking_uri}: {error}", "give another --tracking-uri") from error
    return made


def _logged(client: Any, experiment: str) -> set[str]:
    found: set[str] = set()
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        found |= {run.data.tags[KEY] for run in page if KEY in run.data.tags}
        token = page.token
        if not token:
            return found


def _log(client: Any, experiment: str, folder: Path, key: str, record: dict[str, Any]) -> str:
    from mlflow.entities import Metric, Param, RunTag

    name = f"{record['task']}/{record['method']}/seed-{record['seed']}"
    run = client.create_run(experiment, run_name=name)
    commits = [one.get("git_commit") for one in record["environments"]]
    tags = {KEY: key, "hpo_bench.status": record["status"], "git_commit": commits[0] if commits else None}
    parameters = {field: record[field] for field in ("task", "method", "seed")} | _flat(record.get("config") or {})
    now = int(1000 * time.time())
    metrics = [Metric(_plain(curve), value, now, step) for curve, step, value in scalars(folder, record)]
    result = (record.get("result") if record["status"] == "done" else None) or {}
    if result:
        metrics.append(Metric("search/valid", float(result["value"]), now, 0))
        weights = zip(record["objectives"], result["weights"], strict=True)
        metrics += [Metric(_plain(f"final_weight/{objective}"), float(weight), now, 0) for objective, weight in weights]
    for part, bill in (record.get("cost") or {}).items():
        metrics += [Metric(f"{part}/{field}", float(value), now, 0) for field, value in bill.items()]
    client.log_batch(
        run.info.run_id,
        params=[Param(field, str(value)[:500]) for field, value in parameters.items()],
        tags=[RunTag(tag, str(value)) for tag, value in tags.items() if value is not None],
    )
    for start in range(0, len(metrics), MOST):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + MOST])
    client.set_terminated(run.info.run_id, STATUS.get(record["status"], "FAILED"))
    return run.info.run_id


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _plain(name: str) -> str:
    """MLflow takes letters, digits, _ - . / and spaces in names."""
    return "".join(character if character.isalnum() or character in "_-./ " else "_" for character in name)
