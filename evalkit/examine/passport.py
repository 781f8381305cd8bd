"""The reference as one file, which later candidates are held against with no reference up: what it holds, and its form.

It is a zip file of JSON documents (`MEMBERS`) whose comment, the last 64 bytes, is the SHA-256 of all before: a byte
that is another is found before anything is unpacked. That is no signature: whoever changes a passport on purpose can
write the new digest, too, so that of one from elsewhere is held against the digest that its maker tells.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import orjson

from evalkit import codec
from evalkit.config import EndpointConfig, public_dump
from evalkit.errors import UNREADABLE, UsageError
from evalkit.examine.asker import Trial
from evalkit.examine.contract import Sheet
from evalkit.examine.probe import SAMPLED, Asked, Material, Plan
from evalkit.examine.texts import SAMPLER
from evalkit.files import digest_lines, write_whole

SUFFIX: Final = ".evalkit"
FORMAT: Final = 1
MOST_BYTES: Final = 20_000_000
MOST_UNPACKED_BYTES: Final = 64_000_000
LEAST_PROMPTS: Final = 8
MOST_PROMPTS: Final = 64
MOST_TOKENS: Final = 4096
DIGEST_BYTES: Final = 64
SETTINGS: Final = ("model", "build", "sampling")
"""What of the reference's configuration goes with it: no addresses, folders, headers or commands."""
OWN_SCORES: Final = frozenset({"reference_on_reference", "reference_again", "reference_otherwise"})
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_NOWHERE: Final = "http://127.0.0.1:9/v1"
"""A sheet has an endpoint's configuration, which has an address; nobody is asked there."""


@dataclass(frozen=True, slots=True)
class About:
    """Who was recorded. `fingerprint` is the SHA-256 of all prompts as its tokens: of its tokeniser and chat template.

    `settings` are the keys of its configuration that decide an answer; `started`, `requests`, `tokens`, `seconds` and
    `left` are those of its contract's sheet.
    """

    format: int
    created: str
    evalkit_version: str
    name: str
    settings: Mapping[str, Any]
    fingerprint: str
    asked: Asked
    started: str
    requests: int
    tokens: int
    seconds: float
    left: int


@dataclass(frozen=True, slots=True)
class Passport:
    """A recorded reference, a field for each document of the file."""

    about: About
    plan: Plan
    material: Material
    contract: tuple[Trial, ...]

    @property
    def sheet(self) -> Sheet:
        """How the reference kept its contract."""
        told, of = self.about, {key: self.about.settings.get(key) for key in ("model", "build")}
        config = EndpointConfig.model_validate({"name": told.name, "base_url": _NOWHERE, **of})
        return Sheet(config, told.started, self.contract, told.requests, told.tokens, told.seconds, left=told.left)


MEMBERS: Final[dict[str, Any]] = {f"{one.name}.json": one.type for one in fields(Passport)}


def is_passport(path: Path) -> bool:
    """Whether a path is meant as a passport, by its name."""
    return path.suffix == SUFFIX


def settings_of(config: EndpointConfig) -> dict[str, Any]:
    """The keys of a configuration that go into a passport, without secrets."""
    return {key: value for key, value in public_dump(config).items() if key in SETTINGS}


def fingerprint(material: Material) -> str:
    """What an endpoint's tokeniser and chat template make of the prompts, as a SHA-256."""
    return digest_lines(" ".join(map(str, ids or ())) for ids in material.prompts)


def write(passport: Passport, path: Path) -> None:
    """Writes a passport that was seen to be readable.

    Raises `UsageError`: it would be larger than a passport may be, or holds what none does; `StorageError`: the disk
    refuses.
    """
    out = io.BytesIO()
    try:
        texts = {one.name: codec.dump(getattr(passport, one.name)) for one in fields(passport)}
    except ValueError:
        raise UsageError(f"{path}: the reference gives tokens of its own texts no finite log-probability") from None
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in texts.items():
            document = codec.encode(text)
            archive.writestr(zipfile.ZipInfo(f"{name}.json", _DATE), document, zipfile.ZIP_DEFLATED, 9)
        archive.comment = b"0" * DIGEST_BYTES
    body = out.getvalue()[:-DIGEST_BYTES]
    data = body + hashlib.sha256(body).hexdigest().encode()
    _parsed(data, path)
    write_whole(path, data)


