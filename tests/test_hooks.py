"""The hook: what the verdict says reaches each row, nothing is lost, and nothing passes in silence."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from toy_extraction import Watching
from toy_hooks import (
    BROKEN,
    EACH,
    cells,
    expected,
    few,
    fit_few,
    fitted,
    fitted_few,
    made,
    poisoned,
    readable,
    said,
    same,
    toys,
)
from toys import PLANTED, write_toys

from sanitizer import Sanitizer, ScanSettings
from sanitizer.embed import probe
from sanitizer.errors import SourceError, UsageError
from sanitizer.hooked.fitted import Leak
from sanitizer.hooks import _warn_once

COPIES = range(190, 193)  # of the first row: the same, under another label, and stored otherwise
STRANGE = toys(each=1, planted=0, seed=99)  # three images that nobody fitted


@pytest.fixture(autouse=True)
def nothing_said_yet() -> None:
    """Each test is a process that has met no unseen row."""
    _warn_once.cache_clear()


def test_each_row_is_told_what_the_verdict_says() -> None:
    """With the declared types; the planted are among the suspicious, and what was there stays as it was."""
    found = readable().map(fitted(), batched=True, batch_size=50, with_indices=True)
    assert same(said(found), expected()[:-1])
    assert found["kind"][:].count("planted") >= PLANTED
    assert found.features == fitted().features(readable().features)
    stored = [data.cast_column("image", datasets.Image(decode=False))["image"][:] for data in (found, readable())]
    assert stored[0] == stored[1]
    assert found.map(fitted(), batched=True).features == found.features


def test_copies_share_a_verdict_and_labels_part_them() -> None:
    """However they are stored; the worst that was said of one is said of all."""
    first, copy, elsewhere, bitmap = said(fitted()(readable().select([0, *COPIES])[:]))
    assert first == copy == bitmap
    assert first != elsewhere


def test_what_cannot_be_decoded_is_unreadable_and_dropped() -> None:
    """Whether it was there at fit or not; it is no poison, but nothing can be trained on it."""
    found = fitted()({"image": [*cells([BROKEN, BROKEN + b"x", b""]), None], "label": [0] * 4})
    assert said(found)[0] == pytest.approx((False, np.nan, "unreadable"), nan_ok=True)
    assert found["kind"] == ["unreadable"] * 4
    assert fitted().keep(found) == [False] * 4


def test_a_row_that_was_not_fitted_is_unseen_and_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    """Once for an image that was not there, and once for one that was there under another label only."""
    rows = {"image": cells([*STRANGE[0], toys()[0][0]]), "label": [0, 1, 2, 1]}
    with caplog.at_level(logging.WARNING, "sanitizer"):
        found, again = fitted()(rows), fitted()(rows)
    assert same(said(found), said(again))
    assert [(row[0], row[2]) for row in said(found)] == [(False, "unseen")] * 4
    assert np.isnan(found["poison_score"]).all()
    assert [(record.name, record.levelname) for record in caplog.records] == [("sanitizer", "WARNING")] * 2
    assert "an image that was not there at fit" in caplog.messages[0]
    assert "another label than at fit" in caplog.messages[1]
    assert "keep keeps them" in caplog.messages[0]


def test_fit_says_how_far_the_scan_is_to_whoever_wants_to_know(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The stages that the command line shows; nobody else hears of it, and what is fitted does not depend on it."""
    monkeypatch.setitem(probe.BUDGETS, "fast", (32, 5, 5))
    asked, watching = Sanitizer(budget="fast", device="cpu", detectors=["lof"], store="none"), Watching()
    watched = asked.fit(few(), progress=watching)
    assert watching.steps["reading"] == len(few())
    assert watching.steps["scoring"] == 1
    assert "writing" in watching.steps
    assert watched == asked.fit(few())
    assert capfd.readouterr() == ("", "")


def test_an_incomplete_scan_is_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    """Or nobody would know why nothing is suspicious."""
    with caplog.at_level(logging.WARNING, "sanitizer"):
        san = fit_few(made(*toys(each=8, planted=0)))
    assert caplog.messages == ["the scan is incomplete: no class is large enough to be judged"]
    assert "Incomplete: no class is large enough" in repr(san)


