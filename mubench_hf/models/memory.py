"""What a forward and a backward pass take in memory, found on the ``meta`` device, where tensors hold no values.

The passes are really run, so this is right for any architecture: each tensor that an operation makes is counted until
nothing refers to it any more, as an allocator would count it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental import _config
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

IN_LOW_PRECISION = frozenset((
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, torch.conv1d, torch.conv2d,
    torch.conv3d, torch.matmul, torch.bmm, torch.mm, torch.addmm, torch.baddbmm, Tensor.matmul, Tensor.__matmul__,
    Tensor.bmm, Tensor.mm,
))  # fmt: skip
"""What autocast computes in 16 bits on a GPU, of the functions that models call."""

IN_FLOAT32 = frozenset((
    F.layer_norm, F.group_norm, F.softmax, F.log_softmax, F.cross_entropy, F.nll_loss, F.mse_loss, torch.softmax,
    torch.log_softmax, torch.exp, torch.log, torch.pow, torch.rsqrt, torch.sum, torch.cumsum, Tensor.softmax,
    Tensor.log_softmax, Tensor.exp, Tensor.log, Tensor.pow, Tensor.rsqrt, Tensor.sum, Tensor.cumsum,
))  # fmt: skip
"""What it computes in 32 bits."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors on ``meta`` that are made inside and not yet let go, and the most at any time.

    Tensors that were there before are not counted. In-place operations and views take nothing.

    Attributes:
        now: Bytes at the moment.
        peak: The most so far.
        peak_beside: The most so far without the gradients of weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.peak_beside = self._gradients = 0
        self._seen: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def know(self, tensors: Any) -> None:
        """Leave out the storage of these tensors."""
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._seen[storage._cdata] = storage

    def is_done(self, weight: Tensor) -> None:
        """Take a weight's gradient for what it is; called when it is complete."""
        if weight.grad is not None:
            self._gradients += weight.grad.nbytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the storages that are new."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        if storage._cdata in self._seen:
            return
        self._seen[storage._cdata] = storage
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        self.peak_beside = max(self.peak_beside, self.now - self._gradients)
        weakref.finalize(storage, self._let_go, size)

    def _let_go(self, size: int) -> None:
        self.now -= size


class AsOnDevice(TorchFunctionMode):
    """Computes as a device would, as far as that decides what is kept: fused attention, dropout, types under autocast.

    Where a model asks whether values are all or any of something, they are all and none is: rows without padding.

    Args:
        low: The 16-bit type of autocast; ``None`` without it.
        keeps_casts: Whether a weight in that type is made once and kept, as in one forward pass.
        on_gpu: Whether dropout keeps what it keeps on a GPU.
    """

    def __init__(self, low: torch.dtype | None = None, *, keeps_casts: bool = True, on_gpu: bool = True):
        super().__init__()
        self.low, self.keeps_casts, self.on_gpu = low, keeps_casts, on_gpu
        self._cast: dict[int, Tensor] = {}
        self._no: set[int] = set()

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, or what takes its place on a device."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            names = ("query", "key", "value", "attn_mask")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            return _FusedAttention.apply(*(self._lowered(given.get(name)) for name in names))
        if func is F.dropout and self.on_gpu:
            values, share, training = _dropout(*args, **kwargs)
            return torch.native_dropout(values, share, True)[0] if training and share else values
        if func is Tensor.__bool__ and args[0].is_meta:
            return id(args[0]) not in self._no
        if func in (Tensor.any, torch.any):
            found = func(*args, **kwargs)
            self._no.add(id(found))
            return found
        if self.low is not None and func in IN_LOW_PRECISION:
            return func(*map(self._lowered, args), **{name: self._lowered(value) for name, value in kwargs.items()})
        if self.low is not None and func in IN_FLOAT32:
            return func(*map(_raised, args), **{name: _raised(value) for name, value in kwargs.items()})
        return func(*args, **kwargs)

    def _lowered(self, value: Any) -> Any:
        """Return a tensor in the low type; a weight's copy is made once, as autocast keeps it."""
        if self.low is None or not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not (self.keeps_casts and value.is_leaf and value.requires_grad and torch.is_grad_enabled()):
            return value.to(self.low)
        if id(value) not in self._cast:
            self._cast[id(value)] = value.to(self.low)
        return self._cast[id(value)]

    def let_go(self) -> None:
        """Let go of the weights' copies, as the end of autocast does."""
        self._cast.clear()


