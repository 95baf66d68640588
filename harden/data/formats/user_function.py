"""Loader of data that a user's function returns."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harden.data.formats.arrays import KEYS, OPTIONAL, TESTED, from_arrays
from harden.data.splits.split import Splits
from harden.errors import HardenError, InputError


def load_function(module: str, function: str, *, needs_train: bool = True) -> Splits:
    """Call module.function() and convert its result to Splits.

    The module is searched in the working folder first, then on Python's path. The function returns
    Splits, or (x_train, y_train, x_test, y_test), or a dict with these keys and, if wanted, classes, layout,
    group_train, group_test and x_unlabelled. The tuple may be longer by group_train and group_test, and then
    by x_unlabelled. Numpy arrays hold images as (N, H, W, C) or (N, H, W), tensors as (N, C, H, W).
    Exceptions of the function are not caught.

    Args:
        module: dotted name of the module.
        function: name of the function.
        needs_train: whether x_train and y_train are required; otherwise (x_test, y_test) is enough.

    Raises:
        InputError: there is no such module or function, or it returns something else.
    """
    spec = f"{module}:{function}"
    with _working_folder_first(), _named(spec):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module exists, and a module that it imports does not
            raise InputError(
                f"{spec}: no module {error.name!r}",
                "a module in the working folder or installed",
                "check the name",
            ) from None
        call = getattr(found, function, None)
        if not callable(call):
            raise InputError(
                f"{spec}: {module} has no function {function!r}",
                "a function of no arguments",
                "check the name",
            )
        if not _takes_nothing(call):
            raise InputError(
                f"{spec} needs arguments", "a function of no arguments", "wrap it in one that gives them"
            )
        returned = call()
    return _as_splits(returned, spec, function, KEYS if needs_train else TESTED)


def _takes_nothing(call: Callable[..., object]) -> bool:
    try:
        inspect.signature(call).bind()
    except TypeError:
        return False
    except ValueError:  # some compiled functions have no signature
        return True
    return True


def _as_splits(returned: object, spec: str, name: str, needed: tuple[str, ...]) -> Splits:
    if isinstance(returned, Splits):
        return returned
    if isinstance(returned, dict) and all(key in returned for key in needed):
        known = {key: returned[key] for key in (*KEYS, *OPTIONAL) if returned.get(key) is not None}
        return from_arrays(known, name, returned.get("classes"), returned.get("layout"))
    if isinstance(returned, tuple | list) and len(returned) in (len(needed), 4, 6, 7):
        keys = needed if len(returned) == len(needed) else (*KEYS, *OPTIONAL)
        named = dict(zip(keys, returned, strict=False))
        return from_arrays({key: part for key, part in named.items() if part is not None}, name)
    seen = f"keys {', '.join(map(str, returned))}" if isinstance(returned, dict) else type(returned).__name__
    raise InputError(
        f"{spec} returned {seen}",
        f"harden.data.Splits, the tuple ({', '.join(needed)}) or a dict with these keys",
        "return one of them",
    )


@contextmanager
def _named(spec: str) -> Iterator[None]:
    """Add a note that names the spec to exceptions of the user's code."""
    try:
        yield
    except HardenError:
        raise
    except Exception as error:  # a user's function may raise anything; it is raised again
        error.add_note(f"raised by {spec}")
        raise


@contextmanager
def _working_folder_first() -> Iterator[None]:
    """Search modules in the working folder first, as `python -m` does and an installed command does not."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
