"""Recognition of training, test and unlabelled parts among the folders of a data set."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from harden.data.formats.folder_tree import FolderListing, SkippedFiles, images_below, list_folder
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
class FolderParts:
    """The folders of a data set's parts.

    Attributes:
        train: the folder of the training part, or None.
        test: that of the test part, or None; with neither, the folder itself holds the classes.
        unlabelled: that of images without labels, or None.
        remarks: remarks on the choice, a phrase each.
    """

    train: Path | None
    test: Path | None
    unlabelled: Path | None
    remarks: tuple[str, ...] = ()


def is_unlabelled(name: str) -> bool:
    """Return whether a folder's name is one of those for images without labels."""
    return name.casefold() in _UNLABELLED


def parts_of(root: Path) -> FolderParts:
    """Find the parts by their names, in any case, and by their content: a part holds folders of classes.

    A training part and a held-out one are parts where both hold folders and no images of their own. The part
    named test is the test part; without one it is the one named val, validation, valid, dev or eval. A folder
    with such a name that holds images itself, next to other folders of images, is a class.

    Raises:
        InputError: one of them is missing, there are several, or names and content disagree.
    """
    listed = list_folder(root)
    bare = [name for name in listed.folders if is_unlabelled(name)]
    names = [name for name in listed.folders if name not in bare]
    if len(bare) > 1:
        raise _several(root, bare, "images without labels")
    found = _PartCandidates.of(root, names)
    train, test, remarks = found.chosen()
    return FolderParts(
        None if train is None else root / train,
        None if test is None else root / test,
        root / bare[0] if bare else None,
        remarks,
    )


@final
@dataclass(frozen=True, slots=True)
class _PartCandidates:
    root: Path
    inside: dict[str, FolderListing]
    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: tuple[str, ...]

    @classmethod
    def of(cls, root: Path, names: Sequence[str]) -> _PartCandidates:
        listed = {name: list_folder(root / name) for name in names}
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
        """The names of folders that hold one folder and no images, or at least two folders."""
        listed = ((name, self.inside[name]) for name in names)
        return tuple(name for name, one in listed if len(one.folders) > (1 if one.images else 0))

    def chosen(self) -> tuple[str | None, str | None, tuple[str, ...]]:
        """Choose the training part and the test part, None where there is none, with remarks."""
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
        remarks = tuple(f"{name!r} is read as a class, as {listed_others} are" for name in named)
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
        """Raise InputError where a folder holds parts itself, for instance images/train and images/val."""
        for name in self.others:
            roles = {_role(each, FolderListing((), ())): each for each in self.inside[name].folders}
            held_out = roles.get("test") or roles.get("validation")
            if "train" in roles and held_out:
                raise InputError(
                    f"{self.root / name} holds {roles['train']!r} and {held_out!r}",
                    "parts above the classes, as in DIR/train/CLASS",
                    f"write folder:{self.root / name}, or move parts above where {name} is a class",
                )

    def _check_classes(self, name: str, missing: str) -> None:
        """Raise InputError where a folder may be a part, by its name, and its counterpart is missing."""
        own = set(self.inside[name].folders)
        alike = [other for other in self.others if own & set(self.inside[other].folders)]
        filled = [other for other in self.others if images_below(self.root / other, SkippedFiles())]
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


def _role(name: str, listed: FolderListing) -> str | None:
    """The part that a name denotes; a longer name (train2017, seg_train) counts where it holds folders."""
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
