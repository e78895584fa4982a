"""An option that cannot be meant is refused with what it can be."""

import json
from dataclasses import asdict, fields

import pytest

from unetpp.errors import SettingError
from unetpp.training.callbacks import without_places
from unetpp.training.options import Options
from unetpp.training.planfile import read_choices

WRONG = [
    ({"budget": 0.0}, "a time above 0, such as 45m"),
    ({"epochs": -1}, "a whole number from 1 on"),
    ({"passes": 0}, "a whole number from 1 on"),
    ({"network": "net"}, "one of: UNetPP, UNet"),
    ({"filters": (8,)}, "--filters cannot be 8; give two to six widths, from 1 on"),
    ({"filters": (8, 0)}, "--filters cannot be 8,0; give two to six widths, from 1 on"),
    ({"inner_filters": "all"}, "one of: first, level"),
    ({"inner_filters": "level", "network": "UNet"}, "leave it out: UNet has no inner nodes"),
    ({"dropout": 1.0}, "--dropout cannot be 1.0; give a share from 0 to below 1"),
    ({"long_side": -1}, "pixels from 1 on, or 0"),
    ({"batch": -1}, "a whole number from 1 on"),
    ({"batch": 3, "devices": 2}, "a multiple of 2, the devices"),
    ({"accumulate": 0}, "a whole number from 1 on"),
    ({"focus": 1.5}, "--focus cannot be 1.5; give a share from 0 to 1"),
    ({"augmentation": 4.0}, "a number from 0 to 3"),
    ({"learning_rate": -1.0}, "a number above 0"),
    ({"weight_decay": -1.0}, "a number from 0 on"),
    ({"folds": 1}, "a whole number from 2 on"),
    ({"seed": -1}, "a whole number from 0 to 4294967295"),
    (
        {"head_weights": (1.0, 2.0), "deep_supervision": True},
        "--head-weights cannot be 1.0,2.0; give 4 numbers",
    ),
    (
        {"group_by": r"(\["},
        r"--group-by cannot be '(\['; mend the regular expression (missing ), unterminated",
    ),
    ({"group_by": "(["}, "mend the regular expression (unterminated character set at position 1)"),
]


@pytest.mark.parametrize(("given", "saying"), WRONG)
def test_a_value_out_of_range_is_refused_with_the_range(given, saying):
    with pytest.raises(SettingError) as error:
        Options(**given)
    assert saying in str(error.value)


@pytest.mark.parametrize("name", [field.name for field in fields(Options)])
def test_no_error_of_an_option_refers_to_help(name):
    with pytest.raises(SettingError) as error:
        Options(**{name: {}})
    assert len(error.value.mend) > 5
    assert "--help" not in str(error.value)


def test_an_option_that_there_is_none_of_is_to_be_taken_out(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"options": {"bach": 8}}))
    with pytest.raises(SettingError, match="there is no option bach; take it out; unetpp plan") as error:
        read_choices(tmp_path / "plan.json")
    assert "--help" not in str(error.value)


def test_a_model_does_not_tell_where_it_was_made():
    given = {
        "start": "/home/ann/first/model",
        "validation": "/data/held_out.txt",
        "group_by": "/data/who.csv:patient",
    }
    kept = {"start": "first/model", "validation": "data/held_out.txt", "group_by": "data/who.csv:patient"}
    assert without_places(asdict(Options(**given))) == asdict(Options(**kept))
    # Neither a share nor a regular expression is a path.
    others = asdict(Options(validation=0.2, group_by="(.*)/a/b_.*"))
    assert without_places(others) == others
