"""Records: what is written is read again, and what was published is what is written now."""

import dataclasses
import json
import math

import pytest

from pdebench_mano.benchmark import leaderboard
from pdebench_mano.evaluation.records import find_records, read_record, stored_record, write_record


def test_records_survive_being_written_even_of_a_prediction_that_is_not_finite(tmp_path):
    record = read_record(find_records(leaderboard.PUBLISHED / leaderboard.suites()[0])[-1])
    write_record(record, tmp_path / "record.jsonl")
    assert read_record(tmp_path / "record.jsonl") == record
    row = dataclasses.replace(record.evaluations[0], errors={"relative_l2": [math.nan, math.inf]})
    write_record(dataclasses.replace(record, evaluations=[row]), tmp_path / "record.jsonl")
    json.loads((tmp_path / "record.jsonl").read_text(), parse_constant=pytest.fail)
    nan, inf = read_record(tmp_path / "record.jsonl").evaluations[0].errors["relative_l2"]
    assert math.isnan(nan)
    assert math.isinf(inf)
    (tmp_path / "record.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="is no record: key"):
        read_record(tmp_path / "record.jsonl")


@pytest.mark.parametrize("name", leaderboard.suites())
def test_a_published_record_is_written_back_as_it_was_with_its_times(name, tmp_path):
    for path in find_records(leaderboard.PUBLISHED / name):
        write_record(stored_record(path), tmp_path / "record.jsonl")
        then, now = (json.loads(each.read_text()) for each in (path, tmp_path / "record.jsonl"))
        rows = zip(now.pop("evaluations"), then.pop("evaluations"), strict=True)
        assert now | then == now
        for row, before in rows:
            assert row | before == row
            assert row["seconds"] == before["seconds"]
