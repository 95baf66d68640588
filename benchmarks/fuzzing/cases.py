"""One case: a mutated input, the library function that reads it, and what came of it.

Outcomes: `refused` (HardenError, or a finding that is broken), `same` (what was read is the unmutated
content), `variant` (it is another valid content, and no digest covers it). Everything else is a
`DefectError`, or whatever the library raised.
"""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.fuzzing import oracle, specifications
from benchmarks.fuzzing.binaries import npz_members, safetensors_header, witness_edit
from benchmarks.fuzzing.graphs import graph_edit
from benchmarks.fuzzing.images import Images
from benchmarks.fuzzing.mutations import Mutated, UntoldError, anyhow
from benchmarks.fuzzing.oracle import DefectError
from benchmarks.fuzzing.seeds import TOML, network
from benchmarks.fuzzing.texts import json_edit, json_text, toml_text
from harden.artefact.runtime.session import Session
from harden.certificate import canonical_json, certificate_file
from harden.certificate.graph_digest import graph_digest_bytes
from harden.certificate.page import html_page
from harden.cli import main
from harden.data.formats.npz import load_npz
from harden.description import describe, restore
from harden.errors import HardenError
from harden.regression import baseline
from harden.training.checkpointing.weights_file import restore_weights_file
from harden.verifier.verification import verify

COMMAND_EVERY = 500
_WEIGHTS = {"npz": 22, "certificate": 20, "evidence": 14, "onnx": 20, "safetensors": 12, "json": 8, "toml": 4}
_WEIGHTS |= {"property": 8, "baseline": 6, "image": 14}
FORMATS = tuple(_WEIGHTS)
_MODEL, _EVIDENCE, _CERTIFICATE = "model.onnx", "evidence.npz", "certificate.json"


class Result(NamedTuple):
    """A case's format, the mutation's name and what came of it."""

    format: str
    mutation: str
    outcome: str


