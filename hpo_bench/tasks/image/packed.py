"""A whole set of drawings as one uint8 tensor on one device; a batch is an index operation there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Of ImageNet's pictures: what ImageMol's images are standardised with, and so what its weights expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PackedImages:
    """M drawings (M, 3, S, S) uint8 on `device`: 12 KiB a molecule at 64 pixels, 147 KiB at 224."""

    def __init__(self, pictures: np.ndarray, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.pixels = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
        self._mean, self._std = (torch.tensor(v, device=self.device)[:, None, None] for v in (MEAN, STD))

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def size(self) -> int:
        """S, the side in pixels."""
        return int(self.pixels.shape[-1])

    def colours(self, index: Tensor) -> Tensor:
        """The drawings `index` (B,) as float32 in [0, 1]: (B, 3, S, S), white is 1."""
        return self.pixels.index_select(0, index).float() / 255

    def standardise(self, colours: Tensor) -> Tensor:
        """What the encoder reads: (B, 3, S, S) less ImageNet's mean, over its deviation."""
        return (colours - self._mean) / self._std

    def batch(self, index: Tensor) -> Tensor:
        """The drawings `index` (B,), standardised."""
        return self.standardise(self.colours(index))
