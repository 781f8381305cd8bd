"""From a suite's description to its items: lm-eval builds the prompts, evalkit keeps them with their identities."""

import hashlib
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import orjson

from evalkit.config.suite import Suite, where
from evalkit.errors import DataError, EvalkitError, SuiteError, did_you_mean
from evalkit.files import digest, digest_lines
from evalkit.model import FinalText, ImageRef, Item, Message, Prompt, Reason, Score, Scorer
from evalkit.scoring import registry
from evalkit.tasks import cache
from evalkit.tasks.data import commit_note
from evalkit.tasks.faults import explained
from evalkit.tasks.pictures import Picture, cluster_of, parts_of, pixel_limit
from evalkit.tasks.suites import members

FEWSHOT_SEED = 1234
# Fields of a document that only the prompt needs; they are neither stored with a run nor given to a scorer.
_PROMPT_ONLY = frozenset({"shots", "pictures"})
_PLAIN = frozenset({str, int, bool, type(None)})


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a run decides about a suite: where the data is, how many items, which.

    `limit` keeps that many items, chosen by a hash of their ids so that a larger limit only adds items.
    """

    data: str | Mapping[str, str] | None = None
    limit: int | None = None
    partial: bool = False
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSuite(cache.Built):
    """A suite with its items, and the digests that decide whether two runs asked the same.

    `score` takes a document and a final text; `scorer_id` names the rule and its version.
    """

    suite: Suite
    score: Scorer
    scorer_id: str
    max_tokens: int | None


def load_suite(suite: Suite, options: LoadOptions) -> LoadedSuite:
    """Builds every prompt of the suite; needs its data set, no endpoint.

    Raises `SuiteError`: where a task does not load, or the suite names a scorer, a field or a setting that is not
    there; `DataError`: where the data set is absent or not what the suite expects.
    """
    _check_settings(suite, options.settings or {})
    own = _own_scorer(suite)
    files, notes = _files(suite, options)
    key = cache.key_of(suite, files, _passed(suite, options), options.limit)
    built = cache.read(suite.name, key) if key is not None else None
    tasks: Sequence[Any] = ()
    if built is None:
        built, tasks = _built(suite, files, options)
        if key is not None:
            cache.write(suite.name, key, built)
    if own is None:
        from evalkit.scoring.hooks import scorer_of

        own = scorer_of(tasks[0])
    moving = commit_note(suite.source, _passed(suite, options))
    made: dict[str, Any] = {one.name: getattr(built, one.name) for one in fields(built)}
    made["notes"] = (*notes, *built.notes, *([moving] if moving else []))
    return LoadedSuite(suite=suite, score=own[0], scorer_id=own[1], max_tokens=suite.max_tokens, **made)


def _built(suite: Suite, files: Sequence[Path], options: LoadOptions) -> tuple[cache.Built, list[Any]]:
    """The suite's items, built by lm-eval, and its tasks."""
    items: list[Item] = []
    stops: set[tuple[str, ...]] = set()
    total = 0
    tasks, notes = _tasks(suite, files, options)
    for task in tasks:
        chosen, count = _choose(task, suite, options, share=len(tasks))
        total += count
        _check_documents(suite, task.eval_docs)
        _build(task, chosen, chat=not by_logprobs(suite))
        items.extend(_option_items(suite, task) if by_logprobs(suite) else _items(suite, task, options))
        until = (task.config.generation_kwargs or {}).get("until")
        stops.add(tuple(str(stop) for stop in (until if isinstance(until, list | tuple) else [until]) if stop))
        task._instances = None  # noqa: SLF001 - lm-eval would hold every prompt a second time
    if len(stops) != 1:
        raise SuiteError(f"{suite.name}: its tasks have different stop strings; give them one `until:` list")
    built = cache.Built(
        items=tuple(items),
        stop=stops.pop(),
        data_digest=digest_lines(
            sorted(
                "\t".join((item.task, item.id, item.doc_hash, ",".join(ref.digest for ref in item.prompt.images)))
                for item in items
            )
        ),
        prompt_digest=digest_lines(sorted(f"{item.task}\t{item.id}\t{item.prompt.digest}" for item in items)),
        total_items=total,
        notes=notes,
    )
    return built, tasks


def _passed(suite: Suite, options: LoadOptions) -> dict[str, Any]:
    """What the loader of documents is told."""
    data = options.data
    return {
        "data": str(data) if isinstance(data, (str, Path)) else dict(data) if data else None,
        "partial": options.partial,
        "suite": suite.name,
        "settings": dict(options.settings or {}),
    }


