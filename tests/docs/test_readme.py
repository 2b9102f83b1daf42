"""The README's Python prints what the README says; examples and notebooks run."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def test_python_of_the_readme_prints_what_it_says(capsys: pytest.CaptureFixture[str]):
    code, printed = re.search(r"```python\n(.*?)```\n```\n(.*?)```", README, re.DOTALL).groups()
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_figures_of_the_readme_are_those_of_the_results():
    results = ROOT / "benchmarks" / "results" / "forecast_m4_hourly.json"
    found = json.loads(results.read_text())
    models, published = found["models"], found["published"]
    ours, naive = models["lstmkit recurrent"], models["seasonal_naive"]["scores"]
    row = next(line for line in README.splitlines() if line.startswith("| Forecasting"))
    smape, mase, msis = (ours["scores"][k] for k in ("smape", "mase", "msis"))
    assert f"sMAPE {smape:.2f}, MASE {mase:.3f}, MSIS {msis:.2f} in {minutes(ours):.1f} min" in row
    assert f"seasonal naive {naive['smape']:.2f}, {naive['mase']:.3f}" in row
    winner = published["ES-RNN, 1st of M4"]
    assert f"{winner['smape']:.2f}, {winner['mase']:.3f}, {winner['msis']:.2f}" in row
    assert ours["command"] in README and ours["date"][:10] in README
    for name in ("neuralforecast LSTM", "neuralforecast NHITS", "AutoETS", "LightGBM on lags"):
        if scores := models[name].get("scores"):
            figures = f"{scores['smape']:.2f} | {scores['mase']:.3f} | {scores['msis']:.2f}"
            assert f"| {name} | {figures} | {minutes(models[name]):.1f} |" in README


def test_figures_of_anomaly_detection_are_those_of_the_results():
    found = json.loads((ROOT / "benchmarks" / "results" / "anomaly_smd.json").read_text())["models"]
    row = next(line for line in README.splitlines() if line.startswith("| Anomaly detection"))
    for name, said in (
        ("lstmkit", "VUS-PR"),
        ("PCA", "PCA"),
        ("CNN", "CNN"),
        ("LSTMAD", "LSTMAD"),
        ("random", "random"),
    ):
        assert f"{said} {found[name]['scores']['vus_pr']:.3f}" in row


def test_figures_of_language_models_are_those_of_the_results():
    results = ROOT / "benchmarks" / "results"
    ptb = json.loads((results / "language_ptb.json").read_text())
    row = next(line for line in README.splitlines() if line.startswith("| Language modelling"))
    ours, others = ptb["model"]["metrics"], ptb["model"]["baselines"]
    assert f"perplexity {ours['perplexity']:.1f} in {ptb['seconds'] / 60:.0f} min" in row
    assert f"Kneser-Ney 5-gram {others['kneser_ney_5']['perplexity']:.1f}" in row
    shakespeare = json.loads((results / "language_tinyshakespeare_small.json").read_text())
    assert f"{shakespeare['model']['metrics']['bits_per_char']:.2f} bits a character" in README
    times = json.loads((results / "language_training.json").read_text())["rows"]
    assert f"{times['words 2x200']['lstmkit, auto']['times_the_peer']:.2f} times" in README
    drawn = json.loads((results / "language_generation.json").read_text())["rows"]
    for size in ("characters 1x128", "characters 2x256", "words 2x200"):
        factor = drawn[size]["lstmkit, float32"]["times_the_peer"]
        assert f"{factor:.1f}" in README


def test_figures_of_intrusion_detection_are_those_of_the_results():
    def results(name: str) -> dict:
        path = ROOT / "benchmarks" / "results" / f"intrusion_{name}.json"
        found: dict = json.loads(path.read_text())
        return found

    injected = results("injected")
    row = next(line for line in README.splitlines() if line.startswith("| Intrusion detection"))
    assert f"flows of {injected['test']['hosts']:,} hosts" in row
    attacks = ("beacon", "slow scan", "exfiltration")
    for name, said in (
        ("lstmkit", "{} of 9 found"),
        ("lstmkit, no memory", "{} without memory"),
        ("isolation forest, with context", "{} by isolation forest"),
    ):
        rows = [one for a in attacks for one in injected["models"][name][a]]
        assert said.format(sum(one["found_at_5"] for one in rows)) in row
    days = results("zeek")["settings"]["unsupervised, home known"]
    share = 100 * days["lstmkit"]["mean"]["recall_host_at_1"]
    assert f"alert a day {share:.0f} % of the attacking hosts" in README
    figures = [days[n]["mean"]["auc_pr_flow"] for n in ("lstmkit", "lstmkit, no memory")]
    assert "(AUC-PR {:.3f}, without it {:.3f}".format(*figures) in README
    kdd = results("nslkdd")["models"]["lstmkit"]["mean"]
    said = " and ".join(f"{100 * kdd[t]['accuracy']:.1f}" for t in ("KDDTest+", "KDDTest-21"))
    assert f"{said} % on KDDTest+" in README
    speed = results("speed")
    assert f"{speed['conn.log']['flows_per_second']['median']:,} flows a second" in README
    assert f"{speed['a million hosts']['peak_megabytes']:,} MB" in README


def minutes(model: dict[str, float]) -> float:
    return sum(model[f"{what}_seconds"] for what in ("import", "fit", "predict")) / 60


def test_figures_of_the_runtime_are_those_of_the_results():
    found = json.loads((ROOT / "benchmarks" / "results" / "runtime.json").read_text())
    rows = {(r["hidden"], r["batch"], r["dtype"]): r for r in found["rows"]}
    for cells in (32, 64, 128, 256):
        plain = rows[cells, 1, "float32"]
        ours = [rows[cells, 1, d]["lstmkit_us"] for d in ("float32", "bfloat16", "int8")]
        peers = [plain["onnxruntime_us"], plain["torch_us"]]
        texts = [f"{us:.1f} us" for us in ours] + [f"{us:.0f} us" for us in peers]
        assert f"| {cells} cells | {' | '.join(texts)} |" in README
    many = rows[64, 1000, "float32"]
    assert f"together: {many['lstmkit_us'] / 1000:.2f} ms" in README
    assert f"LSTMCell` {many['torch_us'] / 1000:.2f} ms" in README
    for row in found["without_python"]:
        assert f"{row['c_us']:.2f} us" in README
    assert found["machine"]["command"] in README and found["machine"]["date"][:10] in README
    one = found["forecaster"]
    assert f"takes {one['predict_us'] / 1000:.1f} ms" in README
    assert f"same run {one['neuralforecast_us'] / 1000:.1f} ms" in README


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["forecast.py", str(tmp_path)])
    runpy.run_path(str(ROOT / "examples" / "forecast.py"), run_name="__main__")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"forecast.png", "gates.png", "co2.safetensors"}


@pytest.mark.slow
def test_example_of_covariates_runs(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(ROOT / "examples" / "forecast_promotions.py"), run_name="__main__")
    times = re.search(r"sells ([\d.]+) times as much", capsys.readouterr().out)
    assert times and 1.25 < float(times[1]) < 1.75  # the data's is 1.5


@pytest.mark.slow
def test_example_of_anomalies_runs(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(ROOT / "examples" / "anomaly.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "the stream began the same alerts: True" in printed and "VUS PR" in printed


@pytest.mark.slow
def test_example_of_language_runs(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(ROOT / "examples" / "language.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "more probable than its shuffle: True" in printed
    assert "a branch alone says the same: True" in printed and "bits per char" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["forecast", "anomaly", "intrusion", "language"])
def test_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples" / f"{name}.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] for cell in cells)
    namespace: dict[str, object] = {}
    for cell in cells:
        exec("".join(cell["source"]), namespace)
    assert name in ("anomaly", "language") or (tmp_path / "co2.safetensors").exists()