class Cases:
    """All cases of one seed: case `number` is the same input on every machine with the same seed files.

    Args:
        seeds: the folder that `seeds.write` filled.
        place: an empty folder, in which each case's input lies.
        seed: of all draws.
        formats: of FORMATS, those that are drawn from.
    """

    def __init__(self, seeds: Path, place: Path, seed: int, formats: tuple[str, ...] = FORMATS) -> None:
        self._drawn, self.images = formats, Images(place)
        self.place, self.seed, self.folder = place, seed, place / "artefact"
        files = {path.name: path.read_bytes() for path in sorted(seeds.iterdir()) if path.is_file()}
        self.good = {path.name: path.read_bytes() for path in (seeds / "artefact").iterdir()}
        self.files, self.npz = files, [name for name in files if name.endswith(".npz")]
        self.others = [*files.values(), self.good[_MODEL], self.good[_EVIDENCE]]
        self.folder.mkdir()
        self.fields = json.loads(self.good[_CERTIFICATE])
        self._touched = set(self.good)
        (place / "uint8.npz").write_bytes(files["uint8.npz"])
        self.splits = {name: load_npz(str(seeds / name)) for name in self.npz}
        self.evidence = oracle.arrays(self.good[_EVIDENCE])
        self.session = Session(self.good[_MODEL])
        self.logits = self._logits(self.session)
        self.weights = network(seed=1)
        restore_weights_file(self.weights, seeds / "weights.safetensors")
        self.state = {name: value.clone() for name, value in self.weights.state_dict().items()}
        self.formats: dict[str, Callable[[random.Random, bool], tuple[str, str]]] = {
            **{"npz": self._npz, "certificate": self._certificate, "evidence": self._of_evidence},
            **{"onnx": self._onnx, "safetensors": self._safetensors, "json": self._json, "toml": self._toml},
            **{"property": self._property, "baseline": self._baseline, "image": self._image},
        }

    def run(self, number: int) -> Result:
        """Make the input of a case, have it read, and say what came of it.

        Raises:
            DefectError: what was read is neither refused nor valid, or an exit code is not what it has to be.
        """
        command = number % COMMAND_EVERY == COMMAND_EVERY - 1
        for attempt in range(100):
            draw = random.Random(f"{self.seed}/{number}/{attempt}")
            kind = draw.choices(self._drawn, [_WEIGHTS[name] for name in self._drawn])[0]
            try:
                return Result(kind, *self.formats[kind](draw, command))
            except UntoldError:
                continue
        raise DefectError("a hundred mutations that change nothing")

    def _mutated(
        self, data: bytes, draw: random.Random, *structured: Callable[[bytes, random.Random], Mutated]
    ) -> Mutated:
        if structured and draw.random() < 0.65:
            name, made = draw.choice(structured)(data, draw)
        else:
            name, made = anyhow(data, draw, draw.choice(self.others))
        if made == data:
            raise UntoldError("no change")
        return name, made

    def _npz(self, draw: random.Random, command: bool) -> tuple[str, str]:
        seed, path = draw.choice(self.npz), self.place / "data.npz"
        name, made = self._mutated(self.files[seed], draw, npz_members)
        path.write_bytes(made)
        try:
            outcome = oracle.splits(load_npz(str(path)), self.splits[seed])
        except HardenError as error:
            outcome = _refused(error)
        if command:
            words = ["evaluate", "small", "--data", f"npz:{path}", "--steps", "1", "--restarts", "1"]
            _exit_code(words, outcome)
        return name, outcome

    def _certificate(self, draw: random.Random, command: bool) -> tuple[str, str]:
        good = self.good[_CERTIFICATE]
        if draw.random() < 0.35:
            name, made = self._mutated(good, draw, json_text)
            self._put(made)
            read = self._read(render=True)
            if read == "variant":
                raise DefectError("another content under the old seal")
        else:
            name, made = self._resealed(draw)
            self._put(made)
            read = self._read(render=draw.random() < 0.25)
        return name, self._verified(command, lambda: oracle.certificate(made, good)) or read

    def _resealed(self, draw: random.Random) -> Mutated:
        name, fields = json_edit(json.loads(self.good[_CERTIFICATE]), draw)
        try:
            return f"resealed {name}", _sealed(fields)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            pass  # no seal can be made for it: as text
        try:
            return name, json.dumps(fields, indent=2).encode()
        except RecursionError:
            raise UntoldError("deeper than json can write") from None

    def _read(self, render: bool) -> str:
        try:
            certificate = certificate_file.read(self.folder)
            if render:
                html_page.render(certificate)
        except HardenError as error:
            return _refused(error)
        return "same" if certificate_file.to_bytes(certificate) == self.good[_CERTIFICATE] else "variant"

    def _of_evidence(self, draw: random.Random, command: bool) -> tuple[str, str]:
        name, made = self._mutated(self.good[_EVIDENCE], draw, npz_members, witness_edit)
        self._put(self._issued(1, sha256=canonical_json.sha256_bytes(made)), evidence=made)
        predicate = self.fields["predicate"]
        return name, self._verified(
            command, lambda: oracle.evidence(made, self.evidence, predicate, self.session)
        ) or "refused"

    def _onnx(self, draw: random.Random, command: bool) -> tuple[str, str]:
        name, made = self._mutated(self.good[_MODEL], draw, graph_edit)
        fresh, graph = draw.random() < 0.7, self.fields["subject"][0]["digest"]["graph"]
        try:
            found = graph_digest_bytes(made)
            fresh = fresh and found != graph
            graph = found if fresh else graph
        except HardenError:
            fresh = False
        self._put(self._issued(0, sha256=canonical_json.sha256_bytes(made), graph=graph), model=made)
        loads = self._loads(made)

        def held() -> str:
            if loads == "refused":
                raise DefectError("verified, but the library's own session refuses it")
            logits = self._logits(Session(made))
            if not fresh and not np.array_equal(logits, self.logits):
                raise DefectError("another function under the same digest")
            return "variant" if fresh else "same"

        return name, self._verified(command, held) or loads

    def _loads(self, made: bytes) -> str:
        try:
            session = Session(made)
            oracle.shapes(session)
            if math.prod(session.image_shape) < 2**16:
                logits = session(np.zeros((2, *session.image_shape), np.float32))
                if logits.shape != (2, session.classes):
                    raise DefectError(f"logits of shape {logits.shape} from {session.classes} classes")
        except HardenError as error:
            return _refused(error)
        return "variant"

    def _safetensors(self, draw: random.Random, command: bool) -> tuple[str, str]:
        path = self.place / "weights.safetensors"
        name, made = self._mutated(self.files["weights.safetensors"], draw, safetensors_header)
        path.write_bytes(made)
        try:
            restore_weights_file(self.weights, path)
            outcome = oracle.state(self.weights.state_dict(), self.state)
        except HardenError as error:
            outcome = _refused(error)
        if command:
            spec, data = "benchmarks.fuzzing.seeds:network", f"npz:{self.place / 'uint8.npz'}"
            words = [
                "evaluate",
                spec,
                "--weights",
                str(path),
                "--data",
                data,
                "--steps",
                "1",
                "--restarts",
                "1",
            ]
            _exit_code(words, outcome)
        return name, outcome

    def _json(self, draw: random.Random, command: bool) -> tuple[str, str]:
        file = "described.json"
        if draw.random() < 0.6:
            name, fields = json_edit(json.loads(self.files[file]), draw)
            try:
                made = json.dumps(fields).encode()
            except RecursionError:
                raise UntoldError("deeper than json can write") from None
        else:
            name, made = self._mutated(self.files[file], draw, json_text)
        try:
            return name, self._restored(made)
        except HardenError as error:
            return name, _refused(error)

    def _restored(self, made: bytes) -> str:
        try:
            value = canonical_json.parse_json(made)
        except ValueError:
            return "refused"
        restored = restore(value)
        if restore(describe(restored)) != restored:
            raise DefectError("a value that is another one when it is written and read again")
        return "same" if describe(restored) == json.loads(self.files["described.json"]) else "variant"

    def _toml(self, draw: random.Random, command: bool) -> tuple[str, str]:
        path = self.place / "config.toml"
        name, made = self._mutated(self.files["config.toml"], draw, toml_text)
        path.write_bytes(made)
        try:
            return name, oracle.config(path, TOML)
        except HardenError as error:
            return name, _refused(error)

    def _property(self, draw: random.Random, command: bool) -> tuple[str, str]:
        name, made = self._mutated(specifications.PROPERTY.encode(), draw, specifications.property_text)
        try:
            return name, specifications.read_property(made)
        except HardenError as error:
            return name, _refused(error)

    def _baseline(self, draw: random.Random, command: bool) -> tuple[str, str]:
        good, path = specifications.BASELINE, self.place / "robustness-baseline.json"
        name, made = self._mutated(good.read_bytes(), draw, json_text)
        path.write_bytes(made)
        try:
            return name, specifications.read_baseline(path, baseline.read(good, ""))
        except HardenError as error:
            return name, _refused(error)

    def _image(self, draw: random.Random, command: bool) -> tuple[str, str]:
        name, outcome = self.images.run(draw)
        if command:
            self.images.lay()
            words = ["evaluate", "small", "--data", f"folder:{self.images.place}", "--steps", "1"]
            _exit_code([*words, "--restarts", "1"], outcome)
        return name, outcome

    def _put(self, certificate: bytes, model: bytes | None = None, evidence: bytes | None = None) -> None:
        for name, content in ((_CERTIFICATE, certificate), (_MODEL, model), (_EVIDENCE, evidence)):
            if content is not None or name in self._touched:
                (self.folder / name).write_bytes(self.good[name] if content is None else content)
            (self._touched.discard if content is None else self._touched.add)(name)

    def _issued(self, subject: int, **digests: str) -> bytes:
        """The good certificate about another file, sealed; by replacing text, quicker than writing."""
        fields = {**self.fields, "subject": [dict(part) for part in self.fields["subject"]]}
        text, old = self.good[_CERTIFICATE], fields["subject"][subject]["digest"]
        fields["subject"][subject]["digest"] = digests
        for name, new in digests.items():
            text = text.replace(old[name].encode(), new.encode())
        return text.replace(self.fields["seal"]["sha256"].encode(), canonical_json.seal_of(fields).encode())

    def _logits(self, session: Session) -> Any:
        return np.concatenate([session(self.evidence["original"]), session(self.evidence["witness"])])

    def _verified(self, command: bool, held: Callable[[], str]) -> str:
        """What `held` says where every claim holds; nothing where the verifier refuses."""
        try:
            good = verify(self.folder, isolated=False).ok
        except HardenError as error:
            good = _refused(error) != "refused"
        if command:
            _exit_code(["verify", str(self.folder)], "same" if good else "refused")
        return held() if good else ""


def _sealed(fields: Any) -> bytes:
    fields["seal"]["sha256"] = canonical_json.seal_of(fields)
    return canonical_json.render_json(fields)


def _refused(error: HardenError) -> str:
    if "\n" in str(error) or not (error.seen and error.expected and error.instead):
        raise DefectError(f"a refusal that is not one line in three parts: {str(error)[:200]!r}")
    return "refused"


def _exit_code(words: list[str], outcome: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    for line in (out.getvalue() + err.getvalue()).split("\n"):
        if not line.isprintable() or line.lstrip().startswith("::") or "##[" in line:
            raise DefectError(f"harden {words[0]} printed {line[:200]!r}")
    # An evaluation that is not to be believed ends with 1 as well.
    allowed = (1, 2) if outcome == "refused" else (0,) if words[0] == "verify" else (0, 1, 2)
    if code not in allowed:
        raise DefectError(f"harden {words[0]} ended with {code} where {outcome}: {err.getvalue()[-300:]}")
