"""Traces of a text: the gates are those of the equations, the tokens those of the text."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_verses import verses

from lstmkit.errors import UserError
from lstmkit.tasks.language import trace
from lstmkit.tasks.language.estimator import LanguageModel


@pytest.fixture(scope="module")
def stacked(book: Path) -> Any:
    """Two layers of characters, hardly trained."""
    options: dict[str, Any] = {"size": "tiny", "width": 16, "layers": 2, "epochs": 1}
    return LanguageModel(threads=1, **options).fit(str(book))


def test_every_layer_follows_the_equations(stacked: Any) -> None:
    found = stacked.trace(verses(5, 1))
    T = len(found.tokens)
    assert "".join(found.tokens) == verses(5, 1).replace("\n", "\\n") and len(found.layers) == 2
    for layer in found.layers:
        assert set(layer) == set(trace.FIELDS)
        i, f, g, _, c = (layer[name] for name in trace.FIELDS)
        assert c.shape == (T, 1, 16) and 0 < f.min() < f.max() < 1
        np.testing.assert_allclose(c[1:], f[1:] * c[:-1] + i[1:] * g[1:], atol=1e-6)
    below, above = (layer["cell"] for layer in found.layers)
    assert np.abs(below - above).max() > 0.1


def test_a_step_reads_its_own_token(stacked: Any) -> None:
    one, other = stacked.trace("alpha"), stacked.trace("alphx")
    for name in trace.FIELDS:
        change = np.abs(one.layers[0][name] - other.layers[0][name]).max((1, 2))
        assert change[:4].max() == 0 and change[4] > 0


@pytest.mark.parametrize("kind", ["words", "characters", "stacked"])
def test_tokens_are_as_probable_as_the_runtime_says(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(kind)
    text = verses(6, 2)
    found, read = model.trace(text), model.stream().read(text)
    assert list(found.tokens) == [model.tokenizer_.token(int(t)) for t in read.tokens]
    np.testing.assert_allclose(found.log_probs, read.log_probs, atol=2e-5)
    np.testing.assert_allclose(2.0**-found.bits, np.exp(read.log_probs), rtol=1e-3)


def test_a_file_is_what_its_text_is(characters: Any, tmp_path: Path) -> None:
    text = verses(80, 3)
    plain, packed = tmp_path / "poem.txt", tmp_path / "poem.txt.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    given = (text, str(plain), plain, packed, [plain], str(tmp_path / "poem.t?t"))
    found = [characters.trace(data) for data in given]
    assert [len(one.tokens) for one in found] == [trace.SHOWN] * len(given)
    for one in found[1:]:
        np.testing.assert_array_equal(one.log_probs, found[0].log_probs)


def test_a_string_that_names_no_file_is_a_text(characters: Any, words: Any) -> None:
    for text in ("alpha?", "no [such", "x" * 5000, "../alpha"):
        assert len(characters.trace(text).tokens) == min(len(text), trace.SHOWN)
    assert words.trace("alpha beta").tokens == ("alpha", "beta")  # the line may go on
    for nothing, said in (("", "empty"), ("a\0b", "byte 0")):
        with pytest.raises(UserError, match=said):
            characters.trace(nothing)
    with pytest.raises(UserError, match="no tokens"):
        words.trace("   ")


def test_no_more_is_read_than_is_shown(characters: Any) -> None:
    class Endless:
        """As many bytes as anybody wants, once."""

        asked = 0

        def read(self, size: int) -> bytes:
            self.asked += 1
            assert self.asked == 1, "the text is read on"
            return b"alpha beta\n" * (size // 11)

    assert len(characters.trace(Endless()).tokens) == trace.SHOWN


def test_figures_have_the_tokens_below(characters: Any, tmp_path: Path) -> None:
    from lstmkit.style import save

    found = characters.trace(verses(40, 4))
    figure = found.plot()
    shown = [label.get_text() for label in lowest(figure).get_xticklabels()]
    assert shown == trace.labels(found.tokens[: trace.DRAWN])
    assert len(shown) == trace.DRAWN and "\u2423" in shown and " " not in shown
    assert save(figure, tmp_path / "gates.png").stat().st_size > 10_000
    assert lowest(found.plot(first=3, count=9, title="t")).get_xlim()[1] < 9
    assert "mean forget gate" in found._repr_html_()


def lowest(figure: Any) -> Any:
    return [axes for axes in figure.axes if axes.get_subplotspec() is not None][-1]


def test_labels_are_short_and_can_be_drawn() -> None:
    given = [" ", "\\n", "<eos>", "a", "$x$", "\u4f60", "antidisestablishmentarianism"]
    assert trace.labels(given) == ["␣", "↵", "↵", "a", "$x$", "?", "antidisesta…"]
