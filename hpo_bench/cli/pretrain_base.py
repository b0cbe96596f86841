"""`pretrain-base`: a base checkpoint of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import DataDir, Json, given, use_data_dir


@app.command("pretrain-base")
def pretrain_base(
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors); of a language model, a folder.")],
    corpus: Annotated[Path | None, typer.Option(help="Make a language model of this file, one text a line.")] = None,
    molecules: Annotated[int | None, typer.Option(min=1, help="MOSES molecules (default 100000).")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the molecules or texts.")] = 10,
    encoder: Annotated[str | None, typer.Option(help="gin (graphs; default) or imagemol (images).")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Layers (default 3; gin of Hu et al. 2020: 5).")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width (default 64; gin of Hu et al. 2020: 300).")] = None,
    image_size: Annotated[int | None, typer.Option(help="imagemol: pixels (default 224).")] = None,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(help="Molecules or texts a step.")] = 256,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Pretrain an encoder and the objective heads on unlabelled molecules, or a BERT on unlabelled texts (mlm)."""
    from hpo_bench.errors import UserError
    from hpo_bench.pretrain_base import pretrain_base as make_base
    from hpo_bench.pretrain_text import pretrain_text

    use_data_dir(data_dir)
    common: dict[str, Any] = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
        "precision": precision,
    }
    if corpus is None:
        shape = given(layers=layers, width=width, image_size=image_size)
        report = make_base(out, **given(molecules=molecules, encoder=encoder), shape=shape, **common)
    else:
        if strange := given(molecules=molecules, encoder=encoder, image_size=image_size):
            flags = " and ".join(f"--{name.replace('_', '-')}" for name in strange)
            raise UserError(f"{flags} cannot go with --corpus", "a language model takes --layers and --width")
        report = pretrain_text(out, corpus_file=corpus, **given(layers=layers, width=width), **common)
    print(json.dumps(report, indent=1) if as_json else f"wrote {out}\nlosses: {report['losses']}")
