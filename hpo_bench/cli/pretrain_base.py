"""`pretrain-base`: a base checkpoint of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import DataDir, Json, given, use_data_dir


@app.command("pretrain-base")
def pretrain_base(
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors).")],
    molecules: Annotated[int, typer.Option(min=1, help="MOSES molecules to train on.")] = 100_000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them.")] = 10,
    encoder: Annotated[str, typer.Option(help="gin (graphs) or imagemol (images).")] = "gin",
    layers: Annotated[int | None, typer.Option(min=1, help="gin: layers (default 3; Hu et al. 2020: 5).")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width (default 64; gin of Hu et al. 2020: 300).")] = None,
    image_size: Annotated[int | None, typer.Option(help="imagemol: pixels (default 224).")] = None,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(help="Molecules a step.")] = 256,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Pretrain an encoder and the objective heads on unlabelled molecules with equal weights."""
    from hpo_bench.pretrain_base import pretrain_base as make_base

    use_data_dir(data_dir)
    report = make_base(
        out,
        molecules=molecules,
        epochs=epochs,
        encoder=encoder,
        shape=given(layers=layers, width=width, image_size=image_size),
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        device=device,
        precision=precision,
    )
    print(json.dumps(report, indent=1) if as_json else f"wrote {out}\nlosses: {report['losses']}")
