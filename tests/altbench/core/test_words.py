"""Numbers with their nouns, and lists of names."""

from __future__ import annotations

from altbench.core.words import count, listed


def test_a_number_has_its_noun_in_the_right_form() -> None:
    assert [count(n, "cell") for n in (0, 1, 2, 1160)] == ["0 cells", "1 cell", "2 cells", "1,160 cells"]
    assert [count(n, "policy", "policies") for n in (1, 3)] == ["1 policy", "3 policies"]


def test_names_are_listed_as_a_sentence_holds_them() -> None:
    assert [listed(names) for names in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert listed("abc", "or") == "a, b or c"


def test_a_long_list_ends_with_how_many_more_there_are() -> None:
    assert listed("abcdef", most=6) == "a, b, c, d, e and f"
    assert listed("abcdefgh", most=6) == "a, b, c, d, e and 3 more"
