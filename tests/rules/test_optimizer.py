"""prodigy estimates the learning rate: a rate that suits other optimizers is warned of."""

import pytest

from cvbundle.rules import optimizer
from tests.rules.specs import check_text, text_of


@pytest.mark.parametrize(
    ("rate", "is_warned_of"), [(1e-4, True), (0.1, True), (0.11, False), (0.5, False), (1.0, False)]
)
def test_a_factor_near_one_is_for_prodigy_and_a_rate_of_adamw_is_not(
    rate: float, is_warned_of: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "is_installed", lambda package: True)
    text = text_of({"optimizer.name": "prodigy", "training.learning_rate": rate})
    reported = [problem.rule for problem in check_text(text).problems]
    assert reported == (["prodigy-learning-rate"] if is_warned_of else [])
