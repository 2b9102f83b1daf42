"""lstmkit.LSTM: torch.nn.LSTM with every variant, any-device lengths, resets and traces."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lstmkit.errors import UserError
from lstmkit.kernels import registry
from lstmkit.kernels.contract import Case, Steer
from lstmkit.layers import arguments, initialisation
from lstmkit.layers.initialisation import Chrono
from lstmkit.layers.run import Call, run
from lstmkit.layers.trace import Trace
from lstmkit.notation import gate_rows, suffix

if TYPE_CHECKING:
    from lstmkit.program import Program

Hidden = tuple[Tensor, Tensor]

# Keyword-only arguments and their defaults: what torch.nn.LSTM does not have.
VARIANTS: dict[str, Any] = {
    "peephole": False,
    "layer_norm": False,
    "coupled_gates": False,
    "zoneout": 0.0,
    "weight_drop": 0.0,
    "recurrent_dropout": 0.0,
    "variational_dropout": None,
    "residual": False,
    "forget_bias": None,
    "init": "torch",
    "recompute": False,
    "generator": None,
    "backend": "auto",
}


class LSTM(nn.RNNBase):
    """A drop-in for torch.nn.LSTM: the same arguments, parameters, state_dict, errors and results.

    Keyword-only arguments:
        peephole: gates see the cell (Gers & Schmidhuber 2000); adds weight_peephole (3, H).
        layer_norm: Ba et al. 2016; adds norm_ih_weight, norm_hh_weight (4H), norm_c_weight,
            norm_c_bias (H).
        coupled_gates: f = 1 - i (Greff et al. 2017); weights have 3H rows i, g, o, and
            weight_peephole has 2.
        zoneout: probability, or (hidden, cell), of keeping the old state (Krueger et al. 2017).
        weight_drop: DropConnect on weight_hh, one mask a call (Merity et al. 2017).
        recurrent_dropout: dropout on h where it enters the gates, one mask a sequence (Gal &
            Ghahramani 2016).
        variational_dropout: (input, between layers, output), one mask a sequence; excludes
            `dropout`.
        residual: layers after the first add their input to their output.
        forget_bias: the initial bias of the forget gate, of every layer and direction.
        init: "torch", "orthogonal" or Chrono(t_max).
        recompute: keep no gates for the backward pass, compute them again: less memory.
        generator: torch.Generator of all masks; without one, torch's default generator.
        backend: "auto", or the name of one, which raises where it cannot.

    Plain `dropout` without `generator` draws exactly torch.nn.LSTM's masks. All others are
    counter-based, keyed by one seed a call, the sample's id and the unit: a sample meets the same
    mask alone as in a batch (give `sample_ids` to name samples; their place in the batch if not).

    Raises what torch.nn.LSTM raises, and UserError (a ValueError) for variants that mean nothing
    together.

    Attributes:
        steer: where it is set, every step runs on the equations in Python and `steer` may change
            what they compute; `lstmkit.inspection.intervention` sets it for a while.
    """

    steer: Steer | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        peephole: bool = False,
        layer_norm: bool = False,
        coupled_gates: bool = False,
        zoneout: float | tuple[float, float] = 0.0,
        weight_drop: float = 0.0,
        recurrent_dropout: float = 0.0,
        variational_dropout: tuple[float, float, float] | None = None,
        residual: bool = False,
        forget_bias: float | None = None,
        init: str | Chrono = "torch",
        recompute: bool = False,
        generator: torch.Generator | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )
        initialisation.check(init, bias, coupled_gates, forget_bias)
        self.peephole, self.layer_norm, self.coupled_gates = peephole, layer_norm, coupled_gates
        self.zoneout = arguments.pair(zoneout)
        self.weight_drop = arguments.probability("weight_drop", weight_drop)
        self.recurrent_dropout = arguments.probability("recurrent_dropout", recurrent_dropout)
        self.variational_dropout = arguments.triple(variational_dropout)
        self.residual, self.forget_bias, self.init = residual, forget_bias, init
        self.recompute, self.generator = recompute, generator
        if backend != "auto":
            registry.backend(backend)
        self.backend = backend
        self._check_together()
        if peephole or layer_norm or coupled_gates:
            self._rebuild_parameters({"device": device, "dtype": dtype})
        if self._is_variant():
            self.reset_parameters()

    def _check_together(self) -> None:
        if self.dropout and self.variational_dropout is not None:
            raise UserError("variational_dropout excludes dropout: give one of them")
        if self.residual and self.num_layers == 1:
            warnings.warn("residual adds nothing with one layer", stacklevel=3)

    def _is_variant(self) -> bool:
        drawn = (self.peephole, self.layer_norm, self.coupled_gates, self.init != "torch")
        return any(drawn) or self.forget_bias is not None

    def _rebuild_parameters(self, factory: dict[str, Any]) -> None:
        H, G = self.hidden_size, gate_rows(self.coupled_gates)
        for layer, reverse in self.directions():
            end = suffix(layer, reverse)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                old = getattr(self, name + end, None)
                if old is not None and self.coupled_gates:
                    shape = (G * H, *old.shape[1:])
                    setattr(self, name + end, nn.Parameter(torch.empty(shape, **factory)))
            for name, shape in self._extra_shapes(H, G).items():
                setattr(self, name + end, nn.Parameter(torch.empty(shape, **factory)))

    def _extra_shapes(self, H: int, G: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        if self.peephole:
            shapes["weight_peephole"] = (G - 1, H)
        if self.layer_norm:
            shapes |= {"norm_ih_weight": (G * H,), "norm_hh_weight": (G * H,)}
            shapes |= {"norm_c_weight": (H,), "norm_c_bias": (H,)}
        return shapes

    def directions(self) -> list[tuple[int, bool]]:
        """(layer, reverse) in the order of parameters and states."""
        ways = (False, True) if self.bidirectional else (False,)
        return [(layer, reverse) for layer in range(self.num_layers) for reverse in ways]

    def weights_of(self, layer: int, reverse: bool) -> dict[str, Tensor]:
        """Parameters of one layer and direction as they are now (functional_call, parametrized and
        pruned ones included), by name without suffix."""
        end = suffix(layer, reverse)
        names = ["weight_ih", "weight_hh"]
        names += ["bias_ih", "bias_hh"] if self.bias else []
        names += ["weight_hr"] if self.proj_size else []
        names += list(self._extra_shapes(1, 1))
        return {name: getattr(self, name + end) for name in names}

    def reset_parameters(self) -> None:
        """Draws all parameters anew, as `init` and `forget_bias` say."""
        if "backend" not in self.__dict__:  # called by RNNBase.__init__: PyTorch's own draw
            super().reset_parameters()
            return
        for layer, reverse in self.directions():
            weights = self.weights_of(layer, reverse)
            H = self.hidden_size
            initialisation.initialise(weights, H, self.coupled_gates, self.init, self.forget_bias)

    def flatten_parameters(self) -> None:
        """One piece of memory for cuDNN; nothing to do for variants that it does not run."""
        if not self.__dict__.get("coupled_gates", False):
            super().flatten_parameters()

    def options(self) -> dict[str, Any]:
        """What this layer is, as JSON values, for `lstmkit.program.Builder`."""
        names = ["input_size", "hidden_size", "num_layers", "bidirectional", "proj_size"]
        names += ["coupled_gates", "peephole", "layer_norm", "residual"]
        return {name: getattr(self, name) for name in names} | {"zoneout": list(self.zoneout)}

    def program(self) -> Program:
        """This layer in evaluation, without torch, for `lstmkit.runtime` and `lstmkit.export`.

        Entry `sequence` maps x (B, T, I) to y (B, T, D*P); entry `step`, of one direction only, x
        (B, I) to y (B, P). Both carry the state in the slots `h_lK`, `c_lK`; a bidirectional layer
        has none and begins with 0.
        """
        from lstmkit.program import Builder

        arrays = {
            name + suffix(layer, reverse): p.detach().cpu().float().numpy().copy()
            for layer, reverse in self.directions()
            for name, p in self.weights_of(layer, reverse).items()
        }
        options, both = self.options(), self.bidirectional
        width = (self.proj_size or self.hidden_size) * (1 + both)
        b = Builder("recurrent")
        x = b.input("x", ("B", "T", self.input_size))
        b.output("y", b.lstm(x, arrays, "", options, carried=not both), ("B", "T", width))
        b.entry("sequence")
        if not both:
            x = b.input("x", ("B", self.input_size))
            b.output("y", b.lstm_cell(x, arrays, "", options), ("B", width))
            b.entry("step")
        return b.build()

    def case(self, input: Tensor | PackedSequence, **call: Any) -> Case:
        """The static description of `self(input, **call)` that decides on the backend."""
        data = input.data if isinstance(input, PackedSequence) else input
        device = data.device.type
        autocast = data.dtype != torch.float64  # which autocast leaves alone
        autocast = autocast and device != "meta" and torch.is_autocast_enabled(device)
        return Case(
            device=device,
            dtype=torch.get_autocast_dtype(device) if autocast else data.dtype,
            autocast=autocast,
            hidden_size=self.hidden_size,
            projected=self.proj_size > 0,
            peephole=self.peephole,
            layer_norm=self.layer_norm,
            coupled=self.coupled_gates,
            zoneout=any(self.zoneout),
            recurrent_dropout=self.training and self.recurrent_dropout > 0,
            lengths=isinstance(input, PackedSequence) or call.get("lengths") is not None,
            resets=call.get("resets") is not None,
            recompute=self.recompute,
        )

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Hidden | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        trace: bool = False,
        sample_ids: Tensor | None = None,
    ) -> Any:
        """Runs all layers over all steps.

        Args:
            input: (T, B, I), (B, T, I) with batch_first, (T, I) unbatched, or a PackedSequence.
            hx: (h_0 (L*D, B, P), c_0 (L*D, B, H)), zeros if left out.
            lengths: (B,) valid steps of each sample, on any device, 0 allowed.
            resets: bool, (T, B) or (B, T) as batch_first says: first steps of segments, where the
                state is zeroed (against time, after the step). Segments equal separate runs.
            trace: also return a Trace of gates, cell and hidden state.
            sample_ids: (B,) int64 names of the samples in the masks.

        Returns:
            output (T, B, D*P) in the input's layout, (h_n, c_n), and the Trace if asked for.
        """
        if isinstance(input, PackedSequence):
            if torch.compiler.is_compiling():  # its shapes are data: not for a graph
                eager = torch._dynamo.disable(self.forward)
                given = {"lengths": lengths, "resets": resets, "sample_ids": sample_ids}
                return eager(input, hx, trace=trace, **given)
            call = self._packed_call(input, hx, lengths, resets, sample_ids)
        else:
            call = self._padded_call(input, hx, lengths, resets)
            B, device = call.x.shape[1], call.x.device
            call.sample_ids = arguments.check_sample_ids(sample_ids, B, device)
        call.trace = trace
        call.backend = self._choose(input, lengths, resets)
        output, hidden, traced = run(self, call)
        result = self._unwrap(input, call, output, hidden)
        return (*result, Trace(tuple(traced))) if trace else result

    def _choose(
        self, input: Tensor | PackedSequence, lengths: Tensor | None, resets: Tensor | None
    ) -> str:
        if self.steer is not None:
            return "reference"
        case = self.case(input, lengths=lengths, resets=resets)
        name = registry.select(case, self.backend)
        if name == "reference" and self.backend == "auto" and not torch.compiler.is_compiling():
            registry.warn_slow(case)
        return name

    # --- layouts ----------------------------------------------------------------------------------

    def _padded_call(
        self, input: Tensor, hx: Hidden | None, lengths: Tensor | None, resets: Tensor | None
    ) -> Call:
        if input.dim() not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(0 if self.batch_first else 1)
        hx = self._initial(x, hx, batched)
        self.check_forward_args(x, hx, None)
        x = x.transpose(0, 1) if self.batch_first else x
        if x.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        return Call(
            x,
            hx,
            arguments.check_lengths(lengths, x),
            arguments.check_resets(resets, x, self.batch_first and batched),
        )

    def _initial(self, x: Tensor, hx: Hidden | None, batched: bool) -> Hidden:
        if hx is None:
            h, c = self.get_expected_hidden_size(x, None), self._expected_cell_size(x, None)
            return x.new_zeros(h), x.new_zeros(c)
        if batched and (hx[0].dim() != 3 or hx[1].dim() != 3):
            raise RuntimeError(
                "For batched 3-D input, hx and cx should "
                f"also be 3-D but got ({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )
        if not batched and (hx[0].dim() != 2 or hx[1].dim() != 2):
            raise RuntimeError(
                "For unbatched 2-D input, hx and cx should "
                f"also be 2-D but got ({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )
        return hx if batched else (hx[0].unsqueeze(1), hx[1].unsqueeze(1))

    def _packed_call(
        self,
        input: PackedSequence,
        hx: Hidden | None,
        lengths: Tensor | None,
        resets: Tensor | None,
        sample_ids: Tensor | None,
    ) -> Call:
        if lengths is not None or resets is not None:
            raise UserError(
                "a PackedSequence has its own lengths",
                got="lengths or resets beside it",
                hint="pass the padded tensor with lengths= and resets=",
            )
        data, sizes, order, _ = input
        if hx is None:
            shape_h = self.get_expected_hidden_size(data, sizes)
            hx = data.new_zeros(shape_h), data.new_zeros(self._expected_cell_size(data, sizes))
        elif order is not None:
            hx = hx[0].index_select(1, order), hx[1].index_select(1, order)
        self.check_forward_args(data, hx, sizes)
        ids = arguments.check_sample_ids(sample_ids, hx[0].shape[1], data.device)
        ids = order if ids is None else ids if order is None else ids.index_select(0, order)
        return Call(data, hx, None, None, batch_sizes=sizes, sample_ids=ids, order=order)

    def _expected_cell_size(self, x: Tensor, sizes: Tensor | None) -> tuple[int, int, int]:
        layers, batch, _ = self.get_expected_hidden_size(x, sizes)
        return layers, batch, self.hidden_size

    def _unwrap(
        self, input: Tensor | PackedSequence, call: Call, output: Tensor, hidden: Hidden
    ) -> tuple[Any, Hidden]:
        if isinstance(input, PackedSequence):
            back = input.unsorted_indices
            if back is not None:
                hidden = hidden[0].index_select(1, back), hidden[1].index_select(1, back)
            return PackedSequence(output, *input[1:]), hidden
        output = output.transpose(0, 1) if self.batch_first else output
        if input.dim() == 2:
            output = output.squeeze(0 if self.batch_first else 1)
            hidden = hidden[0].squeeze(1), hidden[1].squeeze(1)
        return output, hidden

    # --- checks, in torch.nn.LSTM's words ---------------------------------------------------------

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        dtype = self.weight_ih_l0.dtype
        if input.dtype != dtype and not torch._C._is_any_autocast_enabled():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). "
                f"Convert input: input.to({dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.size(-1)}"
            )

    def check_forward_args(  # type: ignore[override]
        self, input: Tensor, hidden: Hidden, batch_sizes: Tensor | None
    ) -> None:
        self.check_input(input, batch_sizes)
        if len(hidden) != 2:
            raise RuntimeError("lstm expects two hidden states")
        size = self.get_expected_hidden_size(input, batch_sizes)
        self.check_hidden_size(hidden[0], size, "Expected hidden[0] size {}, got {}")
        size = self._expected_cell_size(input, batch_sizes)
        self.check_hidden_size(hidden[1], size, "Expected hidden[1] size {}, got {}")

    def extra_repr(self) -> str:
        shown = [super().extra_repr()]
        for name, default in VARIANTS.items():
            value = getattr(self, name)
            if name == "zoneout":
                default = (0.0, 0.0)
            if value != default and name != "generator":
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)
