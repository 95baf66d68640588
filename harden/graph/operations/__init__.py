"""What a graph computes, one frozen value an operation: its attributes are fields, its tensors arguments."""

from harden.graph.operations.affine import (
    AveragePool,
    BatchNormalization,
    Conv,
    Gemm,
    MatMul,
    ReduceMean,
    ReduceSum,
)
from harden.graph.operations.arithmetic import Add, Div, Mul, Neg, Sub
from harden.graph.operations.moving import Concat, Expand, Gather, Pad, Reshape, Slice, Transpose
from harden.graph.operations.normalising import LayerNormalization, Softmax
from harden.graph.operations.pointwise import (
    Abs,
    Clip,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Pow,
    Relu,
    Sigmoid,
    Sqrt,
    Tanh,
)
from harden.graph.operations.pooling import MaxPool
from harden.graph.operations.protocol import Operation
from harden.graph.operations.quantised import DequantizeLinear, QuantizeLinear

__all__ = [
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Conv",
    "DequantizeLinear",
    "Div",
    "Erf",
    "Exp",
    "Expand",
    "Gather",
    "Gelu",
    "Gemm",
    "HardSigmoid",
    "HardSwish",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "MatMul",
    "MaxPool",
    "Mul",
    "Neg",
    "Operation",
    "Pad",
    "Pow",
    "QuantizeLinear",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Sqrt",
    "Sub",
    "Tanh",
    "Transpose",
]
