"""The graph encoder's training pass by the kernels of `kernels`: the same function, in far fewer passes over memory.

Its operations have a gradient and nothing more, so it serves training steps (`base.gradient_alone`), and passes of
hypergradients take the encoder's own way. Rows are as wide as a matrix unit reads: a multiple of 8, zeros at the end.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from hpo_bench.tasks.base import only_gradient_needed
from hpo_bench.tasks.molecule.layer_rows import Lookup
from hpo_bench.tasks.molecule.packed import Graphs

_ROWS, _COLS = 16, 64  # of a tile of messages
_BLOCK = 128  # rows of a tile of batch norm
_PROGRAMS = 512  # that share the gradient of bonds out among themselves
_MOST_KINDS = 128


def usable(graphs: Graphs) -> bool:
    """Does a pass over the graphs go through here?"""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # on a processor, for tests
    return (
        only_gradient_needed()
        and graphs.real is not None
        and graphs.bond_table.shape[0] <= _MOST_KINDS
        and (graphs.real.is_cuda or interpreted)
        and _works(graphs.real.device)
    )


@cache
def _works(device: torch.device) -> bool:
    """Can the kernels be built and run on the device? Where they cannot, it is said once, and steps take longer."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        rows = torch.ones(2, 8, device=device, requires_grad=True)
        none, ends = (torch.zeros(size, dtype=torch.int32, device=device) for size in (1, 3))
        totals = torch.full((1,), 2, dtype=torch.int32, device=device)
        with torch.enable_grad():
            out = _Messages.apply(rows, torch.ones(1, 8, device=device), none, none, ends)
            out, *_ = _Norm.apply(out, torch.ones(8, device=device), torch.zeros(8, device=device), totals, 1e-5, True)
            out.sum().backward()
        return bool(torch.isfinite(out).all())
    except Exception as error:  # of a compiler: anything
        told = str(error).strip().splitlines()
        warnings.warn(
            f"the graph encoder's kernels cannot be used ({type(error).__name__}: {told[0] if told else ''}); "
            "training steps take the slower way",
            stacklevel=2,
        )
        return False


def each(encoder: Any, graphs: Graphs) -> list[Tensor]:
    """Embeddings of the atoms (N, width) of every view, padded ones too."""
    width, views = encoder.width, graphs.views
    more = -width % 8
    totals = torch.stack([cast(Tensor, view.total) for view in views]).int()
    table = graphs.atom_table @ F.pad(encoder.atom_embedding, (0, more))
    rows = Lookup(graphs.atom_code, table.shape[0]).sums(table)
    last = len(encoder.layers) - 1
    for number, (layer, norm) in enumerate(zip(encoder.layers, encoder.norms, strict=True)):
        bonds = (graphs.bond_table @ F.pad(layer.bond_embedding, (0, more))).to(rows.dtype)
        rows = _Messages.apply(rows, bonds, graphs.source, graphs.bond_code, graphs.ends)
        inner = F.relu(F.linear(rows, F.pad(layer.first.weight, (0, more)), layer.first.bias))
        second = F.pad(layer.second.weight, (0, 0, 0, more)), F.pad(layer.second.bias, (0, more))
        rows = _normed(norm, F.linear(inner, *second), totals, number < last)
        rows = F.dropout(rows, encoder.dropout) if encoder.dropout else rows
    return [part[:, :width].contiguous() for part in rows.chunk(len(views))]


def _normed(norm: Any, rows: Tensor, totals: Tensor, relu: bool) -> Tensor:
    """Batch norm of each part by its own real rows, which come first, and relu."""
    more = rows.shape[1] - norm.weight.shape[0]
    out, mean, variance = _Norm.apply(
        rows, F.pad(norm.weight, (0, more)), F.pad(norm.bias, (0, more)), totals, norm.eps, relu
    )
    width = norm.weight.shape[0]
    unbiased = variance * (totals / (totals - 1).clamp(min=1))[:, None]
    for one, other in zip(mean[:, :width].unbind(), unbiased[:, :width].unbind(), strict=True):
        norm.remember(running_mean=one, running_var=other)
    return out