def _quiet_lm_eval() -> None:
    """Makes lm-eval build silently, with templates compiled once and in a sandbox."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    import lm_eval.api.task
    import lm_eval.utils
    from jinja2.sandbox import SandboxedEnvironment

    if isinstance(lm_eval.utils.env, SandboxedEnvironment):
        return
    # Where tqdm was imported before, by a notebook say, its variable comes too late.
    lm_eval.api.task.tqdm = partial(lm_eval.api.task.tqdm, disable=True)
    theirs = lm_eval.utils.env
    sandboxed = SandboxedEnvironment(loader=None, undefined=theirs.undefined, keep_trailing_newline=True)
    sandboxed.filters.update(theirs.filters)
    sandboxed.from_string = _compiled_once(sandboxed.from_string)  # type: ignore[assignment]
    lm_eval.utils.env = sandboxed


def _compiled_once(from_string: Callable[..., Any]) -> Callable[[str], Any]:
    """`Environment.from_string` with a memory: lm-eval compiles the template again for every document."""

    @lru_cache(maxsize=256)
    def compiled(source: str) -> Any:
        template = from_string(source)
        template.globals = dict(template.globals)  # Jinja copies them at each rendering: of a ChainMap, slowly
        return template

    return compiled


def _files(suite: Suite, options: LoadOptions) -> tuple[list[Path], tuple[Reason, ...]]:
    """The task files to load, and a note on every task that is left out for want of what it needs."""
    if suite.tasks == (suite.name,):
        return [suite.file], ()
    from evalkit.scoring.answers import sandbox

    allowed = bool((options.settings or {}).get("allow_code_execution"))
    missing = sandbox.available() if allowed else "allow_code_execution is not set"
    group = members(suite)
    for member in group:
        if member.fields.prepare is not None:
            _preparer(member.fields.prepare, member.file)
    left_out = [member for member in group if "code_execution" in member.fields.needs and missing]
    kept = [member for member in group if member not in left_out]
    if not left_out:
        return [member.file for member in kept], ()
    counts = {"n": len({member.category for member in kept}), "all": len({member.category for member in group})}
    names = tuple(member.name for member in left_out)
    note = Reason("note.categories", {**counts, "tasks": names, "why": str(missing)})
    return [member.file for member in kept], (note,)


def _tasks(suite: Suite, files: Sequence[Path], options: LoadOptions) -> tuple[list[Any], tuple[Reason, ...]]:
    """The tasks, constructed; with `partial`, a group may lack tasks whose data is not there, and a note says so."""
    tasks, notes = [], list[Reason]()
    for file in files:
        try:
            tasks.append(_lm_eval_task(suite, file, options))
        except DataError as error:
            if not options.partial or len(files) == 1:
                raise
            notes.append(Reason("note.without_task", {"task": file.stem, "why": str(error)}))
    if not tasks:
        raise DataError(f"{suite.name}: without {notes[0].values['task']}: {notes[0].values['why']}")
    return tasks, tuple(notes)


def _lm_eval_task(suite: Suite, file: Path, options: LoadOptions) -> Any:
    """One task of a suite, constructed by lm-eval with its data."""
    _quiet_lm_eval()
    from lm_eval.tasks import TaskManager

    passed = {**_passed(suite, options), "suite_file": str(file)}
    own = suite.scorer is not None
    manager = TaskManager(include_defaults=False, metadata={"evalkit_options": passed} if own else None)
    (task,) = _by_lm_eval(file, "lm-eval cannot load it", manager.load, [str(file)])["tasks"].values()
    wanted = "multiple_choice" if by_logprobs(suite) else "generate_until"
    if wanted != task.OUTPUT_TYPE:
        raise SuiteError(f"{file}: task {task.config.task!r} is {task.OUTPUT_TYPE}, not {wanted}")
    if task.config.num_fewshot is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(FEWSHOT_SEED)
    # lm-eval would decode every picture of the suite while it builds prompts, and hold them all.
    task.config.doc_to_image = None
    return task


def _choose(task: Any, suite: Suite, options: LoadOptions, share: int) -> tuple[list[int] | None, int]:
    """The indices of the documents to ask (None for all), and how many there are."""
    documents = task.eval_docs
    count = len(documents)
    asked = list(range(count))
    if "optional_pictures" in suite.needs and not (options.settings or {}).get("pictures"):
        asked = [index for index in asked if not documents[index].get("images")]
    if options.limit is not None:
        limit = max(1, -(-options.limit // share))
        names = [str(document.get("id", index)) for index, document in enumerate(documents)]
        asked.sort(key=lambda index: hashlib.sha256(f"{suite.name}|{names[index]}".encode()).digest())
        asked = sorted(asked[:limit])
    return (None if len(asked) == count else asked), count


def by_logprobs(suite: Suite) -> bool:
    """True for a suite that compares log-probabilities of given texts and generates none."""
    return "prompt_logprobs" in suite.needs


def _build(task: Any, chosen: list[int] | None, *, chat: bool) -> None:
    build = partial(
        task.build_all_requests,
        # lm-eval asks `index in samples` for every document, so a set; it only iterates and measures it otherwise.
        samples=set(chosen) if chosen else None,
        rank=0,
        world_size=1,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        chat_template=_as_json if chat else None,
        tokenizer_name="",
    )
    _by_lm_eval(task.config.task, "its prompts cannot be built", build)


def _by_lm_eval(whose: object, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What lm-eval makes of a suite's file, its templates and its functions, which may go wrong in any way.

    Raises `SuiteError`: with the cause; evalkit's own errors, which its loader of documents raises, pass as they are.
    """
    try:
        # Of a partial the deepest place is told, which is in the code of the user.
        return registry.called(partial(function, *arguments))
    except registry.CodeError as error:
        cause = error.__cause__
        if isinstance(cause, EvalkitError):
            raise cause from None
        told = explained(whose, cause) if isinstance(whose, Path) else None
        raise SuiteError(told or f"{whose}: {what}: {error}") from error


