"""The flags of a trial and of its task, the same for every verb that trains one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo_bench.cli.options import DataDir, at_least, given, pairs, together, use_data_dir
from hpo_bench.errors import UserError

_LISTS = ("objectives", "plant", "label")  # names joined by commas
_PLAIN = ("base", "model", "corpus", "encoder", "checkpoint", "split", "path", "smiles", "kind")


@dataclass(frozen=True)
class TrialFlags:
    """What was given; a field's name is the flag's."""

    preset: Annotated[str, typer.Option(help="quick, standard or paper.")] = "standard"
    mode: Annotated[
        str | None, typer.Option(help="Adaptation: full (fine-tuning), probe (linear head) or neighbours.")
    ] = None
    objectives: Annotated[str | None, typer.Option(help="Subset, e.g. atom,contrast.")] = None
    plant: Annotated[str | None, typer.Option(help="Planted objectives, e.g. noise,harmful,oracle.")] = None
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto"
    precision: Annotated[str | None, typer.Option(help="fp32, tf32 (CUDA) or bf16; of training alone.")] = None
    workers: Annotated[int | None, typer.Option(parser=at_least(1), help="Trials side by side, through Ray.")] = None
    setting: Annotated[list[str] | None, typer.Option("--set", help="Protocol setting: name=value.")] = None
    task_option: Annotated[list[str] | None, typer.Option(help="Further option of the task: name=value.")] = None
    data_dir: DataDir = None
    base: Annotated[Path | None, typer.Option(help="Base checkpoint (default: the one that is shipped).")] = None
    model: Annotated[
        str | None,
        typer.Option(help="Text: bert-4x256 (shipped), minilm (through pip), a folder, a name on the hub."),
    ] = None
    corpus: Annotated[str | None, typer.Option(help="File of unlabelled texts or SMILES; molecules: moses:N.")] = None
    encoder: Annotated[str | None, typer.Option(help="Molecules: gin (graphs; default) or imagemol (images).")] = None
    checkpoint: Annotated[Path | None, typer.Option(help="ImageMol's published weights, for imagemol.")] = None
    split: Annotated[str | None, typer.Option(help="scaffold, balanced-scaffold, random, or a column.")] = None
    path: Annotated[Path | None, typer.Option(help="Task csv or text: the file.")] = None
    smiles: Annotated[str | None, typer.Option(help="Task csv: the SMILES column.")] = None
    label: Annotated[str | None, typer.Option(help="Task csv or text: label column(s), joined by commas.")] = None
    kind: Annotated[str | None, typer.Option(help="Task csv or text: classification or regression.")] = None

    def configuration(self) -> dict[str, Any]:
        """Preset, protocol, task's options and device, as `configure` and `plan` take them."""
        from hpo_bench.run import task_options as words

        flags = asdict(self)
        lists = given(**{name: _names(name, flags[name]) for name in _LISTS})
        plain = {name: str(flags[name]) for name in _PLAIN if flags[name] is not None}
        return {
            "preset": self.preset,
            "protocol": together(pairs(self.setting), given(mode=self.mode, precision=self.precision)),
            "task_options": lists | plain | words.read(pairs(self.task_option)),
            "device": self.device,
        }

    def method_options(self) -> dict[str, Any]:
        """`workers`, where there are several."""
        return given(workers=self.workers)


def _names(flag: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise UserError(f"--{flag} names nothing", f"give names joined by commas, or leave --{flag} out")
    return names


def takes_trial_flags(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a verb: its parameter `flags` becomes the flags above, but for those named, on the command line."""
    every = inspect.signature(TrialFlags, eval_str=True).parameters
    shared = {name: parameter for name, parameter in every.items() if name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        together: list[inspect.Parameter] = []
        for parameter in own.parameters.values():
            together += shared.values() if parameter.name == "flags" else [parameter]

        @wraps(command)
        def verb(**given_flags: Any) -> None:
            flags = TrialFlags(**{name: given_flags.pop(name) for name in shared})
            use_data_dir(flags.data_dir)
            command(flags=flags, **given_flags)

        verb.__signature__ = own.replace(parameters=together)  # type: ignore[attr-defined]
        return verb

    return decorate