class _Messages(torch.autograd.Function):
    """rows (N, width), bonds (V, width) -> rows plus their messages along edges: source, code (E,), ends (N + 1,)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, bonds: Tensor, source: Tensor, code: Tensor, ends: Tensor) -> Tensor:
        from hpo_bench.tasks.molecule import kernels

        rows, bonds = rows.contiguous(), bonds.contiguous()
        count, width = rows.shape
        out = torch.empty_like(rows)
        ctx.save_for_backward(rows, bonds)
        ctx.given = source, code, ends
        grid = -(-count // _ROWS), -(-width // _COLS)
        kernels.messages[grid](rows, bonds, *ctx.given, out, count, width, ROWS=_ROWS, COLS=_COLS)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        from hpo_bench.tasks.molecule import kernels

        (rows, bonds), back = ctx.saved_tensors, gradients[0].contiguous()
        count, width = rows.shape
        blocks = -(-count // _ROWS)
        tiles = -(-blocks // _PROGRAMS)
        programs = -(-blocks // tiles)
        kinds = max(16, 1 << (bonds.shape[0] - 1).bit_length())
        grad = torch.empty_like(rows)
        partial = torch.empty(programs, kinds, width, dtype=torch.float32, device=rows.device)
        grid = programs, -(-width // _COLS)
        kernels.messages_backward[grid](
            back, rows, bonds, *ctx.given, grad, partial, count, width, tiles, KINDS=kinds, ROWS=_ROWS, COLS=_COLS
        )
        return grad, partial.sum(0)[: bonds.shape[0]].to(bonds.dtype), None, None, None


class _Norm(torch.autograd.Function):
    """rows (parts x n, width) -> normalised rows, and mean and variance (parts, width)."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, totals: Tensor, eps: float, relu: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        from hpo_bench.tasks.molecule import kernels

        rows = rows.contiguous()
        parts, width = len(totals), rows.shape[1]
        ctx.height = height = rows.shape[0] // parts
        blocks = -(-height // _BLOCK)
        ctx.grid = grid = blocks, -(-width // _COLS), parts
        means, squares = torch.empty(2, parts, blocks, width, dtype=torch.float32, device=rows.device).unbind()
        kernels.moments[grid](rows, totals, means, squares, height, width, ROWS=_BLOCK, COLS=_COLS)
        first = torch.arange(blocks, device=rows.device) * _BLOCK
        counts = (totals[:, None] - first).clamp(0, _BLOCK)[..., None].float()
        total = totals[:, None].float()
        mean = (means * counts).sum(1) / total
        variance = (squares + counts * (means - mean[:, None]).square()).sum(1) / total
        spread = (variance + eps).rsqrt()
        scale = spread * weight.float()
        out = torch.empty_like(rows)
        kernels.normalise[grid](
            rows, mean, scale, bias, out, height, width, RELU=relu, ROWS=_BLOCK, COLS=_COLS
        )  # fmt: skip
        ctx.save_for_backward(rows, mean, spread, scale, bias, totals)
        ctx.relu = relu
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        from hpo_bench.tasks.molecule import kernels

        rows, mean, spread, scale, bias, totals = ctx.saved_tensors
        back, width = gradients[0].contiguous(), rows.shape[1]
        plain, along = torch.empty(2, ctx.grid[2], ctx.grid[0], width, device=rows.device).unbind()
        sizes = {"RELU": ctx.relu, "ROWS": _BLOCK, "COLS": _COLS}
        kernels.normalise_sums[ctx.grid](
            back, rows, mean, scale, bias, totals, plain, along, ctx.height, width, **sizes
        )  # fmt: skip
        plain, along = plain.sum(1), along.sum(1)
        total = totals[:, None].float()
        grad = torch.empty_like(rows)
        drift, pull = plain / total, along * spread.square() / total
        kernels.normalise_backward[ctx.grid](
            back, rows, mean, scale, bias, drift, pull, totals, grad, ctx.height, width, **sizes
        )  # fmt: skip
        return grad, (along * spread).sum(0), plain.sum(0), None, None, None