def _as_json(messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True) -> str:  # noqa: ARG001
    """The chat template that evalkit hands to lm-eval: the messages themselves, to be read back."""
    try:
        return orjson.dumps(messages).decode()
    except orjson.JSONEncodeError:  # half a surrogate pair
        return json.dumps(messages, ensure_ascii=False)


def _from_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


def _prompt(messages: tuple[Message, ...], pictures: Sequence[Picture], options: LoadOptions) -> Prompt:
    """The prompt of an item; pictures go where the last user turn marks them."""
    if not pictures:
        return Prompt(digest=digest(messages), messages=messages)
    max_pixels = pixel_limit(options.settings or {})
    refs = tuple(ImageRef(picture.digest, picture.load, max_pixels) for picture in pictures)
    last = {**messages[-1], "content": parts_of(messages[-1]["content"], len(refs))}
    whole = (*messages[:-1], last)
    return Prompt(digest=digest([whole, [ref.digest for ref in refs], max_pixels]), messages=whole, images=refs)


def _items(suite: Suite, task: Any, options: LoadOptions) -> Iterator[Item]:
    """The items of a task that is asked over chat; ids that occur again are numbered."""
    shared: dict[tuple[str, str], Message] = {}
    taken: Counter[str] = Counter()
    for instance in task.instances:
        messages = tuple(_shared(shared, message) for message in _from_json(instance.args[0]))
        prompt = _prompt(messages, instance.doc.get("pictures") or (), options)
        item = _item(suite, task, instance.doc, prompt)
        taken[item.id] += 1
        yield item if taken[item.id] == 1 else replace(item, id=f"{item.id}-{taken[item.id]}")


def _option_items(suite: Suite, task: Any) -> Iterator[Item]:
    """The items of a multiple_choice task: one prompt an option, each the context with that option behind it."""
    by_document: dict[int, list[Any]] = {}
    for instance in task.instances:
        by_document.setdefault(instance.doc_id, []).append(instance)
    for instances in by_document.values():
        document = {**instances[0].doc, "continuations": [instance.args[1] for instance in instances]}
        texts = [context + continuation for context, continuation in (instance.args for instance in instances)]
        parts = tuple(Prompt(digest=digest(["text", text]), text=text) for text in texts)
        prompt = Prompt(digest=digest([part.digest for part in parts]), text=instances[0].args[0])
        yield replace(_item(suite, task, document, prompt), target=str(document.get("answer")), parts=parts)


def _item(suite: Suite, task: Any, whole: Mapping[str, Any], prompt: Prompt) -> Item:
    """The item of a document as the loader gave it."""
    document = {key: value for key, value in whole.items() if key not in _PROMPT_ONLY}
    doc_hash = _doc_hash(document)
    return Item(
        suite=suite.name,
        task=task.config.task,
        id=str(document.get("id") or doc_hash[:16]),
        prompt=prompt,
        doc=document,
        target=_target(task, whole),
        doc_hash=doc_hash,
        cluster=cluster_of(whole, suite.cluster),
        stratum=tuple(str(document[field]) for field in suite.strata),
        weight=_weight(suite, document),
    )