def _dropout(
    values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> tuple[Tensor, float, bool]:
    return values, p, training


def _raised(value: Any) -> Any:
    low = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if low else value


class _FusedAttention(torch.autograd.Function):
    """What fused attention keeps: its inputs, its output, and one number for each query and head."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, mask, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wanted = zip(ctx.saved_tensors[:4], ctx.needs_input_grad, strict=True)
        return tuple(torch.empty_like(each) if asked else None for each, asked in wanted)


class _Term(torch.autograd.Function):
    """A term of a loss: one tensor as large as the predictions is kept, from which their gradient is made."""

    @staticmethod
    def forward(ctx: Any, predictions: Tensor) -> Tensor:
        ctx.save_for_backward(torch.empty_like(predictions))
        return predictions.new_empty(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return ctx.saved_tensors[0]


@dataclass(frozen=True)
class PassBytes:
    """Bytes that one micro-batch takes, beside everything that was there before.

    Attributes:
        rows: Its inputs.
        predictions: What the model predicts, such as logits.
        kept: What the forward pass and the loss leave for the backward pass.
        peak: The most at any time of both passes, gradients included, inputs not.
        peak_beside: The same without gradients.
        gradients: The gradients that are left at the end.
    """

    rows: int
    predictions: int
    kept: int
    peak: int
    peak_beside: int
    gradients: int


def _contexts(low: torch.dtype | None, on_gpu: bool) -> tuple[Any, Any]:
    return nullcontext(), AsOnDevice(low, keeps_casts=False, on_gpu=on_gpu)


def pass_bytes(
    model: torch.nn.Module,
    inputs: Mapping[str, Tensor],
    *,
    run: Callable[[Any, Mapping[str, Tensor]], Tensor],
    low: torch.dtype | None = None,
    terms: int = 1,
    teachers: int = 0,
    checkpointing: bool = False,
    keeps_casts: bool = True,
    on_gpu: bool = True,
) -> PassBytes:
    """Run a model forward and backward on the ``meta`` device and return what it takes.

    Args:
        model: The model, on ``meta``; what is trained requires gradients.
        inputs: A micro-batch, on ``meta``.
        run: Called with model and inputs, returns what a loss is computed of.
        low: The 16-bit type of autocast; ``None`` without it.
        terms: Terms of the loss that are computed of the predictions.
        teachers: Teachers that run beside the student on the same batch.
        checkpointing: Whether activations are computed again in the backward pass.
        keeps_casts: See ``AsOnDevice``.
        on_gpu: See ``AsOnDevice``.
    """
    live, modes = LiveBytes(), AsOnDevice(low, keeps_casts=keeps_casts, on_gpu=on_gpu)
    live.know([*model.parameters(), *model.buffers(), *inputs.values()])
    model.train()
    hooks = [
        weight.register_post_accumulate_grad_hook(live.is_done) for weight in model.parameters() if weight.requires_grad
    ]
    if checkpointing:
        # What is computed again is so under no mode of ours, unless it is told to.
        model.activation_checkpointing_enable({"use_reentrant": False, "context_fn": partial(_contexts, low, on_gpu)})
    # A mask of some positions is taken for all of them.
    with _config.patch(meta_nonzero_assume_all_nonzero=True), live, modes:
        predicted = run(model, inputs).float()
        modes.let_go()
        said = []
        for _ in range(teachers):
            with torch.no_grad():
                said.append(run(model, inputs))
        parts = [_Term.apply(predicted) for _ in range(terms)]
        size, loss = predicted.nbytes, torch.stack(parts).sum()
        del predicted, said, parts
        kept = live.now
        loss.backward()
    for hook in hooks:
        hook.remove()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    found = sum(each.nbytes for each in gradients)
    model.zero_grad(set_to_none=True)
    return PassBytes(sum(value.nbytes for value in inputs.values()), size, kept, live.peak, live.peak_beside, found)