def read(path: Path) -> tuple[Passport, str]:
    """The passport in a file, whoever made it, and its SHA-256.

    Raises `UsageError`: it cannot be read, was changed, is too large, or holds what none does.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return _parsed(data, path)


def _parsed(data: bytes, path: Path) -> tuple[Passport, str]:
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path}: has more than {MOST_BYTES:,} bytes, which no passport has")
    if not data.startswith(b"PK"):
        raise UsageError(f"{path}: is no passport: `evalkit passport make` writes one")
    sha256 = hashlib.sha256(data[:-DIGEST_BYTES]).hexdigest()
    if data[-DIGEST_BYTES:] != sha256.encode():
        raise UsageError(
            f"{path}: was changed or cut off after it was made: the digest of its bytes is {sha256[:12]}..., not the "
            "one that it ends with: fetch it again, or make it anew"
        )
    try:
        documents = dict(zip(MEMBERS, _unpacked(data), strict=True))
        version = orjson.loads(documents["about.json"])["format"]
        if version != FORMAT:
            raise ValueError(f"another version of evalkit wrote it (format {version!r:.20})")
        made = Passport(*(_document(name, text) for name, text in documents.items()))
        if why := next(_wrong(made), ""):
            raise ValueError(why)
    except (*UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path}: cannot be used as a passport: {error}") from error
    return made, sha256


def _unpacked(data: bytes) -> Iterator[bytes]:
    """The members; a `ValueError` where they are others, or would unpack to more than a passport holds."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if [one.filename for one in members] != list(MEMBERS):
            raise ValueError(f"it does not hold just {', '.join(MEMBERS)}")
        if any(one.compress_type != zipfile.ZIP_DEFLATED for one in members):
            raise ValueError("it is compressed otherwise than by deflate")
        if sum(one.file_size for one in members) > MOST_UNPACKED_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_UNPACKED_BYTES:,} bytes: ask for fewer texts or tokens")
        for one in members:
            with archive.open(one) as file:  # asked for so much, it unpacks no more
                yield file.read(one.file_size)


def _document(name: str, text: bytes) -> Any:
    try:
        return codec.read(MEMBERS[name], text)
    except UsageError as error:
        raise ValueError(f"{name}: {error}") from None


def _wrong(made: Passport) -> Iterator[str]:
    """What a passport says that none does, though its types allow it."""
    try:
        _ = made.sheet
    except ValueError:
        yield "about.json: its name, model or build is none that a configuration has"
    told = codec.leaves(orjson.loads(codec.dump(made.about)))
    if not all("".join(text.split()).isprintable() for text in (*told, *told.values())):
        yield "about.json: holds characters that cannot be printed"
    plan, material = made.plan, made.material
    n = len(plan.prompts)
    inside = LEAST_PROMPTS <= n <= MOST_PROMPTS and 0 < plan.tokens <= MOST_TOKENS and plan.seed >= 0 < plan.at_once
    if not inside or (plan.sampler and not "temperature" in plan.sampler.keys() <= {"temperature", *SAMPLER}):
        yield "plan.json: asks for what no probe asks"
    messages = [message for prompt in plan.prompts for message in prompt]
    if not all(
        one.keys() == {"role", "content"} and {type(text) for text in one.values()} == {str} for one in messages
    ):
        yield "plan.json: a message has a role and a content"
    sizes = (min(n, plan.greedy), min(n, SAMPLED) if plan.sampler else 0, *[n] * (2 + len(material.scores)))
    lists = (material.greedy, material.sampled, material.prompts, material.texts, *material.scores.values())
    if sizes != tuple(map(len, lists)):
        yield "material.json: has other numbers of texts than of prompts"
    if not {"reference_on_reference", "reference_again"} <= material.scores.keys() <= OWN_SCORES:
        yield "material.json: has other scores than those of a reference"
    texts = [one for one in (*material.texts, *material.greedy, *material.sampled) if one is not None]
    if not all(len(one.ids) == len(one.scores.logprobs) <= plan.tokens for one in texts):
        yield "material.json: a text has as many log-probabilities as tokens, and no more than were asked for"
    ids = (*(one or () for one in material.prompts), *(one.ids for one in texts))
    if not all(0 <= token < 1 << 31 for one in ids for token in one):
        yield "material.json: there is no such token"
    if fingerprint(material) != made.about.fingerprint:
        yield "about.json: its fingerprint is not that of the prompts"
