"""Data from a user's own function."""

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
    """Call module.function() and take what it returns as data.

    The module is looked for in the working folder first, then where Python looks. The function returns
    Splits, or (x_train, y_train, x_test, y_test), or a dict with these keys and, if wanted, classes, layout,
    group_train, group_test and x_unlabelled. The tuple may go on with group_train and group_test, and then
    with x_unlabelled. Numpy arrays hold images as (N, H, W, C) or (N, H, W), tensors as (N, C, H, W). What
    it raises is not caught.

    Args:
        module: where the function is.
        function: its name.
        needs_train: whether x_train and y_train have to be there; (x_test, y_test) is enough where not.

    Raises:
        InputError: there is no such module or function, or it returns something else.
    """
    spec = f"{module}:{function}"
    with _working_folder_first(), _named(spec):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there; what it imports is not
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
    except ValueError:  # some compiled functions don't tell
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
    """Let what the user's code raises go on as it is, with a note on whose it is."""
    try:
        yield
    except HardenError:
        raise
    except Exception as error:  # a user's function may raise anything: it goes on, with a note
        error.add_note(f"raised by {spec}")
        raise


@contextmanager
def _working_folder_first() -> Iterator[None]:
    """Look for modules in the working folder first, as `python -m` does and an installed command does not."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