def test_unseen_rows_are_kept_dropped_or_refused() -> None:
    """As it was asked for; always by their kind, never by a score."""
    rows = made(STRANGE[0], [0, 1, 2])
    assert [part.num_rows for part in fitted().split(rows)] == [3, 0]
    assert [part.num_rows for part in fit_few(unseen="drop").split(rows)] == [0, 3]
    strict = fit_few(unseen="raise")
    assert strict.keep(few()[:4]) == [True] * 4
    with pytest.raises(UsageError, match="met one with an image that was not there at fit"):
        strict.split(rows)


def test_keep_keeps_the_same_rows_however_it_is_asked() -> None:
    """Row by row or in batches, of mapped columns or of the data itself; what is suspicious goes."""
    san, data = fitted(), readable()
    mapped = data.map(san, batched=True)
    clean = [place for place, (suspicious, _, _) in enumerate(expected()[:-1]) if not suspicious]
    assert 0 < len(clean) < len(data)
    told = {"input_columns": ["suspicious", "kind"]}
    ways: list[tuple[datasets.Dataset, dict[str, Any]]] = [
        (data, {}), (data, {"batched": True}), (mapped, {}), (mapped, {"batched": True}),
        (mapped, told), (mapped, told | {"batched": True}), (mapped, {"input_columns": "suspicious"}),
        (mapped, {"input_columns": ["kind"], "batched": True}), (mapped, {"with_indices": True}),
        (mapped.with_format("numpy"), {"batched": True}), (mapped.with_format("torch"), {}),
    ]  # fmt: skip
    numbered = [(data.add_column("place", list(range(len(data)))), ways[0][1])]
    assert numbered[0][0].filter(san.keep)["place"][:] == clean
    for rows, how in ways:
        assert sum(rows.filter(san.keep, **how)["label"][:]) == sum(data.select(clean)["label"][:])
        assert len(rows.filter(san.keep, **how)) == len(clean)


def test_split_loses_nothing() -> None:
    """Every row is on one side, in its order, broken ones too; what columns there are stay."""
    data = poisoned().add_column("place", list(range(len(poisoned()))))
    clean, quarantined = fitted().split(data)
    assert sorted([*clean["place"], *quarantined["place"]]) == list(range(len(data)))
    assert clean["place"][:] == [place for place in range(len(data)) if place not in set(quarantined["place"])]
    bad = [place for place, (suspicious, _, kind) in enumerate(expected()) if suspicious or kind == "unreadable"]
    assert quarantined["place"][:] == bad
    assert clean.features == quarantined.features == data.features
    assert [part.num_rows for part in fitted().split(data.select([]))] == [0, 0]


def test_split_and_leaks_look_at_every_split() -> None:
    """Images of the fitted split that are elsewhere too, under whatever label, are named."""
    strange = made(STRANGE[0], [0, 1, 2])
    known = [place for place in range(len(few())) if place % 2]
    test = datasets.concatenate_datasets([strange, few().select(known).remove_columns("label").add_column(
        "label", [0] * len(known)).cast(few().features)])  # fmt: skip
    data = datasets.DatasetDict(train=few(), test=test, more=strange)
    san = fit_few(data)
    leaks = san.leaks(data)
    assert leaks == {"test": Leak(len(known), tuple(range(3, 13))), "more": Leak(0, ())}
    assert san.leaks(data, split="test")["train"].rows == len(few())
    assert san.leaks(datasets.DatasetDict(test=test.remove_columns("label"))) == {"test": leaks["test"]}
    clean, quarantined = san.split(data)
    assert isinstance(clean, datasets.DatasetDict)
    for name, part in data.items():
        assert len(clean[name]) + len(quarantined[name]) == len(part)
    mapped = data.map(san, batched=True)
    assert mapped["more"]["kind"][:] == ["unseen"] * 3
    assert "unseen" not in mapped["train"]["kind"][:]


def test_one_split_of_a_dict_is_fitted() -> None:
    """The one called train, the only one, or the one that is named."""
    other = few(seed=7)
    train, only, named = (
        fit_few(datasets.DatasetDict(test=other, train=few())),
        fit_few(datasets.DatasetDict(test=other)),
        Sanitizer(budget="fast", device="cpu", detectors="lof"),
    )
    assert train.verdict.digest == fitted_few().verdict.digest
    assert train.verdict.digest != only.verdict.digest
    with pytest.raises(UsageError, match="expected one of a, b, got 'train'"):
        named.fit(datasets.DatasetDict(a=few(), b=other))
    with pytest.raises(UsageError, match="got 'c'"):
        named.fit(datasets.DatasetDict(a=few()), split="c")
    with pytest.raises(UsageError, match="with a DatasetDict only"):
        named.fit(few(), split="train")


