"""Older layouts of run.json, and how each becomes the next one.

1  one `environment`, of the last session, and no `content`
2  the preset stood among the options of some tasks, which read from it what was not given
3  options of a task are all there; `preset_protocol` says what the preset means for the task
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCHEMA = 3

# What the presets stood for among the options of layout 2. `pairs` is `apart` unless it is named.
_TEXT: dict[str, dict[str, Any]] = {
    "quick": {"tokens": 64, "rows": 1250},
    "paper": {"model": "roberta-base", "tokens": 512, "pooling": "first", "pairs": "joint"},
}
_TEXT_TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "text")


def newest(content: dict[str, Any], schema: int) -> dict[str, Any]:
    """The content of a run.json of layout `schema` in the layout `SCHEMA`."""
    for older in range(schema, SCHEMA):
        content = _NEXT[older](content)
    _drop_place(content)
    return content


def _one_to_two(content: dict[str, Any]) -> dict[str, Any]:
    environment = content.get("environment")
    environments = [{"session": content.get("sessions", 1), **environment}] if isinstance(environment, dict) else []
    kept = {key: value for key, value in content.items() if key != "environment"}
    return {**kept, "schema": 2, "content": None, "environments": environments}


def _two_to_three(content: dict[str, Any]) -> dict[str, Any]:
    config = content.get("config")
    options = config.get("task_options") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(options, dict) or "preset" not in options:
        return {**content, "schema": 3}
    given = {key: value for key, value in options.items() if key != "preset"}
    sizes = _TEXT.get(str(options["preset"]), {}) if content.get("task") in _TEXT_TASKS else {}
    # What the preset meant for the task's protocol was not recorded: every setting counts as asked for.
    return {**content, "schema": 3, "config": {**config, "task_options": {**sizes, **given}}, "preset_protocol": {}}


def _drop_place(content: dict[str, Any]) -> None:
    """Where a run was done was once among its options; it is no part of a run, which may go on elsewhere."""
    config = content.get("config")
    for options in (config.get("method_options") if isinstance(config, dict) else None, content.get("options")):
        if isinstance(options, dict):
            options.pop("ray_address", None)


_NEXT: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _one_to_two, 2: _two_to_three}
