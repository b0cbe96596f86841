"""Triton kernels of the graph encoder: messages and batch norm, forward and backward, each in one pass over memory.

Every sum is taken in a fixed order: a program adds up what it owns, and partial sums of programs are added by torch.
Sums are float32 whatever the rows are. `fused` puts the kernels together.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def messages(
    h, bonds, source, code, ends, out, rows_in_all, width, ROWS: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    """out_i = h_i + sum over the edges e that end in i of relu(h_source(e) + bonds_code(e))."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    in_rows, in_cols = row < rows_in_all, col < width
    start = tl.load(ends + row, mask=in_rows, other=0)
    end = tl.load(ends + row + 1, mask=in_rows, other=0)
    place = row[:, None].to(tl.int64) * width + col[None, :]
    inside = in_rows[:, None] & in_cols[None, :]
    total = tl.load(h + place, mask=inside, other=0.0).to(tl.float32)
    for step in range(0, tl.max(end - start, axis=0)):
        edge = start + step
        there = edge < end
        near = tl.load(source + edge, mask=there, other=0).to(tl.int64)
        kind = tl.load(code + edge, mask=there, other=0).to(tl.int64)
        both = there[:, None] & in_cols[None, :]
        x = tl.load(h + near[:, None] * width + col[None, :], mask=both, other=0.0).to(tl.float32)
        e = tl.load(bonds + kind[:, None] * width + col[None, :], mask=both, other=0.0).to(tl.float32)
        total += tl.maximum(x + e, 0.0)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def messages_backward(
    g, h, bonds, source, code, ends, grad, partial, rows_in_all, width, tiles,
    KINDS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Gradients of h, and of bonds in parts, one for each program along axis 0; every edge has its reverse.

    The messages that leave j go to the sources of those that come in, over the same bonds.
    """
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    in_cols = col < width
    kinds = tl.arange(0, KINDS)
    of_bonds = tl.zeros([KINDS, COLS], dtype=tl.float32)
    for tile in range(0, tiles):
        row = (tl.program_id(0) * tiles + tile) * ROWS + tl.arange(0, ROWS)
        in_rows = row < rows_in_all
        start = tl.load(ends + row, mask=in_rows, other=0)
        end = tl.load(ends + row + 1, mask=in_rows, other=0)
        place = row[:, None].to(tl.int64) * width + col[None, :]
        inside = in_rows[:, None] & in_cols[None, :]
        total = tl.load(g + place, mask=inside, other=0.0).to(tl.float32)
        own = tl.load(h + place, mask=inside, other=0.0).to(tl.float32)
        for step in range(0, tl.max(end - start, axis=0)):
            edge = start + step
            there = edge < end
            near = tl.load(source + edge, mask=there, other=0).to(tl.int64)
            kind = tl.load(code + edge, mask=there, other=0)
            both = there[:, None] & in_cols[None, :]
            e = tl.load(bonds + kind[:, None].to(tl.int64) * width + col[None, :], mask=both, other=0.0)
            back = tl.load(g + near[:, None] * width + col[None, :], mask=both, other=0.0)
            passed = tl.where(own + e.to(tl.float32) > 0, back.to(tl.float32), 0.0)
            total += passed
            which = (kinds[:, None] == kind[None, :]) & there[None, :]
            of_bonds += tl.dot(which.to(tl.float32), passed, input_precision="ieee")
        tl.store(grad + place, total.to(grad.dtype.element_ty), mask=inside)
    part = (tl.program_id(0) * KINDS + kinds[:, None]).to(tl.int64) * width + col[None, :]
    tl.store(partial + part, of_bonds, mask=in_cols[None, :] & (kinds[:, None] >= 0))


@triton.jit
def moments(x, totals, means, squares, part_rows, width, ROWS: tl.constexpr, COLS: tl.constexpr):
    """Of each block of rows its mean and the sum of squares about that; rows beyond a part's total do not count."""
    block, part = tl.program_id(0), tl.program_id(2)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    row = block * ROWS + tl.arange(0, ROWS)
    there = (row < tl.load(totals + part))[:, None] & (col < width)[None, :]
    place = (part * part_rows + row[:, None]).to(tl.int64) * width + col[None, :]
    values = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    count = tl.minimum(tl.maximum(tl.load(totals + part) - block * ROWS, 0), ROWS)
    mean = tl.sum(values, axis=0) / tl.maximum(count, 1).to(tl.float32)
    away = tl.where(there, values - mean[None, :], 0.0)
    out = (part * tl.num_programs(0) + block) * width + col
    tl.store(means + out, mean, mask=col < width)
    tl.store(squares + out, tl.sum(away * away, axis=0), mask=col < width)


@triton.jit
def normalise(
    x, mean, scale, bias, out, part_rows, width, RELU: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    """(x - mean) scale + bias; mean and scale are of each part."""
    part = tl.program_id(2)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    in_cols = col < width
    inside = (row < part_rows)[:, None] & in_cols[None, :]
    place = (part * part_rows + row[:, None]).to(tl.int64) * width + col[None, :]
    centre = tl.load(mean + part * width + col, mask=in_cols, other=0.0)
    factor = tl.load(scale + part * width + col, mask=in_cols, other=0.0)
    shift = tl.load(bias + col, mask=in_cols, other=0.0).to(tl.float32)
    values = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    y = (values - centre[None, :]) * factor[None, :] + shift[None, :]
    if RELU:
        y = tl.maximum(y, 0.0)
    tl.store(out + place, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def normalise_sums(
    g, x, mean, scale, bias, totals, plain, along, part_rows, width,
    RELU: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Of each block the sums of the gradient, and of the gradient times x - mean."""
    block, part = tl.program_id(0), tl.program_id(2)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    row = block * ROWS + tl.arange(0, ROWS)
    in_cols = col < width
    there = (row < tl.load(totals + part))[:, None] & in_cols[None, :]
    place = (part * part_rows + row[:, None]).to(tl.int64) * width + col[None, :]
    centre = tl.load(mean + part * width + col, mask=in_cols, other=0.0)
    away = tl.load(x + place, mask=there, other=0.0).to(tl.float32) - centre[None, :]
    back = tl.load(g + place, mask=there, other=0.0).to(tl.float32)
    if RELU:
        factor = tl.load(scale + part * width + col, mask=in_cols, other=0.0)
        shift = tl.load(bias + col, mask=in_cols, other=0.0).to(tl.float32)
        back = tl.where(away * factor[None, :] + shift[None, :] > 0, back, 0.0)
    out = (part * tl.num_programs(0) + block) * width + col
    tl.store(plain + out, tl.sum(back, axis=0), mask=in_cols)
    tl.store(along + out, tl.sum(tl.where(there, back * away, 0.0), axis=0), mask=in_cols)


@triton.jit
def normalise_backward(
    g, x, mean, scale, bias, drift, pull, totals, grad, part_rows, width,
    RELU: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """scale (g - drift - (x - mean) pull); drift and pull are of each part, padding gets 0."""
    part = tl.program_id(2)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    in_cols = col < width
    inside = (row < part_rows)[:, None] & in_cols[None, :]
    there = (row < tl.load(totals + part))[:, None] & in_cols[None, :]
    place = (part * part_rows + row[:, None]).to(tl.int64) * width + col[None, :]
    own = part * width + col
    factor = tl.load(scale + own, mask=in_cols, other=0.0)
    away = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    away -= tl.load(mean + own, mask=in_cols, other=0.0)[None, :]
    back = tl.load(g + place, mask=there, other=0.0).to(tl.float32)
    if RELU:
        shift = tl.load(bias + col, mask=in_cols, other=0.0).to(tl.float32)
        back = tl.where(away * factor[None, :] + shift[None, :] > 0, back, 0.0)
    back -= tl.load(drift + own, mask=in_cols, other=0.0)[None, :]
    back -= away * tl.load(pull + own, mask=in_cols, other=0.0)[None, :]
    tl.store(grad + place, tl.where(there, back * factor[None, :], 0.0).to(grad.dtype.element_ty), mask=inside)
