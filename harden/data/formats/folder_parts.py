"""Which folders are the parts of a data set, and which are its classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from harden.data.formats.folder_tree import Inside, PassedOver, images_below, inside
from harden.errors import InputError

LAYOUT = "lay files out as DIR/train/CLASS/*.png and DIR/test/CLASS/*.png, or DIR/CLASS/*.png"

_TRAIN = frozenset({"train", "training", "trn"})
_TEST = frozenset({"test", "testing", "tst"})
_VALIDATION = frozenset(
    {"val", "valid", "validation", "dev", "development", "eval", "validate", "holdout", "heldout"}
)
_UNLABELLED = frozenset({"unlabelled", "unlabeled"})


@final
@dataclass(frozen=True, slots=True)
class Parts:
    """Where a data set's parts lie.

    Attributes:
        train: the folder of the training part, or None.
        test: that of the test part, or None; with neither, the folder itself holds the classes.
        unlabelled: that of images without labels, or None.
        remarks: what should be known of the choice, a phrase each.
    """

    train: Path | None
    test: Path | None
    unlabelled: Path | None
    remarks: tuple[str, ...] = ()


def is_unlabelled(name: str) -> bool:
    """Whether a folder's name says that its images have no labels."""
    return name.casefold() in _UNLABELLED


def parts_of(root: Path) -> Parts:
    """Tell the parts by their names, in any case, and by what lies in them: a part holds folders of classes.

    A training part and a held-out one are parts where both hold folders and no images of their own. The part
    named test is the test part; without one it is the one named val, validation, valid, dev or eval. A folder
    with such a name that holds images itself, beside other folders of images, is a class.

    Raises:
        InputError: one of them is missing, there are several, or names and content disagree.
    """
    listed = inside(root)
    bare = [name for name in listed.folders if is_unlabelled(name)]
    names = [name for name in listed.folders if name not in bare]
    if len(bare) > 1:
        raise _several(root, bare, "images without labels")
    found = _Found.of(root, names)
    train, test, remarks = found.chosen()
    return Parts(
        None if train is None else root / train,
        None if test is None else root / test,
        root / bare[0] if bare else None,
        remarks,
    )


@final
@dataclass(frozen=True, slots=True)
class _Found:
    root: Path
    inside: dict[str, Inside]
    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: tuple[str, ...]

    @classmethod
    def of(cls, root: Path, names: Sequence[str]) -> _Found:
        listed = {name: inside(root / name) for name in names}
        kinds = {name: _role(name, listed[name]) for name in names}
        by_role = [tuple(name for name in names if kinds[name] is role) for role in _ROLES]
        return cls(root, listed, *by_role)

    @property
    def held_out(self) -> tuple[str, ...]:
        return (*self.test, *self.validation)

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(name for name in self.inside if name not in (*self.train, *self.held_out))

    def nested(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those that hold folders as parts do: without images of their own, or with a few beside several."""
        listed = ((name, self.inside[name]) for name in names)
        return tuple(name for name, one in listed if len(one.folders) > (1 if one.images else 0))

    def chosen(self) -> tuple[str | None, str | None, tuple[str, ...]]:
        """The training part and the test part, None for what is none, and remarks."""
        train, held_out = self.nested(self.train), self.nested(self.held_out)
        if train and held_out:
            return self._both(train)
        self._check_below()
        if self.train and self.held_out:
            flat = [name for name in (*self.train, *self.held_out) if not self.nested((name,))]
            listed = self.inside[flat[0]]
            holds = "images and no folders of classes" if listed.images else "no folders of classes"
            raise InputError(f"{self.root / flat[0]} holds {holds}", "one folder for each class", LAYOUT)
        if held_out and not self.others:
            test, passed = self._test()
            return None, test, passed
        for names, missing in ((train, "test"), (held_out, "train")):
            if names:
                self._check_classes(names[0], missing)
        named = (*self.train, *self.held_out)
        listed_others = ", ".join(self.others[:3]) + (", ..." if len(self.others) > 3 else "")
        remarks = tuple(f"{name!r} is taken for a class, as {listed_others} are" for name in named)
        return None, None, remarks

    def _both(self, train: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
        first, *more = train
        if more:
            raise _several(self.root, train, "a training part")
        test, remarks = self._test()
        if self.others:
            remarks = (*remarks, f"{', '.join(self.others)} passed over: no part")
        return first, test, remarks

    def _test(self) -> tuple[str, tuple[str, ...]]:
        names = self.nested(self.test) or self.nested(self.validation)
        test, *more = names
        if more:
            raise _several(self.root, names, "a test part")
        passed = tuple(
            f"{name!r} passed over: {_NOT_READ if self.nested((name,)) else _NO_CLASSES}"
            for name in self.held_out
            if name != test
        )
        return test, (*(() if test in self.test else (f"{test!r} is the test part",)), *passed)

    def _check_below(self) -> None:
        """Refuse folders that hold parts themselves, images/train and images/val, for instance."""
        for name in self.others:
            roles = {_role(each, Inside((), ())): each for each in self.inside[name].folders}
            held_out = roles.get("test") or roles.get("validation")
            if "train" in roles and held_out:
                raise InputError(
                    f"{self.root / name} holds {roles['train']!r} and {held_out!r}",
                    "parts above the classes, as in DIR/train/CLASS",
                    f"write folder:{self.root / name}, or move parts above where {name} is a class",
                )

    def _check_classes(self, name: str, missing: str) -> None:
        """Refuse a folder with the name of a part that may be one, where its counterpart is missing."""
        own = set(self.inside[name].folders)
        alike = [other for other in self.others if own & set(self.inside[other].folders)]
        filled = [other for other in self.others if images_below(self.root / other, PassedOver())]
        flat = [other for other in filled if self.inside[other].images]
        if filled and not alike and not flat:
            return
        if alike:
            instead = f"rename {alike[0]} to {missing}, or {name} where it is a class"
        elif flat:
            instead = f"move the images of {name} out of its folders where it is a class"
        else:
            instead = f"add {self.root / missing}"
        whole = f", or write folder:{self.root / name} to split it" if missing == "test" else ""
        raise InputError(
            f"{self.root} holds {name!r} and no {missing!r}",
            f"folders of classes in both, or images in {name!r} itself where it is a class",
            instead + whole,
        )


_NOT_READ = "validation images are held out from the training part"
_NO_CLASSES = "it holds no folders of classes"
_ROLES = ("train", "test", "validation")


def _role(name: str, listed: Inside) -> str | None:
    """The part that a name stands for; of a longer name (train2017, seg_train) where folders lie below."""
    words = re.findall(r"[a-z]+", unicodedata.normalize("NFKC", name).casefold())
    bare = [re.sub(r"(?<=.)(set|data|images|imgs)$", "", word) for word in words]
    found = {
        role
        for role, known in zip(_ROLES, (_TRAIN, _TEST, _VALIDATION), strict=True)
        for word in bare
        if word in known
    }
    if len(found) != 1 or (len(bare) > 1 and (listed.images or not listed.folders)):
        return None
    return next(role for role in _ROLES if role in found)


def _several(root: Path, names: Sequence[str], what: str) -> InputError:
    return InputError(
        f"{root} holds {' and '.join(map(repr, names))}",
        f"one folder for {what}",
        "rename or move the others",
    )
