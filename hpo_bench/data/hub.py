"""The model and data hub: asked once before a loader is let loose on it, which without a network tries for a minute."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hpo_bench.errors import UserError

ANSWER_SECONDS = 10.0


def ask_for_dataset(name: str) -> None:
    """Raise what the hub's client raises if the hub cannot be reached or has no such data.

    In offline mode (HF_HUB_OFFLINE=1) nothing is asked: the loader then reads the hub's cache.
    """
    from huggingface_hub import dataset_info
    from huggingface_hub.errors import OfflineModeIsEnabled

    with suppress(OfflineModeIsEnabled):
        dataset_info(name, timeout=ANSWER_SECONDS)


def locate_model(name: str) -> str:
    """What transformers is to load for `--model NAME`: a folder, or a name that the hub knows, asked once.

    Without a network the hub's cache is used.

    Raises UserError: neither a folder nor a model of the hub, or no hub can be reached and its cache lacks it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    from huggingface_hub import model_info, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    remedy = (
        "Give --model minilm (embedded), a folder with config.json, tokenizer.json and model.safetensors, or a name on "
        "the hub (which needs a network or its cache)."
    )
    try:
        model_info(name, timeout=ANSWER_SECONDS)
    except (HFValidationError, RepositoryNotFoundError) as error:
        message = f"There is no model {name!r}: no such folder, and the hub knows no such name."
        raise UserError(message, remedy) from error
    except Exception as unreachable:  # no network, a proxy's page, offline mode: whatever the hub's client raises
        try:
            return snapshot_download(name, local_files_only=True)
        except Exception as error:
            raise UserError(
                f"There is no model {name!r}: no such folder, no hub to ask ({type(unreachable).__name__}: "
                f"{unreachable}), and the hub's cache lacks it.",
                remedy,
            ) from error
    return name