def _shared(known: dict[tuple[str, str], Message], message: Message) -> Message:
    """The same object for equal messages: few-shot turns are shared by thousands of items."""
    content = message["content"]
    if not isinstance(content, str):
        return message
    return known.setdefault((message["role"], content), message)


def _doc_hash(document: Mapping[str, Any]) -> str:
    """The document's hash by lm-eval's recipe (without fields that only the prompt needs), to join sample files."""
    if _is_plain(document):
        try:
            return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_INDENT_2)).hexdigest()
        except orjson.JSONEncodeError:
            pass  # half a surrogate pair, a number of more than 64 bits
    from lm_eval.utils import handle_non_serializable

    text = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_plain(value: Any) -> bool:
    """True for what orjson and json write alike: text, whole numbers, lists, and mappings from text."""
    kind = value.__class__
    if kind is dict:
        return all(key.__class__ is str and _is_plain(one) for key, one in value.items())
    return all(map(_is_plain, value)) if kind is list else kind in _PLAIN


def _target(task: Any, document: Mapping[str, Any]) -> str:
    target = task.doc_to_target(document)
    if isinstance(target, list):
        return " | ".join(str(one) for one in target)
    return str(target)


def _unjudged(_doc: Mapping[str, Any], _final: FinalText) -> Score:
    """Stands where the judge's grades will be put once both sides have answered."""
    raise SuiteError("an answer that a judge grades was to be scored before the judge was asked")


def _own_scorer(suite: Suite) -> tuple[Scorer, str] | None:
    """What grades the suite and its identity, None where its task does; a `SuiteError` where that is not to be had."""
    if suite.prepare is not None:
        _preparer(suite.prepare, suite.file)
    if suite.scorer is None:
        return None
    if suite.scorer == "judge":
        return _unjudged, "judge"
    try:
        return registry.scorer(suite.scorer, suite.file), registry.version(suite.scorer, suite.file)
    except SuiteError as error:
        raise suite.error("scorer", str(error)) from error


def _preparer(name: str, file: Path) -> None:
    """Raises `SuiteError` with file, line and key, where the preparer that a file names is not to be had."""
    try:
        registry.preparer(name, file)
    except SuiteError as error:
        raise SuiteError(f"{where(file, 'prepare')}: {error}") from error


# What only the documents and the endpoint's file can tell of a suite: told before anything is asked


def _check_settings(suite: Suite, given: Mapping[str, Any]) -> None:
    """Refuses a setting that the suite does not know, with the nearest that it does."""
    known = {*suite.settings}
    known |= {"pictures"} if "optional_pictures" in suite.needs else set()
    known |= {"max_pixels"} if suite.pictures or "optional_pictures" in suite.needs else set()
    for name in given:
        if name not in known and name != "allow_code_execution":
            raise SuiteError(f"settings.{name}: {suite.name} has no such setting{did_you_mean(name, sorted(known))}")


def _check_documents(suite: Suite, documents: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a suite that names a field which its documents have not, or that is not what it must be."""
    named = [("strata", field) for field in suite.strata]
    named += [(f"tags.{heading}", field) for heading, field in suite.tags.items()]
    named += [(key, field) for key in ("cluster", "weight") if (field := getattr(suite, key)) is not None]
    weights = []
    for index, document in enumerate(documents if named else ()):
        for key, field in named:
            if field not in document or (document[field] is None and not key.startswith("tags.")):
                known = sorted(name for name in document if name not in _PROMPT_ONLY)
                what = f"item {str(document.get('id', index))[:80]!r} has no field {field!r}"
                raise suite.error(key, f"{what}{did_you_mean(field, known)}")
        if suite.weight is not None:
            weights.append(_weight(suite, document))
    if weights and not any(weights):
        raise suite.error("weight", f"every item has the weight 0 in its field {suite.weight!r}: nothing would count")


def _weight(suite: Suite, document: Mapping[str, Any]) -> float:
    """How much an item counts; a `SuiteError` where its field holds no number of at least 0."""
    if suite.weight is None:
        return 1.0
    given = document[suite.weight]
    try:
        weight = float(given)
    except (TypeError, ValueError):
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        what = f"item {str(document.get('id'))[:80]!r} has {str(given)[:40]!r} in the field {suite.weight!r}"
        raise suite.error("weight", f"{what}: it must be a number of at least 0")
    return weight
