"""`pretrain-base`: a base checkpoint of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo_bench.cli.app import app
from hpo_bench.cli.options import DataDir, Json, at_least, finite, given, refuse, use_data_dir
from hpo_bench.cli.stops import interruptible

_EPOCHS = 10


@app.command("pretrain-base")
def pretrain_base(
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors); of a language model, a folder.")],
    corpus: Annotated[
        Path | None,
        typer.Option(help="Make a language model of this file: one text a line, or JSONL with `text`; .gz, .xz too."),
    ] = None,
    molecules: Annotated[int | None, typer.Option(parser=at_least(1), help="MOSES molecules (100000).")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(parser=at_least(1), help=f"Passes over all rows (default {_EPOCHS}, without --minutes)."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(parser=finite, help="End after so many minutes of training.")] = None,
    encoder: Annotated[str | None, typer.Option(help="gin (graphs; default) or imagemol (images).")] = None,
    objectives: Annotated[str | None, typer.Option(help="Texts: mlm (default), or several, e.g. mlm,sop.")] = None,
    vocabulary: Annotated[
        int | None, typer.Option(parser=at_least(100), help="Texts: word pieces, at most (default 8000).")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(parser=at_least(1), help="Texts: tokens of an input, at most (default 128).")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(parser=finite, help="Texts: dropout of this training (default 0.1).")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Texts: write the weights as float16.")] = False,
    layers: Annotated[
        int | None, typer.Option(parser=at_least(1), help="Layers (default 3; gin of Hu et al. 2020: 5).")
    ] = None,
    width: Annotated[
        int | None, typer.Option(parser=at_least(1), help="Width (default 64; gin of Hu et al. 2020: 300).")
    ] = None,
    image_size: Annotated[int | None, typer.Option(parser=at_least(1), help="imagemol: pixels (default 224).")] = None,
    learning_rate: Annotated[float, typer.Option(parser=finite, help="Peak learning rate.")] = 1e-3,
    warmup: Annotated[
        int,
        typer.Option(parser=at_least(0), help="Steps to the peak, of --epochs a tenth at most; then a cosine to 0."),
    ] = 500,
    batch_size: Annotated[int, typer.Option(parser=at_least(1), help="Molecules or texts a step.")] = 256,
    weight_decay: Annotated[float, typer.Option(parser=finite, help="AdamW's, on matrices alone.")] = 0.01,
    clip: Annotated[float, typer.Option(parser=finite, help="Longest gradient.")] = 1.0,
    seed: Annotated[int, typer.Option(parser=at_least(0), help="Of the rows, the weights and their training.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    save_every: Annotated[
        float, typer.Option(parser=finite, help="Seconds between two states that outlive a kill.")
    ] = 60.0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Pretrain an encoder and the objective heads on unlabelled molecules, or a BERT on unlabelled texts (mlm).

    Killed? The same command goes on where it was saved last.
    """
    from hpo_bench.bases.molecules import pretrain_base as make_base
    from hpo_bench.bases.text import TextShape, pretrain_text
    from hpo_bench.bases.training import Recipe

    recipe = Recipe(
        epochs=_EPOCHS if epochs is None and minutes is None else epochs,
        minutes=minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup=warmup,
        clip=clip,
        precision=precision,
        seed=seed,
    )
    common: dict[str, Any] = {"recipe": recipe, "device": device, "save_every": save_every}
    of_texts = given(vocabulary=vocabulary, tokens=tokens, dropout=dropout, half=half or None)
    if objectives is not None:
        of_texts["objectives"] = [name.strip() for name in objectives.split(",") if name.strip()]
    of_molecules = given(molecules=molecules, encoder=encoder, image_size=image_size, data_dir=data_dir)
    strange, where = (of_texts, "without") if corpus is None else (of_molecules, "with")
    refuse(strange, f"{where} --corpus", "see pretrain-base --help for what belongs to which")
    use_data_dir(data_dir)
    with interruptible():
        if corpus is None:
            shape = given(layers=layers, width=width, image_size=image_size)
            report = make_base(out, **given(molecules=molecules, encoder=encoder), shape=shape, **common)
        else:
            text = TextShape(**of_texts, **given(layers=layers, width=width))
            report = pretrain_text(out, corpus_file=corpus, shape=text, **common)
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in report["losses"].items())
    told = f"wrote {out}" if report["made"] else f"{out} was there already, finished; it is unchanged"
    print(json.dumps(report, indent=1) if as_json else f"{told}\nlosses (1: the best constant predictor's): {losses}")
