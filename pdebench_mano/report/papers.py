"""Where operators come from: the paper that each names, and its address."""

import re
from collections.abc import Sequence

from pdebench_mano.evaluation.records import Record
from pdebench_mano.operators.names import PAPERS

ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def papers(records: Sequence[Record]) -> list[dict[str, str]]:
    """``operator``, ``paper`` and ``link`` of every registered operator among some records that names a paper."""
    names = dict.fromkeys(str(record.configuration["config"]["operator"]) for record in records if record.configuration)
    told = []
    for name in names:
        paper = PAPERS.get(name, "")
        found = ARXIV.search(paper)
        if paper:
            told.append(
                {"operator": name, "paper": paper, "link": f"https://arxiv.org/abs/{found[1]}" if found else ""}
            )
    return told
