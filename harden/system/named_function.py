"""Functions of a user's that are named `module:function`, imported from the working folder first."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harden.errors import HardenError, InputError


def is_function(name: str) -> bool:
    """Whether a name has the form `module:function`."""
    module, _, function = name.partition(":")
    return bool(module and function)


def import_function(name: str, forms: str) -> Callable[..., Any]:
    """Import the function that `module:function` names.

    Args:
        name: of module and function; the module is searched for in the working folder too.
        forms: the option and what it takes, for the error: "--model is small, module:function, ...".

    Raises:
        InputError: there is no such module or function, or the module raises.
    """
    module, _, function = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise _not_importable(name, error, forms) from error
        raise InputError(
            f"{name}, whose module {error.name!r} is not found from here",
            "a function that can be imported",
            f"change to the folder that holds {module.split('.')[0]}, or add that folder to PYTHONPATH; "
            f"{forms}",
        ) from error
    except Exception as error:  # a user's module may raise anything
        raise _not_importable(name, error, forms) from error
    if not callable(found):
        raise InputError(f"{name}, a {type(found).__name__}", "a function", f"name a function; {forms}")
    return found  # type: ignore[no-any-return]  # callable, as checked


def call_function(name: str, function: Callable[..., Any], result: str, **offered: object) -> Any:
    """Call a user's function with those of the offered arguments that it has parameters for.

    Args:
        name: of the function, `module:function`.
        function: to call.
        result: what it has to return, for the error: "the network".
        **offered: arguments by the names of parameters.

    Raises:
        InputError: the function raises.
    """
    parameters = inspect.signature(function).parameters
    try:
        return function(**{key: value for key, value in offered.items() if key in parameters})
    except (HardenError, MemoryError):
        raise
    except Exception as error:  # a user's function may raise anything
        if type(error).__name__ == "OutOfMemoryError":  # of torch, which this package does not import
            raise
        raise InputError(
            f"{name} raised {type(error).__name__} ({_reason(error) or 'no message'})",
            f"a function that builds {result}",
            "call it in Python to see where it fails",
        ) from error


def _not_importable(name: str, error: Exception, forms: str) -> InputError:
    seen = f"{name} ({_reason(error) or type(error).__name__})"
    return InputError(seen, "a function that can be imported", f"correct it; {forms}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
