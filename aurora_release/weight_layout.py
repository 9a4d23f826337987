"""Weights in the order in which a processor multiplies them."""

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_ROWS = 8
"""Rows of a step, for which the order is chosen; the chunks of a prompt gain as well."""


def pack(model: Any) -> None:
    """Lay out the weights of the linear layers of `model` anew, where it computes on a CPU.

    oneDNN otherwise does so in each product, which takes as long as the product itself where there
    are few rows. A sum may be taken in another order (in bfloat16 mostly none is), and in float32
    an answer alone and in a batch differ less. Quantized layers stay as they are.
    """
    import torch

    if model.device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return
    types = [torch.float32]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        types.append(torch.bfloat16)
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.weight.dtype in types:
            _pack(layer)


def _pack(layer: Any) -> None:
    import torch

    packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS)
    layer.forward = partial(_product, packed, layer.bias)
    # not kept twice, but where embeddings share it
    layer.register_parameter("weight", None)


def _product(
    weight: "torch.Tensor", bias: "torch.Tensor | None", rows: "torch.Tensor"
) -> "torch.Tensor":
    import torch

    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return made
