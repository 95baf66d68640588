"""Networks by the names that `--model` takes, built for images and classes of a data set."""

from __future__ import annotations

import difflib
import warnings
from typing import Any

from torch import nn

from harden.errors import InputError
from harden.models.small_networks import small_cnn
from harden.system.named_function import call_function, import_function

FORMS = "small, torchvision:NAME, module:function, or a run's folder"
# By the package of a builder.
_OTHER_TASKS = {
    "detection": "a detector",
    "segmentation": "a network for segmentation",
    "video": "a network for videos",
    "optical_flow": "a network for optical flow",
    "quantization": "a quantised network, which has no gradients",
}


def build_network(spec: str, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build the network, or the Classifier that a user's function returns.

    Args:
        spec: small, torchvision:NAME or module:function.
        image_shape: (C, H, W).
        classes: the number of classes.

    Raises:
        InputError: there is no such model, or it can't be built for such images.
    """
    channels, height, _ = image_shape
    fits = {"in_channels": channels, "num_classes": classes, "image_size": height}
    kind, _, name = spec.partition(":")
    if spec == "small":
        return small_cnn(**fits)
    if spec.endswith(".onnx"):
        raise InputError(
            f"{spec}, a bare ONNX file",
            "a network whose weights can be trained",
            "point to its run's folder, or use `harden evaluate`, which takes a file",
        )
    if kind == "torchvision" and name:
        return torchvision_network(name, fits["num_classes"], image_shape)
    if name:
        return _of_function(spec, fits)
    close = difflib.get_close_matches(kind, ("small", "torchvision"), n=1)
    instead = f"did you mean {close[0]}?" if close else "write --model small, for instance"
    raise InputError(f"model {spec!r}", FORMS, instead)


def torchvision_network(name: str, classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """One of torchvision's classifiers with fresh weights, without auxiliary classifiers.

    Raises:
        InputError: torchvision has no such classifier, or it does not take such images.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        if name in models.list_models():
            package = models.get_model_builder(name).__module__.split(".")[2]
            kind = _OTHER_TASKS.get(package, f"a network for {package}")
            raise InputError(
                f"torchvision model {name!r}, {kind}", "an image classifier", "write torchvision:resnet18"
            )
        close = difflib.get_close_matches(name, known)
        hint = f"did you mean {', '.join(close)}?" if close else "see torchvision.models.list_models()"
        raise InputError(f"torchvision model {name!r}", "a name that torchvision knows", hint)
    channels, height, width = image_shape
    shape = f"{height}x{width} images with {channels} channels"
    if channels != 3:
        raise InputError(
            f"torchvision model {name!r} for {shape}",
            "images with 3 channels",
            "write a function that builds a network for them: --model module:function",
        )
    # The auxiliary classifiers serve training from scratch on images of 224 and 299 pixels alone.
    special: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        special = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        special = {"image_size": height}
    elif name.startswith("maxvit"):
        special = {"input_size": (height, width)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about torchvision's own code
            network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **special)
    except (AssertionError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"torchvision model {name!r} for {shape} ({reason})",
            "images of a size that it can be built for",
            "resize them, or write torchvision:resnet18",
        ) from error
    return network


def _of_function(spec: str, fits: dict[str, int]) -> nn.Module:
    function = import_function(spec, f"--model is {FORMS}")
    network = call_function(spec, function, "the network", **fits)
    if not isinstance(network, nn.Module):
        seen = f"{spec} returned a {type(network).__name__}"
        raise InputError(seen, "an nn.Module or a harden.Classifier", "return the network")
    return network