def test_a_folder_can_be_fitted_and_what_is_loaded_from_it_mapped(tmp_path: Path) -> None:
    """Files by their paths, classes in the order that the library gives them."""
    write_toys(tmp_path / "data", each=EACH, planted=2)
    files = sorted((tmp_path / "data").rglob("*.png"))
    names = sorted({file.parent.name for file in files})
    loaded = datasets.Dataset.from_dict(
        {"image": [str(file) for file in files], "label": [file.parent.name for file in files]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}),
    )
    san = fit_few(tmp_path / "data")
    rows = {row["id"]: row["score"] for row in san.verdict.table.to_pylist()}
    found = loaded.map(san, batched=True)
    wanted = [rows[file.relative_to(tmp_path / "data").as_posix()] for file in files]
    assert found["poison_score"][:] == np.float32(wanted).tolist()


def test_settings_are_those_of_a_scan() -> None:
    """Others are refused with the nearest name, and what a scan refuses is refused here."""
    san = Sanitizer(budget="fast", seed=3, detectors=["lof", "dao"], unseen="drop")
    assert san.settings == ScanSettings(budget="fast", seed=3, detectors=("lof", "dao"))
    assert repr(san) == "Sanitizer(detectors=('lof', 'dao'), seed=3, budget='fast', unseen='drop'): not fitted."
    assert repr(fitted()) == f"Sanitizer(device='cpu', budget='fast'): {fitted().verdict.summary['answer']['sentence']}"
    with pytest.raises(UsageError, match="got 'budgets': try budget"):
        Sanitizer(budgets="fast")
    with pytest.raises(UsageError, match="expected fast, standard or thorough"):
        Sanitizer(budget="swift")
    with pytest.raises(UsageError, match="decoding: expected 'exact' here"):
        Sanitizer(decoding="scaled")
    with pytest.raises(UsageError, match="expected keep, drop or raise, got 'ignore'"):
        Sanitizer(unseen="ignore")  # type: ignore[arg-type]


def test_what_was_not_fitted_cannot_be_asked() -> None:
    """Fitting makes another object; a copy from elsewhere has no verdict, and says so."""
    san = Sanitizer()
    for ask in (lambda: san({}), lambda: san.verdict, lambda: san.keep({}), lambda: san.split(few())):
        with pytest.raises(UsageError, match="use what fit\\(dataset\\) returns"):
            ask()
    copy = pickle.loads(pickle.dumps(fitted()))  # noqa: S301 - made on this line
    assert copy == fitted()
    assert copy.keep(readable()[:3]) == fitted().keep(readable()[:3])
    with pytest.raises(UsageError, match="a copy without its verdict: fit again"):
        copy.verdict  # noqa: B018


def test_what_cannot_be_meant_is_one_line(tmp_path: Path) -> None:
    """What was expected, what came, what to do."""
    np.savez(tmp_path / "v.npz", vectors=np.zeros((30, 4), np.float32))
    for wrong, message in (
        (few().to_iterable_dataset(), "load it without streaming"),
        (few().remove_columns("image"), "one column of encoded images"),
        (tmp_path / "v.npz", "expected images in .*, got vectors"),
    ):
        with pytest.raises(SourceError, match=message):
            Sanitizer().fit(wrong)
    rows = readable()[:2]
    for call, message in (
        (lambda: fitted()(rows["image"]), "rows as a mapping of columns, got list"),
        (lambda: fitted()({"label": [0]}), "a column 'image' with the images in the rows"),
        (lambda: fitted()({"image": rows["image"], "y": [0, 0]}), "a column 'label' with the labels .*got image, y"),
        (lambda: fitted().keep([0.5, 0.25]), "the columns suspicious and kind, got"),
        (lambda: fitted().split(few().to_iterable_dataset()), r"use filter\(sanitizer.keep\)"),
        (lambda: fitted().leaks(few()), "expected a DatasetDict, got Dataset"),
    ):
        with pytest.raises(UsageError, match=message):
            call()
