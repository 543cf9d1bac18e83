"""What an earlier version called FOTON is read as the rule that it was, and never mistaken for the published one."""

import json

from pdebench_mano.benchmark.leaderboard import PUBLISHED, published
from pdebench_mano.evaluation.labels import LABELS
from pdebench_mano.evaluation.records import find_records, kind_of, read_record, stored_record, write_record
from pdebench_mano.training.folder import read_config
from pdebench_mano.training.options import RunConfig

FIELDS = {"operator": "orthogonal-mlp", "data": "darcy.hdf5"}


def of_regime(suite, regime):
    records = [stored_record(path) for path in find_records(PUBLISHED / suite)]
    return [each for each in records if each.configuration and each.configuration["config"]["regime"] == regime]


def test_published_records_are_read_under_the_names_of_their_rules(tmp_path):
    stored = of_regime("forward_only", "foton")
    assert {record.model for record in stored} == LABELS.keys()
    for record in stored:
        write_record(record, tmp_path / "record.jsonl")
        read = read_record(tmp_path / "record.jsonl")
        assert read.model == LABELS[record.model]
        assert read.key == record.key
        assert read.configuration["config"]["regime"] == "foton-latent"
        assert {trial["configuration"]["regime"] for trial in read.training["trials"]} == {"foton-latent"}
        assert [kind_of(row, read) for row in read.evaluations] == [kind_of(row, record) for row in record.evaluations]
        assert not any("--regime foton " in f"{command} " for command in read.commands)
    assert not {record.model for record in published("forward_only")} & LABELS.keys()


def test_a_record_of_the_published_rule_keeps_its_name(tmp_path):
    record = of_regime("forward_only", "foton")[0]
    today = RunConfig(**FIELDS, regime="foton").model_dump()
    record.configuration["config"].update(today)
    write_record(record, tmp_path / "record.jsonl")
    read = read_record(tmp_path / "record.jsonl")
    assert (read.model, read.configuration["config"]["regime"]) == (record.model, "foton")


def test_a_run_of_an_earlier_version_goes_on_under_the_rule_that_it_began_with(tmp_path):
    def begun(config):
        data = {"digest": "", "grid": "left", "resolution": 16, "channels": [1, 1]}
        (tmp_path / "config.json").write_text(json.dumps({"config": config, "data": data, "environment": {}}))
        return read_config(tmp_path)

    earlier = FIELDS | {"regime": "foton", "regime_args": {"eta": 0.5}}
    assert begun(earlier) == RunConfig(**FIELDS, regime="foton-latent", regime_args={"eta": 0.5})
    today = RunConfig(**FIELDS, regime="foton")
    assert begun(today.model_dump()) == today
