"""No cell that we write is a formula, and reading gives back what was written."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from fer_lightning.core.csv_cells import guard, guard_table, unguard, unguard_table

TEXTS = ("=cmd|' /C calc'!A0", "+1+1", "-x.png", "@SUM(A1)", "\tx", "\rx", "'=x", "''+x", "'a'", "a=b", "", "-0.5")


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_and_begins_no_formula(text: str) -> None:
    written = guard(text)
    assert unguard(written) == text
    assert written == text or written[0] == "'"
    assert written[:1] not in ("=", "+", "@", "\t", "\r")


def test_a_table_comes_back_with_its_numbers() -> None:
    table = pd.DataFrame({"path": TEXTS[:4], "=class": [-0.5, 0.5, 1.0, -2.0]})
    text = guard_table(table).to_csv(index=False)
    assert "\n=" not in f"\n{text}"
    assert ",=" not in text
    assert ",-0.5\n" in text, "a negative number stays one"
    pd.testing.assert_frame_equal(unguard_table(pd.read_csv(io.StringIO(text))), table)
