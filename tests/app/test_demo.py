"""unetpp demo: what --overwrite may replace."""

import pytest
from commands import refuses, run

from unetpp.app import demo


def interrupted(order):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "names", [["data/images/mine.png"], ["data/images/mine.png", "run/plan.json"], ["notes"]]
)
def test_what_no_demo_made_is_not_replaced(names, tmp_path, capsys):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    refuses(capsys, "demo", "--out", tmp_path, saying="the folder is not empty")
    saying = "this is no demo's, and shall not be replaced; choose another --out"
    refuses(capsys, "demo", "--out", tmp_path, "--overwrite", saying=saying)
    assert sorted(tmp_path.rglob("*")) == before
    assert all((tmp_path / name).read_text() == "mine" for name in names)


def test_a_demo_that_was_interrupted_is_replaced_and_nothing_of_it_joins(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "start_run", interrupted)
    monkeypatch.setattr(demo, "TRAINING", 3)
    out = tmp_path / "demo"
    assert run("demo", "--out", out) == 130
    left = out / "data" / "images" / "stale.png"
    left.write_bytes(b"")
    assert run("demo", "--out", out, "--overwrite") == 130
    assert not left.exists()
    assert len(list((out / "data" / "images").iterdir())) == 3
