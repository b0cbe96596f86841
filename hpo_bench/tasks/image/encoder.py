"""The image encoder: ResNet-18 (He et al. 2016, arXiv 1512.03385) as transformers builds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


def resnet18(width: int = 64) -> dict[str, Any]:
    """Arguments of `Encoder`: ResNet-18 at 64, the same in thin below."""
    return {"widths": [width, 2 * width, 4 * width, 8 * width], "depths": [2, 2, 2, 2]}


RESNET18 = resnet18()


class Encoder(nn.Module):
    """A ResNet of basic blocks without its classifier: stem, four stages, and the mean over the image.

    Args:
        widths: channels of the stages; the last is the width of an embedding. The stem is as wide as the first.
        depths: blocks of the stages.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512), depths: Sequence[int] = (2, 2, 2, 2)) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel

        config = ResNetConfig(
            num_channels=3, embedding_size=widths[0], hidden_sizes=list(widths), depths=list(depths), layer_type="basic"
        )
        self.width = widths[-1]
        self.resnet = ResNetModel(config)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S), standardised, to embeddings (B, width)."""
        return self.resnet(images).pooler_output.flatten(1)
