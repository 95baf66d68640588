"""Files of other exporters as classifiers: open sizes set, logits in rows, one logit as two classes."""

from __future__ import annotations

import onnx
import pytest
import torch

from harden.errors import InputError
from harden.graph import BATCH, mixing, read
from harden.graph.foreign_classifier import as_classifier, with_image_size
from tests.graph.graphs import constant, model, normal, one


def test_open_sizes_are_set_and_the_file_is_left_as_it_was() -> None:
    file = one("GlobalAveragePool", ("n", 2, "height", "width"))
    before = file.SerializeToString()
    with pytest.raises(InputError, match="sizes that are known"):
        read(file)
    graph = read(with_image_size(file, (2, 5, 7)))
    assert graph.input.shape == (BATCH, 2, 5, 7)
    assert file.SerializeToString() == before
    x = torch.from_numpy(normal(3, 2, 5, 7))
    torch.testing.assert_close(graph.run(x), x.mean((2, 3), keepdim=True))


def test_sizes_of_other_values_are_left_out() -> None:
    """What shape inference once said of them was about another size."""
    file = one("Relu", ("n", 2, "height", 4))
    file.graph.value_info.append(onnx.helper.make_tensor_value_info("y", 1, ["n", 2, 99, 4]))
    assert len(with_image_size(file, (2, 3, 4)).graph.value_info) == 0


def test_an_input_of_other_dimensions_and_constants_are_not_touched() -> None:
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    file = model([node], ("n", 4), [constant("w", normal(4))])
    file.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, ["k", 4]))
    found = with_image_size(file, (3, 2, 2))
    assert found.graph.input[0] == file.graph.input[0]
    assert with_image_size(file, (4,)).graph.input[1] == file.graph.input[1]


def test_logits_of_another_shape_become_rows() -> None:
    graph = read(one("Relu", ("n", 3, 1, 2)))
    found, x = as_classifier(graph), torch.from_numpy(normal(4, 3, 1, 2))
    assert found.output.shape == (BATCH, 6)
    assert torch.equal(found.run(x), graph.run(x).flatten(1))
    plain = read(one("Relu", ("n", 3)))
    assert as_classifier(plain) is plain


@pytest.mark.parametrize("shape", [(1,), (1, 1, 1)])
def test_one_logit_is_two_classes(shape: tuple[int, ...]) -> None:
    found = as_classifier(read(one("Neg", ("n", *shape))))
    x = torch.tensor([-1.5, 0.25]).reshape(2, *shape)
    assert found.run(x).tolist() == [[0.0, 1.5], [0.0, -0.25]]
    assert found.output.shape == (BATCH, 2)
    assert mixing(found) == ()


def test_new_values_have_names_of_their_own() -> None:
    """Also where the file has a constant of the name that the new one would get."""
    node = onnx.helper.make_node("MatMul", ["x", "two_classes"], ["y"])
    graph = read(model([node], ("n", 4), [constant("two_classes", normal(4, 1))]))
    found, x = as_classifier(graph), torch.from_numpy(normal(3, 4))
    names = [each.output for each in found.nodes] + [*found.constants, found.input.name]
    assert len(set(names)) == len(names)
    torch.testing.assert_close(found.run(x)[:, 1:], graph.run(x))
